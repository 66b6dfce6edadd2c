"""The picture of a run from its timeline file: which bars, marks and words it has. It knows nothing of columns and pixels.

A tool's part: PID 1 never imports it. `bars.py` draws the picture in a terminal, `svg.py` as an SVG.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timezone

from smentry.picture import record
from smentry.picture.record import Mark, Process, Run

AFTER = ("stopped", "succeeded", "failed", "exit")
"""The events of the hooks that run when the program has gone."""

MOST = 30
"""Rows of processes at most."""
FOLDED = 8
"""So many processes of one name and the same history become one row, however few rows there are."""
DEEDS = 10
"""Lines at most that say what was done."""
_BEFORE = 0.02
"""The part of the axis that lies before the begin of the stop."""
_BEYOND = 1.6
"""A limit within so many times the time that was used is in the picture; one further away would make it small."""
_WHOLE_RUN = 0.05
"""Seconds after its main process within which a run without a stop is over: then all of the run is drawn."""


@dataclass
class Row:
    """One bar, of a hook or of `count` processes. Its label is `prefix` + `name` + `suffix`; the name may be shortened.

    `alive` says from when on which part of them is alive; `ended` is None where the end is not known, `cap` is when a
    hook's time is over. `outcome` are a few words for the end, `bad` whether it is bad news, `said` is the long form.
    """

    hook: bool
    prefix: str
    name: str
    suffix: str
    alive: list[tuple[float, float]]
    marks: list[Mark] = field(default_factory=list)
    ended: float | None = None
    cap: float | None = None
    outcome: str = ""
    bad: bool = False
    said: list[str] = field(default_factory=list)
    count: int = 1

    @property
    def label(self) -> str:
        """All of the label."""
        return self.prefix + self.name + self.suffix


@dataclass
class Picture:
    """All that is drawn: from `start` to `end` on the axis, both in seconds. `limits` are times and
    their meaning, `deeds` say when something was done, of which kind, and what."""

    title: str
    heading: list[str]
    start: float
    end: float
    rows: list[Row]
    limits: list[tuple[float, str]]
    notes: list[str]
    deeds: list[tuple[str, str, str]]

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """At most `most` round times on the axis, and how they are written."""
        low = self.start if -self.start > self.end / 10 else 0.0
        exponent, digit = -6, 1
        while (self.end - low) / (digit * 10.0**exponent) >= most:
            exponent, digit = (exponent, {1: 2, 2: 5}[digit]) if digit < 5 else (exponent + 1, 1)
        step = digit * 10.0**exponent
        times = [index * step for index in range(math.ceil(low / step), math.floor(self.end / step) + 1)]
        return [(time, f"{time:.{max(0, -exponent)}f}") for time in times]


def layout(run: Run, number: int = 1, count: int = 1) -> Picture:
    """The picture of `run`, the one with this number (from 1) of so many in its file."""
    limits = _limits(run)
    start, end = _axis(run, limits)
    shown = [process for process in run.processes if process.main or _gone(run, process) >= start]
    folded = _folded(shown)
    folded.sort(key=_importance)
    rows = [_process_row(run, group) for group in folded[:MOST]]
    hooks = [hook for hook in run.hooks if _end(run, hook) >= start]
    rows += [_hook_row(run, hook) for hook in hooks]
    title, heading = _heading(run, number, count)
    return Picture(
        title,
        heading,
        start,
        end,
        rows,
        [limit for limit in limits if limit[0] <= end],
        _notes(run, limits, end, sum(map(len, folded[MOST:])), len(run.processes) - len(shown), start),
        _deeds(run, start),
    )


def seconds(time: float) -> str:
    """A time as it is said: two digits after the point below 10 s, none from 100 s."""
    if abs(time) < 9.995:
        return f"{time:.2f} s"
    return f"{time:.1f} s" if abs(time) < 99.95 else f"{time:.0f} s"


def _limits(run: Run) -> list[tuple[float, str]]:
    if run.reason is None:
        return [(run.linger, "linger ends")] if run.linger else []
    if not run.stop_timeout:
        return []
    limits = [(run.stop_timeout, "stop timeout")]
    program = run.stop_timeout - (run.reserve or 0) - (run.after or 0)
    if 0 < program < run.stop_timeout:
        limits.insert(0, (program, "the program's time ends"))
    return limits


def _axis(run: Run, limits: list[tuple[float, str]]) -> tuple[float, float]:
    used = max(run.last, 0.001)
    if run.reason is None and run.last <= _WHOLE_RUN and run.started is not None and run.started < -_WHOLE_RUN:
        return run.started, max(run.last, 0.04 * -run.started)
    used = max([used, *(at for at, _ in limits if at <= used * _BEYOND)])
    return -_BEFORE * used, used * 1.04


def _end(run: Run, hook: record.Hook) -> float:
    return max(run.last, 0.0) if hook.ended is None else hook.ended


def _gone(run: Run, process: Process) -> float:
    """When a process had gone at the latest. One that its parent has reaped may have no end in the file; but the hooks
    after the program begin when everything has ended."""
    if process.ended is not None:
        return process.ended
    after = [hook.began for hook in run.hooks if hook.on in AFTER and hook.began >= process.born]
    return min(after) if after and not _survived(run, process) else max(run.last, 0.0)


def _survived(run: Run, process: Process) -> bool:
    """Whether it was there at smentry's exit, as far as the file says."""
    return process.ended is None and (run.code is None or process.pid in run.left)


