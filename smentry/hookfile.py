"""The hooks of the YAML file and of hooks.d: what each one is, and every message about a wrong one. It runs none."""

from __future__ import annotations

import os

from smentry import executable
from smentry.config import warn_of_operators
from smentry.errors import RefusedError
from smentry.fields import command, items, mapping, name_of, printable, read, warn_of_command
from smentry.pid1 import signals
from smentry.pid1.hooks import EVENTS, SETTLED, START, STOPPING, TIMEOUT, Copy, Hook
from smentry.values import above_zero, caught, duration, nearest, truth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from smentry.config import Settings
    from smentry.yamlfile import Entry

KINDS = ("run", "signal", "copy")
_KEYS = ("on", *KINDS, "wait_for", "timeout", "required", "name")
_COPY_KEYS = ("from", "newest", "to", "settled", "complete")


class Configured(Hook):
    """A hook, and where it comes from: `place` is file and line or a path in hooks.d, `key` is `hooks[0]` or empty."""

    __slots__ = ("key", "place")

    key: str
    place: str

    @property
    def where(self) -> str:
        """The place and the key, for a message."""
        return f"{self.place}: {self.key}" if self.key else self.place


def apply(settings: Settings, entry: Entry | None, environment: Mapping[str, str]) -> None:
    """Put the hooks into `settings`: those written at `entry` of the file, then those of `settings.hooks_dir`.

    All other settings are final by now: what is wrong with a signal depends on them. Raises RefusedError.
    """
    hooks = [_hook(item, settings) for item in items(entry, "a list of hooks")] if entry else []
    settings.hooks = (*hooks, *_directory(settings, environment))
    for hook in hooks:
        if hook.run:
            where = f"{hook.where}.run"
            warn_of_operators(settings, where, hook.run)
            warn_of_command(settings, where, hook.run[0], environment, "the hook")
    rewritten = {signals.name(start): target for start, target in settings.rewrite}
    for event in dict.fromkeys(hook.event for hook in settings.hooks):
        if event in rewritten:
            target = signals.name(rewritten[event]) if rewritten[event] else "0"
            settings.warnings.append(
                f"{settings.where('rewrite')}: {event}:{target} has no effect: a hook takes {event}, and it is not passed on"
            )


# -- one hook of the file --------------------------------------------------------------------------


def _hook(entry: Entry, settings: Settings) -> Configured:
    fields = mapping(entry, _KEYS, "a hook: a mapping with on, and one of run, signal and copy")
    if "on" not in fields:
        raise RefusedError(f"{entry.where}: expected on, the event, got {' and '.join(fields) or 'nothing'}")
    event = _event_of(fields["on"], settings)
    kind = _only_one(entry, KINDS)
    value = fields[kind]
    hook = Configured(event, "", timeout=float("inf") if event == START else TIMEOUT, required=event == START)
    hook.place, hook.key = entry.place, entry.key
    if kind == "run":
        hook.run = command(value)
        hook.name = printable(os.path.basename(hook.run[0]) or hook.run[0])
    elif kind == "signal":
        hook.signal = _signal(value, event, settings)
        hook.name = "signal"
    else:
        hook.copy = _copy(value)
        hook.name = "copy"
    if "wait_for" in fields:
        if kind != "signal":
            raise RefusedError(f"{fields['wait_for'].where}: expected beside signal only, got it beside {kind}")
        hook.wait_for = _path(fields["wait_for"], "the absolute path of a file, or a pattern of one")
    if "timeout" in fields:
        hook.timeout = read(fields["timeout"], above_zero, "DUR")
    if "required" in fields:
        if event != START:
            raise RefusedError(f"{fields['required'].where}: expected with 'on: {START}' only, got 'on: {event}'")
        hook.required = read(fields["required"], truth, "true or false")
    if "name" in fields:
        hook.name = name_of(fields["name"])
    return hook


def _only_one(entry: Entry, kinds: tuple[str, ...]) -> str:
    """The one of `kinds` that the mapping has."""
    found = [name for name in entry.fields or () if name in kinds]
    if len(found) != 1:
        listed = f"{', '.join(kinds[:-1])} and {kinds[-1]}"
        raise RefusedError(f"{entry.where}: expected one of {listed}, got {' and '.join(found) or 'none of them'}")
    return found[0]


def _signal(entry: Entry, event: str, settings: Settings) -> int:
    number = read(entry, signals.number, "a signal")
    name = signals.name(number)
    if event in EVENTS and event != STOPPING:
        raise RefusedError(
            f"{entry.where}: expected with 'on: {STOPPING}' or a signal, got 'on: {event}', when the program does not run"
        )
    if number in (signals.KILL, signals.STOP):
        raise RefusedError(f"{entry.where}: expected a signal that a program can have a handler for, got {name}")
    if number in settings.stop_signals or number in _told(settings):
        raise RefusedError(
            f"{entry.where}: expected another signal than {name}, which a stop tells the program anyway: nobody is told twice"
        )
    return number


def _told(settings: Settings) -> set[int]:
    """What the stop signals become on their way to the program."""
    told = {target for start, target in settings.rewrite if start in settings.stop_signals}
    return told if settings.serve_signal is None else {*told, settings.serve_signal}


# -- events ----------------------------------------------------------------------------------------


def _event_of(entry: Entry, settings: Settings) -> str:
    return event(entry.word(f"an event: {_EVENTS}"), entry.where, settings)


_EVENTS = f"{', '.join(EVENTS)}, or a signal such as USR2"


