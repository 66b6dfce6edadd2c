"""A request as the command line `aws sagemaker create-training-job …`, written and read. It runs nothing, and asks no shell."""

from __future__ import annotations

import json
import shlex

from smentry.ctl.request import model
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

COMMAND = ("aws", "sagemaker", "create-training-job")

# AWS CLI: "Global options"; none of them is the request's.
_WITH_VALUE = (
    "--ca-bundle", "--cli-binary-format", "--cli-connect-timeout", "--cli-error-format", "--cli-read-timeout", "--color",
    "--endpoint-url", "--output", "--profile", "--query", "--region",
)  # fmt: skip
_ALONE = (
    "--cli-auto-prompt", "--debug", "--no-cli-auto-prompt", "--no-cli-pager", "--no-paginate", "--no-sign-request",
    "--no-verify-ssl",
)  # fmt: skip
_JSON = "--cli-input-json"

_INDENT = " " * 4
_SHORT = 90
"""Characters of JSON that stay in one line."""


def write(request: Mapping[str, Any]) -> str:
    """The command line, quoted for a POSIX shell, a line for each member."""
    lines = [" ".join(COMMAND)]
    for name, value in request.items():
        option = _option(name)
        if isinstance(value, bool):
            lines.append(option if value else f"--no-{option[2:]}")
        elif isinstance(value, str):
            lines.append(f"{option} {shlex.quote(value)}")
        else:
            lines.append(f"{option} {shlex.quote(laid_out(value, _INDENT))}")
    return f" \\\n{_INDENT}".join(lines) + "\n"


def laid_out(value: object, indent: str = "") -> str:
    """JSON for people: what is short stays in one line, else a line for each part."""
    short = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(short) <= _SHORT or not isinstance(value, (dict, list)):
        return short
    inner = f"{indent}  "
    if isinstance(value, dict):
        parts = [f"{json.dumps(name, ensure_ascii=False)}: {laid_out(part, inner)}" for name, part in value.items()]
    else:
        parts = [laid_out(part, inner) for part in value]
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    return opening + "".join(f"\n{inner}{part}," for part in parts)[:-1] + f"\n{indent}{closing}"


def is_one(text: str) -> bool:
    """Whether a file's text is such a command line: its first line that is no comment begins with `aws`."""
    first = next(iter(_lines(text)), "")
    return first.split()[:1] == [COMMAND[0]]


def read(name: str, text: str, file: Callable[[str], str]) -> dict[str, object]:
    """The request of a command line; `name` is its file's, and `file` reads what `file://PATH` names.

    Values are JSON, or the shorthand without braces: `A=1,B=2`. Raises RefusedError for what is no such command line.
    """
    try:
        words = shlex.split("\n".join(_lines(text)))
    except ValueError as error:
        raise RefusedError(f"{name}: not a command line: {str(error).lower()}") from None
    words = [word.lstrip("\n") for word in words if word != "\n"]  # what shlex makes of a backslash at a line's end
    if tuple(words[: len(COMMAND)]) != COMMAND:
        got = " ".join(words[: len(COMMAND)])
        raise RefusedError(f"{name}: expected {' '.join(COMMAND)} …, got {got}")
    shapes = model.shapes()
    options = {_option(member): member for member in shapes}
    request: dict[str, object] = {}
    for option, values in _options(name, words[len(COMMAND) :]):
        where = f"{name}: {option}"
        member = options.get(option) or options.get(f"--{option[5:]}" if option.startswith("--no-") else "")
        if option in _WITH_VALUE or option in _ALONE:
            continue
        loaded = [file(value[len(model.LOCAL) :]) if value.startswith(model.LOCAL) else value for value in values]
        if option == _JSON:
            request = {**_loaded(where, "".join(loaded)), **request}
        elif member is None:
            raise RefusedError(f"{where} is not known: {model.meant(option, options)}")
        elif shapes[member].type_name == "boolean":
            request[member] = not option.startswith("--no-")
        else:
            request[member] = _value(where, shapes[member], loaded)
    return request


def _lines(text: str) -> list[str]:
    """The lines without the blank ones and the comments above."""
    lines = text.split("\n")  # not at what else Unicode calls a line break
    while lines and (not lines[0].strip() or lines[0].lstrip().startswith("#")):
        del lines[0]
    return lines


def _option(member: str) -> str:
    import botocore

    return f"--{botocore.xform_name(member, '-')}"


def _options(name: str, words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each option with the words up to the next one."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        option, equals, value = word.partition("=")
        if word.startswith("--"):
            found.append((option, [value] if equals else []))
        elif found:
            found[-1][1].append(word)
        else:
            raise RefusedError(f"{name}: expected an option after {' '.join(COMMAND)}, got {word!r}")
    return found


def _value(where: str, shape: Any, words: Sequence[str]) -> object:
    """The value of an option's words."""
    if not words:
        raise RefusedError(f"{where}: expected a value, got nothing")
    if shape.type_name == "list" and not words[0].lstrip().startswith("["):
        return [_value(where, shape.member, [word]) for word in words]
    if len(words) > 1:
        raise RefusedError(f"{where}: expected one word, got {len(words)}; quote it")
    if shape.type_name == "string":
        return words[0]
    if words[0].lstrip().startswith(("[", "{")):
        return _loaded(where, words[0])
    if shape.type_name in ("structure", "map"):
        return _shorthand(where, shape, words[0])
    return _number(words[0])


def _shorthand(where: str, shape: Any, word: str) -> dict[str, object]:
    made: dict[str, object] = {}
    for part in word.split(","):
        name, equals, value = part.partition("=")
        if not equals or value.startswith(("{", "[", '"', "'")):
            raise RefusedError(f"{where}: expected JSON, or A=1,B=2 without braces and quotes, got {word!r}")
        kind = shape.value if shape.type_name == "map" else shape.members.get(name)
        text = kind is not None and kind.type_name == "string"
        made[name] = value if text else {"true": True, "false": False}.get(value, _number(value))
    return made


def _number(text: str) -> object:
    return int(text) if text.lstrip("-").isdecimal() else text


def _loaded(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno} of the value"
        raise RefusedError(f"{where}: not JSON: {error.msg.lower()}, {place}") from None