# Rows.


def _folded(processes: list[Process]) -> list[list[Process]]:
    """Groups of processes, each to be one row: many with the same history, and, where there are too many rows then,
    all of one name."""
    groups: dict[object, list[Process]] = {}
    for process in processes:
        history = (process.main, process.name, frozenset(mark.kind for mark in process.marks), process.how)
        groups.setdefault(history, []).append(process)
    rows = [row for group in groups.values() for row in ([group] if len(group) >= FOLDED else [[p] for p in group])]
    if len(rows) <= MOST:
        return rows
    groups = {}
    for process in processes:
        groups.setdefault((process.main, process.name), []).append(process)
    return list(groups.values())


def _importance(group: list[Process]) -> tuple[bool, bool, float, float, int]:
    """What rows are in order of: the main process, who was told first, who was there longest."""
    told = min((m.at for p in group for m in p.marks if m.kind == record.TOLD), default=float("inf"))
    born = min(process.born for process in group)
    ended = max(float("inf") if process.ended is None else process.ended for process in group)
    return not group[0].main, told == float("inf"), told, born - ended, min(process.pid for process in group)


def _process_row(run: Run, group: list[Process]) -> Row:
    first = group[0]
    name = first.name or "process"
    changes = sorted(
        [(min(process.born, _gone(run, process)), 1) for process in group]
        + [(_gone(run, process), -1) for process in group],
        key=lambda change: (change[0], -change[1]),
    )
    alive, parts = 0, []
    for at, change in changes:
        alive += change
        parts.append((at, alive / len(group)))
    marks = {(mark.at, mark.kind): mark for process in group for mark in process.marks}
    hows = list(dict.fromkeys(_how(run, process) for process in group))
    survived = any(_survived(run, process) for process in group)
    killed = any(mark.kind == record.KILLED for mark in marks.values())
    row = Row(False, "", name, f" ({first.pid})", parts, bad=killed or survived, outcome=", ".join(hows[:2]))
    if len(group) > 1:
        row.prefix, row.suffix, row.count = f"{len(group)} × ", "", len(group)
    row.marks = [marks[key] for key in sorted(marks)]
    gone = max(_gone(run, process) for process in group)
    row.ended = None if any(process.ended is None for process in group) else gone
    row.said = [row.label, f"there since {seconds(min(process.born for process in group))}"]
    row.said += [f"{seconds(mark.at)}: {mark.text}" for mark in row.marks]
    row.said.append(f"{seconds(gone)}: {', '.join(hows)}")
    return row


def _how(run: Run, process: Process) -> str:
    if process.ended is not None:
        return process.how or "ended"
    if not _survived(run, process):
        return "gone by then"
    return "?" if run.code is None else "not dead"


def _hook_row(run: Run, hook: record.Hook) -> Row:
    took = _end(run, hook) - hook.began
    row = Row(True, f"{hook.on}: ", hook.name, "", [(hook.began, 1.0), (_end(run, hook), 0.0)])
    row.ended = hook.ended
    row.cap = None if hook.seconds is None else hook.began + hook.seconds
    row.bad = hook.failed or hook.ended is None
    word = "?" if hook.ended is None else "failed" if hook.failed else "done"
    row.outcome = f"{word} {seconds(took)}"
    row.said = [f"{hook.on} hook {hook.name}", _hook_said(run, hook)]
    return row


# Words.


def _heading(run: Run, number: int, count: int) -> tuple[str, list[str]]:
    program = run.program or "a program"
    ran = "" if run.started is None else f" after {seconds(-run.started)}"
    code = "smentry's exit is not in the file" if run.code is None else f"exit code {run.code}"
    if run.reason is None and run.started is None and run.code is not None:
        title = f"{program}: did not start, {code}"
    elif run.reason is None and run.code is None:
        title = f"{program}: {code}"
    elif run.reason is None:
        title = f"{program}: ended by itself{ran}, {seconds(max(run.last, 0.0))} to smentry's exit, {code}"
    else:
        limit = f" of {run.stop_timeout:g} s" if run.stop_timeout else ""
        title = f"{program}: {run.reason or 'stopped'}{ran}, took {seconds(run.last)}{limit}, {code}"
    when = _when(run.time)
    words = [f"run {number} of {count}"] if count > 1 else []
    if when:
        words.append(f"{'the main process ended' if run.reason is None else 'the stop began'} {when}")
    shares = _shares(run)
    return title, [line for line in (", ".join(words), shares) if line]


