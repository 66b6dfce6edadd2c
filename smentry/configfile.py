"""What the keys of the YAML file say about the options. It does not know how hooks and processes are written."""

from __future__ import annotations

from smentry import yamlfile
from smentry.config import COMMAND, CONFIG, COUNT, FLAG, LIST, OPTIONS, value_of
from smentry.errors import RefusedError
from smentry.values import nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from smentry.config import Option, Settings
    from smentry.yamlfile import Entry

_LISTS = ("hooks", "processes")
_EXPECTED = {
    COMMAND: "a command: text, or a list of words",
    LIST: "text, or a list of text",
    FLAG: "true or false",
    COUNT: "a number from 0 to 9",
}


def apply(settings: Settings, path: str) -> dict[str, Entry]:
    """Put the options of the file into `settings`; returns its `hooks` and `processes` as they are written, where they are.

    Raises RefusedError.
    """
    known = {option.attribute: option for option in OPTIONS if option is not CONFIG}
    entries = yamlfile.load(path, settings.where("config") if settings.config is not None else "")
    for name, entry in entries.items():
        option = known.get(name)
        if option is not None:
            settings.put(option, _value(option, entry), f"file {path}")
        elif name not in _LISTS:
            keys = [*known, *_LISTS]
            hint = nearest(name, keys) or f"; the keys are {', '.join(keys)}"
            raise RefusedError(f"{entry.place}: {name!r} is no key of smentry{hint}")
    return {name: entries[name] for name in _LISTS if name in entries}


def _value(option: Option, entry: Entry) -> Any:
    """The value of a key: text as in a variable, or a list of it where the option is a list or a command."""
    if entry.items is None or option.kind not in (LIST, COMMAND):
        return value_of(option, entry.word(_EXPECTED.get(option.kind, option.metavar)), entry.where)
    if option.kind == COMMAND:
        return words(entry)
    if not entry.items:
        raise RefusedError(f"{entry.where}: expected {_EXPECTED[LIST]}, got an empty one")
    values = [value_of(option, item.word(option.metavar), item.where) for item in entry.items]
    return tuple([value for part in values for value in part])


def words(entry: Entry) -> list[str]:
    """The words of a command that is a list. Raises RefusedError."""
    found = [item.word("a word") for item in entry.items or ()]
    if not found or not found[0]:
        raise RefusedError(f"{entry.where}: expected {_EXPECTED[COMMAND]}, got an empty one")
    return found
