"""The companions of the YAML file, its key `processes`: what each one is, and every message about a wrong one. It runs none."""

from __future__ import annotations

import os

from smentry.config import warn_of_operators
from smentry.errors import RefusedError
from smentry.fields import command, items, mapping, name_of, printable, read, warn_of_command
from smentry.job import VERBS
from smentry.pid1.companions import RESTARTS, Companion
from smentry.values import caught, truth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from smentry.config import Settings
    from smentry.yamlfile import Entry

NEVER, ON_FAILURE = "never", "on-failure"
_KEYS = ("name", "run", "stop_signal", "required", "restart", "restarts", "verb")
_MOST = 1000


class Configured(Companion):
    """A companion, and where it comes from: `place` is file and line, `key` is `processes[0]`. `verb` is that with which it runs,
    empty: with every run."""

    __slots__ = ("key", "place", "verb")

    key: str
    place: str
    verb: str


def apply(settings: Settings, entry: Entry, environment: Mapping[str, str]) -> None:
    """Put the companions that are written at `entry` of the file into `settings`. Raises RefusedError."""
    found: list[Configured] = []
    for item in items(entry, "a list of processes"):
        companion = _companion(item)
        for other in found:
            if other.name == companion.name and (other.verb == companion.verb or not (other.verb and companion.verb)):
                raise RefusedError(
                    f"{item.where}: expected a name of its own, got {companion.name!r}, which {other.key} has"
                )
        found.append(companion)
        where = f"{item.where}.run"
        warn_of_operators(settings, where, companion.run)
        warn_of_command(settings, where, companion.run[0], environment, f"companion {companion.name}")
    settings.processes = tuple(found)


def _companion(entry: Entry) -> Configured:
    fields = mapping(entry, _KEYS, "a process: a mapping with name and run")
    if "run" not in fields:
        raise RefusedError(f"{entry.where}: expected run, the command, got {' and '.join(fields) or 'nothing'}")
    words = command(fields["run"])
    companion = Configured(printable(os.path.basename(words[0]) or words[0]), words)
    companion.place, companion.key, companion.verb = entry.place, entry.key, ""
    if "name" in fields:
        companion.name = name_of(fields["name"])
    if "stop_signal" in fields:
        companion.stop_signal = read(fields["stop_signal"], caught, "a signal")
    if "required" in fields:
        companion.required = read(fields["required"], truth, "true or false")
    if "restart" in fields and _one_of(fields["restart"], (NEVER, ON_FAILURE)) == ON_FAILURE:
        companion.restarts = RESTARTS
    if "restarts" in fields:
        if not companion.restarts:
            raise RefusedError(f"{fields['restarts'].where}: expected beside 'restart: {ON_FAILURE}' only")
        companion.restarts = read(fields["restarts"], _number, "a number")
    if "verb" in fields:
        companion.verb = _one_of(fields["verb"], VERBS)
    return companion


def _one_of(entry: Entry, known: tuple[str, ...]) -> str:
    expected = " or ".join(known)
    text = entry.word(expected)
    if text not in known:
        raise entry.refused(expected)
    return text


def _number(text: str) -> int:
    word = text.strip()
    if not (word.isascii() and word.isdigit() and len(word) <= 4 and 0 < int(word) <= _MOST):
        raise ValueError(f"expected a number from 1 to {_MOST}, got {text!r}")
    return int(word)
