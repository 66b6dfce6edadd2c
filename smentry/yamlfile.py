"""The configuration file as keys, texts and their places. It does not know what a key means."""

from __future__ import annotations

import os
import stat

import yaml

from smentry.errors import RefusedError

_LIMIT = 1 << 20
_NULL = "tag:yaml.org,2002:null"


class Entry:
    """One value: `text` of a scalar, `items` of a list; neither for nothing (null) and for a mapping.

    A scalar is its text as it was written: YAML 1.1 would make 902 of `15:2`, and True of `on`. `key` is the
    path of the value, such as `rewrite[1]`; `place` is file and line; `got` says what the value is.
    """

    __slots__ = ("got", "items", "key", "place", "text")

    def __init__(self, key: str, node: yaml.Node, path: str) -> None:
        self.key = key
        self.place = _place(path, node)
        self.text: str | None = None
        self.items: list[Entry] | None = None
        self.got = "nothing"
        if isinstance(node, yaml.SequenceNode):
            self.got = "a list"
            # Not deeper than one level: an alias may make a list contain itself.
            nested = (yaml.SequenceNode, yaml.MappingNode)
            self.items = []
            for index, item in enumerate(node.value):
                if isinstance(item, nested) and key.endswith("]"):
                    break
                self.items.append(Entry(f"{key}[{index}]", item, path))
        elif isinstance(node, yaml.MappingNode):
            self.got = "a mapping"
        elif node.tag != _NULL:
            self.text = str(node.value)
            self.got = repr(self.text)

    @property
    def where(self) -> str:
        """File, line and key, for the start of a message."""
        return f"{self.place}: {self.key}"


def load(path: str, named_by: str) -> list[Entry]:
    """The top-level values of the file, in its order. `named_by` is what asked for it, such as `--config`.

    Raises RefusedError where it cannot be read, is not YAML, is no mapping, or has a key twice.
    """
    root = _compose(path, _read(path, named_by))
    if root is None or root.tag == _NULL:
        return []
    if not isinstance(root, yaml.MappingNode):
        kind = "a list" if isinstance(root, yaml.SequenceNode) else "plain text"
        raise RefusedError(f"{_place(path, root)}: expected keys and values such as 'stop_timeout: 90s', got {kind}")
    entries: list[Entry] = []
    lines: dict[str, int] = {}
    for key, node in root.value:
        if not isinstance(key, yaml.ScalarNode):
            raise RefusedError(f"{_place(path, key)}: expected a key such as stop_timeout, got a list or a mapping")
        if key.value in lines:
            raise RefusedError(f"{_place(path, key)}: {key.value} is there twice, first in line {lines[key.value]}")
        lines[key.value] = key.start_mark.line + 1
        entries.append(Entry(key.value, node, path))
    return entries


def _place(path: str, node: yaml.Node) -> str:
    return f"{path}:{node.start_mark.line + 1}"


def _read(path: str, named_by: str) -> bytes:
    """The bytes of the file. Only of a regular one (or /dev/null): PID 1 must not wait for a writer."""
    prefix = f"{named_by}: " if named_by else ""
    if "\0" in path or not path:
        raise RefusedError(f"{prefix}expected the path of a YAML file, got {path!r}")
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and os.path.realpath(path) != os.devnull:
            kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            raise RefusedError(f"{prefix}{path} is {kind}: expected a YAML file")
        with open(path, "rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise RefusedError(f"{prefix}{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if len(data) > _LIMIT:
        raise RefusedError(f"{prefix}{path} is larger than 1 MiB: expected a configuration file")
    return data


def _compose(path: str, data: bytes) -> yaml.Node | None:
    """The file's tree of nodes, None where it is empty."""
    try:
        root: yaml.Node | None = yaml.compose(data.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RefusedError(f"{path}:{line}: expected UTF-8 text, got the byte 0x{data[error.start]:02x}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        what = " ".join(part for part in (error.problem, error.context) if part)
        raise RefusedError(f"{path}{place}: not YAML: {what}") from None
    except yaml.YAMLError as error:
        raise RefusedError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise RefusedError(f"{path}: not a configuration: nested too deeply") from None
    return root
