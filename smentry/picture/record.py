"""What a timeline file says: its runs, their processes and hooks. It knows the file's form, not how a picture looks.

A tool's part: PID 1 never imports it. Times are seconds, relative to the begin of the stop.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from smentry.pid1 import signals

if TYPE_CHECKING:
    from collections.abc import Iterable

TOLD, SIGNAL, CONTINUED, KILLED = "told", "signal", "continued", "killed"
"""What smentry does to a process."""


class NotATimelineError(ValueError):
    """There is no run in the file; the text says what there is, and what was expected."""


@dataclass
class Mark:
    """Something done to a process: one of TOLD, SIGNAL, CONTINUED, KILLED, and what is said of it."""

    at: float
    kind: str
    text: str


@dataclass
class Process:
    """A process of the program, or a companion. `ended` and `status` (waitpid(2)) are None while it lives, `status` also where
    its parent reaped it."""

    pid: int
    name: str
    born: float
    main: bool = False
    marks: list[Mark] = field(default_factory=list)
    ended: float | None = None
    status: int | None = None

    @property
    def how(self) -> str:
        """How it ended, in two words; empty where that is not known."""
        if self.status is None:
            return ""
        signal = self.status & 0x7F
        return signals.name(signal) if signal else f"exit {self.status >> 8 & 0xFF}"


@dataclass
class Hook:
    """A hook that ran: `seconds` is the time it had (None: no limit), `ended` None while it runs."""

    name: str
    on: str
    began: float
    seconds: float | None = None
    ended: float | None = None
    failed: bool = False
    how: str = ""


@dataclass
class Skipped:
    """A hook that did not run, and why."""

    name: str
    on: str
    why: str


@dataclass
class Deed:
    """What smentry did to `count` processes at once."""

    at: float
    kind: str
    signal: str
    why: str
    count: int


@dataclass
class Run:
    """One run of smentry. Of the times of its budget, in seconds, those the file does not name are None.

    `reason` is None where nothing requested a stop, `code` where smentry's exit is not in the file. `unseen` processes
    were reaped and never seen alive; `broken` lines could not be read; `last` is the time of the last record.
    """

    program: str = ""
    time: float | None = None
    stop_timeout: float | None = None
    stopping: float | None = None
    grace: float | None = None
    after: float | None = None
    reserve: float | None = None
    linger: float | None = None
    started: float | None = None
    reason: str | None = None
    code: int | None = None
    left: list[int] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    hooks: list[Hook] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)
    unseen: int = 0
    broken: int = 0
    last: float = 0.0
    by_pid: dict[int, Process] = field(default_factory=dict, repr=False)
    hook_pids: dict[int, Hook] = field(default_factory=dict, repr=False)


def parse(lines: Iterable[str]) -> list[Run]:
    """The runs of a timeline file, from its lines. Events and fields that are not known are passed over.

    Raises NotATimelineError where there is no run.
    """
    runs: list[Run] = []
    empty, first_broken, broken = True, "", 0
    for line in lines:
        if not line.strip():
            continue
        empty = False
        record, whole = _record(line)
        if not whole:
            first_broken = first_broken or line.strip()
            broken += 1
        if record is not None and record["event"] == "run":
            runs.append(_run(record))
            # A line torn by the end of the run before is joined to this one's first.
            (runs[-2] if len(runs) > 1 else runs[-1]).broken += broken
            broken = 0
        elif runs:
            runs[-1].broken += broken
            broken = 0
            if record is not None:
                _take(runs[-1], record)
    if runs:
        return runs
    expected = "expected a timeline, as smentry writes it with --timeline"
    if empty:
        raise NotATimelineError(f"it is empty: {expected}")
    if first_broken:
        got = first_broken if len(first_broken) <= 40 else first_broken[:40] + "…"
        raise NotATimelineError(f"got {got!r} for a line of JSON with t and event: {expected}")
    raise NotATimelineError(f"there is no record of a run's begin in it: {expected}")


def _record(line: str) -> tuple[dict[str, Any] | None, bool]:
    """The record on a line, and whether it is all there is on it; None where there is none."""
    record = _loads(line)
    if record is not None:
        return record, True
    glued = line.rfind('{"t":', 1)
    return (_loads(line[glued:]) if glued > 0 else None), False


def _loads(text: str) -> dict[str, Any] | None:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(record, dict) and isinstance(record.get("event"), str) and _number(record.get("t")) is not None:
        return record
    return None


# What a field may hold. What is of another type than expected is as good as not there.


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _pids(value: Any) -> list[int]:
    return [pid for pid in value if _whole(pid) is not None] if isinstance(value, list) else []


# Events. Each adds what it says to the run.


def _run(record: dict[str, Any]) -> Run:
    run = Run(_text(record.get("program")))
    for name in ("time", "stop_timeout", "stopping", "grace", "after", "reserve", "linger"):
        setattr(run, name, _number(record.get(name)))
    return run


def _take(run: Run, record: dict[str, Any]) -> None:
    t = float(record["t"])
    run.last = max(run.last, t)
    take = _EVENTS.get(record["event"])
    if take is not None:
        take(run, t, record)


def _started(run: Run, t: float, record: dict[str, Any]) -> None:
    run.started = t
    _add(run, Process(_whole(record.get("pid")) or 0, _text(record.get("name")) or run.program, t, main=True))


def _companion(run: Run, t: float, record: dict[str, Any]) -> None:
    _add(run, Process(_whole(record.get("pid")) or 0, _text(record.get("name")), t))


def _companion_ended(run: Run, t: float, record: dict[str, Any]) -> None:
    process = run.by_pid.get(_whole(record.get("pid")) or 0)
    if process is not None and process.ended is None:
        process.ended = t
        process.status = _whole(record.get("status"))


def _stop(run: Run, t: float, record: dict[str, Any]) -> None:
    run.reason = _text(record.get("reason"))


def _seen(run: Run, t: float, record: dict[str, Any]) -> None:
    seen = record.get("processes")
    for item in seen if isinstance(seen, list) else ():
        pid = _whole(item.get("pid")) if isinstance(item, dict) else None
        if pid is None:
            continue
        name, since = _text(item.get("name")), _number(item.get("since"))
        hook = run.hook_pids.get(pid)
        if hook is not None and hook.ended is None:
            continue
        known = run.by_pid.get(pid)
        if known is None or known.ended is not None:  # a number may come again
            _add(run, Process(pid, name, t if since is None else since))
        elif not known.name:  # told before it was seen
            known.name = name
            known.born = known.born if since is None else min(known.born, since)


def _add(run: Run, process: Process) -> Process:
    run.processes.append(process)
    run.by_pid[process.pid] = process
    return process


def _done_to(run: Run, t: float, record: dict[str, Any]) -> None:
    kind, verb = _DEEDS[record["event"]]
    signal, why = _text(record.get("signal")), _text(record.get("why"))
    said = f"{verb} {signal}".rstrip() + (f": {why}" if why else "")
    pids = _pids(record.get("pids"))
    if pids:
        run.deeds.append(Deed(t, kind, signal, why, len(pids)))
    for pid in pids:
        if pid not in run.hook_pids:
            (run.by_pid.get(pid) or _add(run, Process(pid, "", t))).marks.append(Mark(t, kind, said))


def _ended(run: Run, t: float, record: dict[str, Any]) -> None:
    for pid in _pids(record.get("pids")):
        process = run.by_pid.get(pid)
        if run.hook_pids.pop(pid, None) is not None:
            continue
        if process is None or process.ended is not None:
            run.unseen += 1
            continue
        process.ended = t
        process.status = _whole(record.get("status"))


def _hook(run: Run, t: float, record: dict[str, Any]) -> None:
    hook = Hook(_text(record.get("name")), _text(record.get("on")), t, _number(record.get("seconds")))
    run.hooks.append(hook)
    pid = _whole(record.get("pid"))
    if pid is not None:
        run.hook_pids[pid] = hook


def _hook_ended(run: Run, t: float, record: dict[str, Any]) -> None:
    name, on = _text(record.get("name")), _text(record.get("on"))
    running = [hook for hook in run.hooks if hook.ended is None and (hook.name, hook.on) == (name, on)]
    hook = run.hook_pids.get(_whole(record.get("pid")) or 0) or (running[-1] if running else None)
    if hook is None:
        hook = Hook(name, on, t)
        run.hooks.append(hook)
    hook.ended = t
    hook.failed = record.get("failed") is True
    hook.how = _text(record.get("how"))


def _hook_skipped(run: Run, t: float, record: dict[str, Any]) -> None:
    run.skipped.append(Skipped(_text(record.get("name")), _text(record.get("on")), _text(record.get("why"))))


def _exit(run: Run, t: float, record: dict[str, Any]) -> None:
    run.code = _whole(record.get("code"))
    run.left = _pids(record.get("left"))


_DEEDS = {
    "told": (TOLD, "told"),
    "forwarded": (SIGNAL, "sent"),
    "continued": (CONTINUED, "continued"),
    "killed": (KILLED, "killed"),
}
_EVENTS = {
    "started": _started,
    "companion": _companion,
    "companion-ended": _companion_ended,
    "stop": _stop,
    "seen": _seen,
    "told": _done_to,
    "forwarded": _done_to,
    "continued": _done_to,
    "killed": _done_to,
    "ended": _ended,
    "hook": _hook,
    "hook-ended": _hook_ended,
    "hook-skipped": _hook_skipped,
    "exit": _exit,
}