def event(text: str, where: str, settings: Settings) -> str:
    """The event that a text names, a signal by its full name. Raises RefusedError; `where` is the start of its message."""
    if text in EVENTS:
        return text
    try:
        number = signals.number(text)
    except ValueError:
        names = sorted(signals.name(number)[3:] for number in signals.EVERY)
        hint = nearest(text, EVENTS) or nearest(text.upper(), names)
        raise RefusedError(f"{where}: expected an event: {_EVENTS}, got {text!r}{hint}") from None
    if number in settings.stop_signals:
        raise RefusedError(f"{where}: {signals.name(number)} requests a stop: expected {STOPPING}, got {text!r}")
    try:
        return signals.name(caught(text))
    except ValueError as error:
        raise RefusedError(f"{where}: {error}") from None


# -- copies ----------------------------------------------------------------------------------------


def _copy(entry: Entry) -> Copy:
    fields = mapping(entry, _COPY_KEYS, "a copy: a mapping with to, and one of from and newest")
    kind = _only_one(entry, ("from", "newest"))
    if "to" not in fields:
        raise RefusedError(f"{entry.where}: expected to, the path that is replaced, got {kind} alone")
    for name in ("settled", "complete"):
        if name in fields and kind != "newest":
            raise RefusedError(f"{fields[name].where}: expected beside newest only, got it beside {kind}")
    pattern = kind == "newest"
    source = _path(fields[kind], "an absolute path" + (" or pattern" if pattern else ""))
    target = _path(fields["to"], "an absolute path")
    if not _parts(target):
        raise fields["to"].refused("a path below /")
    if _is_inside(target, source, pattern=pattern):
        what = "what matches newest" if pattern else "from"
        raise RefusedError(f"{fields['to'].where}: expected a path outside of {what}, {source!r}, got {target!r}")
    return Copy(
        target,
        source="" if pattern else source,
        newest=source if pattern else "",
        settled=_settled(fields),
        complete=_within(fields["complete"]) if "complete" in fields else "",
    )


def _settled(fields: dict[str, Entry]) -> float:
    if "settled" in fields:
        return read(fields["settled"], duration, "DUR")
    # Who says by a file that a match is whole need not be waited for.
    return 0.0 if "complete" in fields else SETTLED


def _path(entry: Entry, expected: str) -> str:
    text = entry.word(expected)
    if text.startswith(("~", "$")):
        raise RefusedError(
            f"{entry.where}: expected {expected}, got {text!r}: {text[0]} has no meaning here, write it out"
        )
    if not text.startswith("/"):
        raise entry.refused(expected)
    return text


def _within(entry: Entry) -> str:
    expected = "the name of a file in the match, without '..'"
    text = entry.word(expected)
    if text.startswith("/") or ".." in text.split("/") or not _parts(text):
        raise entry.refused(expected)
    return text


def _parts(path: str) -> list[str]:
    return [part for part in os.path.normpath(path).split("/") if part not in ("", ".")]


def _is_inside(target: str, source: str, *, pattern: bool) -> bool:
    """Whether `target` is, or is below, `source` or what the pattern `source` matches."""
    outer, inner = _parts(source), _parts(target)
    if len(inner) < len(outer):
        return False
    if not pattern:
        return inner[: len(outer)] == outer
    from fnmatch import fnmatchcase

    return all(fnmatchcase(part, wanted) and (part[0] != "." or wanted[0] == ".") for part, wanted in zip(inner, outer))


# -- hooks.d ---------------------------------------------------------------------------------------


def _directory(settings: Settings, environment: Mapping[str, str]) -> list[Configured]:
    """The hooks of the event's directories, each in the order of its files' names."""
    path = os.path.abspath(settings.hooks_dir)
    if settings.origins["hooks_dir"] == "default" and not os.path.exists(path):
        return []
    where = settings.where("hooks_dir")
    hooks: list[Configured] = []
    for name in _listed(path, f"{where}: expected a directory of hooks"):
        below = os.path.join(path, name)
        if os.path.isdir(below):
            happening = event(name, below, settings)
            hooks.extend(_executables(happening, below, settings, environment))
        elif os.access(below, os.X_OK):
            settings.warnings.append(
                f"{below} is passed over: expected it in the directory of its event, such as {STOPPING}/"
            )
    return hooks


def _executables(
    event: str, directory: str, settings: Settings, environment: Mapping[str, str]
) -> Iterable[Configured]:
    for name in _listed(directory, "expected a directory of hooks"):
        path = os.path.join(directory, name)
        try:
            executable.examine(path)
        except RefusedError as error:
            settings.warnings.append(f"{error.message}; passed over")
            continue
        if not os.access(path, os.X_OK):
            settings.warnings.append(f"{path}: has no executable bit, and is passed over: chmod +x makes a hook of it")
            continue
        warn_of_command(settings, "", path, environment, "the hook")
        timeout = float("inf") if event == START else TIMEOUT
        hook = Configured(event, printable(name), run=[path], timeout=timeout, required=event == START)
        hook.place, hook.key = path, ""
        yield hook


def _listed(path: str, expected: str) -> list[str]:
    """The names in a directory, in the order of their bytes, without hidden ones and an editor's backups."""
    try:
        names = os.listdir(path)
    except OSError as error:
        raise RefusedError(f"{expected}, got {path!r}: {(error.strerror or str(error)).lower()}") from None
    return sorted((name for name in names if not name.startswith(".") and not name.endswith("~")), key=os.fsencode)