def _when(time: float | None) -> str:
    if time is None:
        return ""
    try:
        return datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return ""


def _shares(run: Run) -> str:
    """Where the time of a stop went, and what had been set aside."""
    if run.reason is None:
        return ""
    before = [hook for hook in run.hooks if hook.on == "stopping"]
    after = [hook for hook in run.hooks if hook.on in AFTER]
    told = min((mark.at for p in run.processes for mark in p.marks if mark.kind == record.TOLD), default=0.0)
    gone = max((_gone(run, process) for process in run.processes), default=0.0)
    parts = []
    for name, used, planned in (
        ("stopping hooks", sum(_end(run, hook) - hook.began for hook in before), run.stopping),
        ("the program", max(0.0, gone - told), run.grace),
        ("after hooks", sum(_end(run, hook) - hook.began for hook in after), run.after),
    ):
        if used or planned:
            parts.append(f"{name} {seconds(used)}" + (f" (set aside: {planned:g} s)" if planned else ""))
    return ", ".join(parts)


def _hook_said(run: Run, hook: record.Hook) -> str:
    took = _end(run, hook) - hook.began
    limit = "" if hook.seconds is None else f" of {hook.seconds:g} s"
    how = hook.how or ("failed" if hook.failed else "ended")
    return f"{how if hook.ended is not None else 'its end is not in the file'}, took {seconds(took)}{limit}"


def _notes(run: Run, limits: list[tuple[float, str]], end: float, hidden: int, earlier: int, start: float) -> list[str]:
    notes = []
    if run.reason is not None:
        notes += [f"{text}: at {at:g} s, beyond the right edge" for at, text in limits if at > end]
    passed_on = sum(deed.at < start for deed in run.deeds)
    if passed_on:
        notes.append(f"not shown: {passed_on} {'signal' if passed_on == 1 else 'signals'} passed on before")
    if hidden:
        notes.append(f"not shown: {_count(hidden)}")
    if earlier:
        notes.append(f"not shown: {_count(earlier)} that had ended before")
    if run.unseen:
        notes.append(f"not shown: {_count(run.unseen)} that ended before smentry saw what they were")
    if run.left:
        notes.append(f"{_count(len(run.left))} left that the kernel had not let die: {_listed(run.left)}")
    before = [hook for hook in run.hooks if _end(run, hook) < start]
    notes += [
        f"{hook.on} hook {hook.name}, {seconds(-hook.began)} before: {_hook_said(run, hook)}" for hook in before[-3:]
    ]
    if len(before) > 3:
        notes.append(f"and {len(before) - 3} hooks before these")
    notes += [f"{hook.on} hook {hook.name} failed: {_hook_said(run, hook)}" for hook in run.hooks
              if hook.failed and hook not in before]  # fmt: skip
    notes += [
        f"{skipped.on} hook {skipped.name} was skipped: {skipped.why or 'no reason given'}" for skipped in run.skipped
    ]
    if run.broken:
        notes.append(f"{run.broken} {'line' if run.broken == 1 else 'lines'} could not be read: torn, or no record")
    return notes


def _deeds(run: Run, start: float) -> list[tuple[str, str, str]]:
    """What was done to how many and why: time, kind, words. What was done again at once for the same reason is one."""
    found: list[record.Deed] = []
    for deed in (deed for deed in run.deeds if deed.at >= start):
        last = found[-1] if found else None
        if last and (last.kind, last.signal, last.why) == (deed.kind, deed.signal, deed.why) and deed.at - last.at < 1:
            found[-1] = record.Deed(last.at, last.kind, last.signal, last.why, last.count + deed.count)
        else:
            found.append(deed)
    words = []
    for deed in found[:DEEDS]:
        verb = {record.TOLD: "told", record.SIGNAL: "sent"}.get(deed.kind, deed.kind)
        text = f"{verb} {deed.signal}, {_count(deed.count)}" if deed.signal else f"{verb} {_count(deed.count)}"
        words.append((seconds(deed.at), deed.kind, text + (f": {deed.why}" if deed.why else "")))
    if len(found) > DEEDS:
        words.append((seconds(found[DEEDS].at), "", f"and {len(found) - DEEDS} more from here on"))
    return words


def _count(number: int) -> str:
    return f"{number} {'process' if number == 1 else 'processes'}"


def _listed(pids: list[int]) -> str:
    return ", ".join(map(str, pids[:10])) + (", …" if len(pids) > 10 else "")
