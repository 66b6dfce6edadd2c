"""The configuration file as keys, texts and their places. It does not know what a key means."""

from __future__ import annotations

import os
import stat

import yaml

from smentry.errors import RefusedError

_LIMIT = 1 << 20
_DEEPEST = 8
"""Levels of lists and mappings; the deepest key there is has three."""

_MOST = 10_000
"""Values of a file with its aliases written out: a few lines of them could stand for billions."""

_NULL = "tag:yaml.org,2002:null"


class Entry:
    """One value: `text` of a scalar, `items` of a list, `fields` of a mapping; none of them for nothing (null).

    A scalar is its text as it was written: YAML 1.1 would make 902 of `15:2`, and True of `on`. `key` is the
    path of the value, such as `hooks[0].copy.newest`; `place` is file and line; `got` says what the value is.
    """

    __slots__ = ("fields", "got", "items", "key", "place", "text")

    def __init__(self, key: str, place: str) -> None:
        self.key = key
        self.place = place
        self.text: str | None = None
        self.items: list[Entry] | None = None
        self.fields: dict[str, Entry] | None = None
        self.got = "nothing"

    @property
    def where(self) -> str:
        """File, line and key, for the start of a message."""
        return f"{self.place}: {self.key}"

    def refused(self, expected: str) -> RefusedError:
        """The error that something else than this was expected."""
        return RefusedError(f"{self.where}: expected {expected}, got {self.got}")

    def word(self, expected: str) -> str:
        """The text, fit to be an argument or a path. Raises RefusedError where there is none; `expected` says what was."""
        if self.text is None:
            raise self.refused(expected)
        if "\0" in self.text:
            raise RefusedError(f"{self.where}: expected text without NUL characters")
        try:
            os.fsencode(self.text)
        except UnicodeEncodeError:
            raise self.refused("text that can be an argument of a program") from None
        return self.text


def load(path: str, named_by: str) -> dict[str, Entry]:
    """The top-level values of the file by their keys, in its order. `named_by` is what asked for it, such as `--config`.

    Raises RefusedError where it cannot be read, is not YAML, is no mapping, has a key twice in any mapping, or goes
    too deep, for ever by an alias included.
    """
    root = _compose(path, _read(path, named_by))
    if root is None or root.tag == _NULL:
        return {}
    if not isinstance(root, yaml.MappingNode):
        kind = "a list" if isinstance(root, yaml.SequenceNode) else "plain text"
        raise RefusedError(f"{_place(path, root)}: expected keys and values such as 'stop_timeout: 90s', got {kind}")
    return _Reader(path).fields(root, "", (root,))


class _Reader:
    """Makes entries of a file's nodes. An alias is a node that is there more than once, perhaps within itself."""

    __slots__ = ("left", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.left = _MOST

    def entry(self, key: str, node: yaml.Node, place: str, around: tuple[yaml.Node, ...]) -> Entry:
        """The entry of a node; `around` are the nodes that it is in."""
        if any(outer is node for outer in around):
            raise RefusedError(f"{place}: {key}: expected a value, got an alias of what it is in")
        if len(around) > _DEEPEST:
            raise RefusedError(f"{place}: {key}: nested too deeply: expected at most {_DEEPEST} levels")
        self.left -= 1
        if self.left < 0:
            raise RefusedError(f"{place}: {key}: expected a configuration, got more than {_MOST} values")
        entry = Entry(key, place)
        around = (*around, node)
        if isinstance(node, yaml.SequenceNode):
            entry.got = "a list"
            entry.items = [
                self.entry(f"{key}[{index}]", item, _place(self.path, item), around)
                for index, item in enumerate(node.value)
            ]
        elif isinstance(node, yaml.MappingNode):
            entry.got = "a mapping"
            entry.fields = self.fields(node, key, around)
        elif node.tag != _NULL:
            entry.text = str(node.value)
            entry.got = repr(entry.text)
        return entry

    def fields(self, node: yaml.MappingNode, path: str, around: tuple[yaml.Node, ...]) -> dict[str, Entry]:
        """The entries of a mapping; each has the place of its key."""
        fields: dict[str, Entry] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            place = _place(self.path, key)
            if not isinstance(key, yaml.ScalarNode):
                within = f"{path}: " if path else ""
                raise RefusedError(f"{place}: {within}expected a key, got a list or a mapping")
            name = f"{path}.{key.value}" if path else key.value
            if key.value in lines:
                raise RefusedError(f"{place}: {name} is there twice, first in line {lines[key.value]}")
            lines[key.value] = key.start_mark.line + 1
            fields[key.value] = self.entry(name, value, place, around)
        return fields


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
