"""How the keys of a list's items are read: what the hooks and the processes of the YAML file have in common. It knows neither."""

from __future__ import annotations

from smentry import executable
from smentry.errors import RefusedError
from smentry.values import nearest, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from smentry.config import Settings
    from smentry.yamlfile import Entry

    T = TypeVar("T")

LONGEST_NAME = 60
"""Characters of a name: it is in front of every line that is said of what has it."""


def items(entry: Entry, expected: str) -> list[Entry]:
    """The items of a list. Raises RefusedError where it is something else than that, or nothing: all of it commented out."""
    if entry.items is None and (entry.text is not None or entry.fields is not None):
        raise entry.refused(expected)
    return entry.items or []


def mapping(entry: Entry, known: tuple[str, ...], expected: str) -> dict[str, Entry]:
    """The keys of a mapping, all of them known. Raises RefusedError; `expected` is `a hook: a mapping with …`."""
    if entry.fields is None:
        raise entry.refused(expected)
    for name, value in entry.fields.items():
        if name not in known:
            hint = nearest(name, known) or f"; the keys are {', '.join(known)}"
            raise RefusedError(f"{value.place}: {entry.key}: {name!r} is no key of {expected.partition(':')[0]}{hint}")
    return entry.fields


def read(entry: Entry, reader: Callable[[str], T], expected: str) -> T:
    """What `reader` makes of the text. Raises RefusedError."""
    try:
        return reader(entry.word(expected))
    except ValueError as error:
        raise RefusedError(f"{entry.where}: {error}") from None


def command(entry: Entry) -> list[str]:
    """The words of a command: of a list as they are, of a text as a shell would split it. Raises RefusedError."""
    if entry.items is None:
        return read(entry, words, "a command: text, or a list of words")
    from smentry import configfile

    return configfile.words(entry)


def name_of(entry: Entry) -> str:
    """A name. Raises RefusedError."""
    expected = f"a name: one line of 1 to {LONGEST_NAME} printable characters"
    text = entry.word(expected)
    if not text.strip() or len(text) > LONGEST_NAME or not text.isprintable():
        raise entry.refused(expected)
    return text


def printable(text: str) -> str:
    """A name that was not chosen to be one."""
    return "".join(c if c.isprintable() else "?" for c in text)[:LONGEST_NAME]


def warn_of_command(settings: Settings, where: str, word: str, environment: Mapping[str, str], what: str) -> None:
    """Warn of a command that could not be run now, with which `what` fails. It may be there when its time comes."""
    try:
        executable.lookup(word, environment)
    except RefusedError as error:
        prefix = f"{where}: " if where else ""
        settings.warnings.append(f"{prefix}{error.message}; {what} fails unless that changes")
