"""A file with a request in it as JSON, YAML or a command line, and the place of every part. It does not know what is right."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from smentry.ctl.request import commandline
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Place = tuple[int, int]
    Steps = tuple["str | int", ...]

STDIN = "-"
YAML_ENDINGS = (".yaml", ".yml")

_LIMIT = 1 << 20
_DEEPEST = 32
_MOST = 100_000
"""Parts of a document with its aliases written out: a few lines of them could stand for billions."""


@dataclass(frozen=True)
class Document:
    """What a file holds."""

    name: str
    """The file as messages call it."""
    value: dict[str, object]
    places: Mapping[Steps, Place] = field(default_factory=dict, repr=False)
    """Line and column, both from 1, of every key and list item, by the steps that lead to it."""

    def place(self, steps: Sequence[str | int]) -> Place:
        """Line and column of a part; of one that is not there, those of the nearest around it."""
        for length in range(len(steps), 0, -1):
            if tuple(steps[:length]) in self.places:
                return self.places[tuple(steps[:length])]
        return self.places.get((), (1, 1))

    def where(self, steps: Sequence[str | int]) -> str:
        """`file:line:column` of a part, for the start of a message."""
        line, column = self.place(steps)
        return f"{self.name}:{line}:{column}"


def load(path: str) -> Document:
    """The one object in a file: YAML where the name ends so, an `aws` command line where it begins so, else JSON. `-` is stdin.

    Raises RefusedError, with the place, where it cannot be read, is neither, is no object, or has a key twice.
    """
    name = "stdin" if path == STDIN else path
    text = _text(name, _bytes(path))
    return parse(name, text, as_yaml=path.lower().endswith(YAML_ENDINGS))


def parse(name: str, text: str, *, as_yaml: bool = False) -> Document:
    """As `load`, of a text that was read."""
    if commandline.is_one(text):
        return Document(name, commandline.read(name, text, lambda path: _text(path, _bytes(path))))
    if as_yaml:
        root = _node(name, text)
        places = _places(name, root)
        value = None if root is None else _constructed(name, root)
    else:
        try:
            value = json.loads(text, parse_constant=_constant)
        except json.JSONDecodeError as error:
            what = re.sub("(?: starting)? at$", "", _lowered(error.msg))
            raise RefusedError(f"{name}:{error.lineno}:{error.colno}: not JSON: {what}") from None
        except ValueError as error:  # of a number of thousands of digits, with advice to whoever wrote the program
            raise RefusedError(f"{name}: not JSON: {_lowered(str(error).partition('; ')[0])}") from None
        except RecursionError:
            raise RefusedError(f"{name}: not JSON: nested too deeply") from None
        # JSON is YAML but for tabs, which can only be between the tokens here; one character each, the columns stay.
        places = _places(name, _node(name, text.replace("\t", " ")))
    if not isinstance(value, dict):
        raise RefusedError(f"{name}:1:1: expected an object with the members of CreateTrainingJob, got {_kind(value)}")
    return Document(name, value, places)


class _Core(yaml.SafeLoader):
    """YAML as `--cli-input-yaml` reads it: of version 1.2, where `yes` and 2024-01-01 are text."""


_Core.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?", "-+0123456789."),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    _Core.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first))


def _bytes(path: str) -> bytes:
    try:
        if path == STDIN:
            return sys.stdin.buffer.read(_LIMIT + 1)
        with Path(path).open("rb") as file:
            return file.read(_LIMIT + 1)
    except IsADirectoryError:
        raise RefusedError(f"{path} is a directory: expected a file with a CreateTrainingJob request") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RefusedError(f"{path} cannot be read: {reason.lower()}") from None


def _text(name: str, data: bytes) -> str:
    if len(data) > _LIMIT:
        raise RefusedError(f"{name} is larger than 1 MiB: expected a CreateTrainingJob request")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise RefusedError(
            f"{name}:{line}:{column}: expected UTF-8 text, got the byte 0x{data[error.start]:02x}"
        ) from None


def _node(name: str, text: str) -> yaml.Node | None:
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=_Core)
    except yaml.YAMLError as error:
        raise _not_yaml(name, error) from None
    except RecursionError:
        raise RefusedError(f"{name}: not a request: nested too deeply") from None
    return node


def _constructed(name: str, root: yaml.Node) -> object:
    loader = _Core("")
    try:
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        raise _not_yaml(name, error) from None
    except ValueError as error:  # `!!int x`
        raise RefusedError(f"{name}: not YAML: {_lowered(str(error).partition('; ')[0])}") from None
    finally:
        loader.dispose()


def _not_yaml(name: str, error: yaml.YAMLError) -> RefusedError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return RefusedError(f"{name}: not YAML: {' '.join(str(error).split())}")
    what = " ".join(part for part in (error.problem, error.context) if part)  # type: ignore[attr-defined]
    return RefusedError(f"{name}:{mark.line + 1}:{mark.column + 1}: not YAML: {what}")


def _places(name: str, root: yaml.Node | None) -> dict[Steps, Place]:
    """The places of all parts. Raises RefusedError for a key that is there twice: one of the two would be lost."""
    places: dict[Steps, Place] = {}

    def visit(node: yaml.Node, steps: Steps, at: yaml.Node) -> None:
        if len(steps) > _DEEPEST or len(places) > _MOST:
            raise RefusedError(f"{_at(name, node)}: not a request: nested too deeply, or too large")
        places[steps] = (at.start_mark.line + 1, at.start_mark.column + 1)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                visit(item, (*steps, index), item)
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                    got = repr(key.value) if isinstance(key, yaml.ScalarNode) else "a list or a mapping"
                    raise RefusedError(f"{_at(name, key)}: expected a name in text, got {got}")
                inner = (*steps, str(key.value))
                if inner in places:
                    first = places[inner][0]
                    raise RefusedError(f"{_at(name, key)}: {key.value!r} is there twice, first in line {first}")
                visit(value, inner, key)

    if root is not None:
        visit(root, (), root)
    return places


def _at(name: str, node: yaml.Node) -> str:
    return f"{name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def _constant(text: str) -> object:
    raise ValueError(f"expected a number, got {text}")


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    return {list: "a list", str: "text", bool: "true or false"}.get(type(value), "a number")
