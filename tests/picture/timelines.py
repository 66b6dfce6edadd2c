"""Timelines that pictures are drawn of in the tests, as smentry writes them."""

from __future__ import annotations

import json
from typing import Any

from smentry.picture import layout, record

STRANGE = [
    '<b>&"x"',
    "ümläut",
    "日本語のプログラム",
    "e\u0301" * 9,
    "a\nb\x1b[31m",
    "\u202egnp",
    "\ud800",
    "x" * 300,
    "😀" * 40,
    "",
]
"""Names as they may stand in a process's comm, or in a configuration."""

Records = list[dict[str, Any]]


def run(**changes: Any) -> dict[str, Any]:
    budget = {"stop_timeout": 120, "stopping": 0, "grace": 115, "after": 0, "reserve": 5, "linger": 10}
    return {"t": -132.4, "event": "run", "version": 1, "time": 1717243200.0, "program": "train.py", **budget, **changes}


def at(t: float, event: str, *pids: int, **fields: Any) -> dict[str, Any]:
    return {"t": t, "event": event, **({"pids": list(pids)} if pids else {}), **fields}


def seen(t: float, *processes: tuple[int, str, float]) -> dict[str, Any]:
    return at(t, "seen", processes=[{"pid": pid, "name": name, "since": since} for pid, name, since in processes])


STARTED = at(-132.3, "started", pid=7, name="train.py")
STOP = at(0.0, "stop", reason="SIGTERM")


def short() -> Records:
    """A stop that used 3 s."""
    return [
        run(), STARTED, STOP, at(0.01, "told", 7, signal="SIGTERM", why="it asked for it"), seen(0.02, (12, "python", -90)),
        at(2.0, "ended", 12), at(3.0, "ended", 7, status=0), at(3.01, "exit", code=0, left=[]),
    ]  # fmt: skip


def full() -> Records:
    """A stop that used all of its time: hooks before and after, one out of time, one skipped."""
    return [
        run(stopping=40, grace=45, after=30), STARTED, STOP, seen(0.001, (12, "worker", -90)),
        at(0.01, "hook", pid=31, name="checkpoint", on="stopping", seconds=40.0),
        at(0.02, "forwarded", 7, signal="SIGUSR1"),
        at(40.0, "hook-ended", pid=31, name="checkpoint", on="stopping", failed=True, how="killed: its 40 s are over"),
        at(40.1, "told", 7, signal="SIGTERM", why="it asked for it"), at(60.0, "continued", 7),
        at(85.0, "killed", 7, 12, why="its time is over"), at(85.1, "ended", 7, 12, status=9),
        at(85.2, "hook", pid=50, name="copy", on="stopped", seconds=30.0),
        at(117.0, "hook-ended", pid=50, name="copy", on="stopped", failed=False, how="ended with exit code 0"),
        at(117.0, "hook-skipped", name="notify", on="exit", why="no time is left for it"),
        at(117.5, "exit", code=137, left=[]),
    ]  # fmt: skip


def many() -> Records:
    """200 equal processes that end one after another, and 60 that are each another one."""
    others = [(400 + i, f"tool{i}", -50.0 - i) for i in range(60)]
    return [
        run(), STARTED, STOP, seen(0.01, *[(100 + i, "python", -99.0) for i in range(200)], *others),
        *(at(i / 10, "ended", 100 + i, status=0) for i in range(200)), at(30.0, "ended", *range(400, 460), status=0),
        at(30.1, "ended", 7, status=0), at(30.2, "exit", code=0, left=[]),
    ]  # fmt: skip


def alone() -> Records:
    """No stop; something outlives the main process."""
    return [
        run(), STARTED, at(0.0, "ended", 7, status=0), seen(0.01, (13, "daemon", -20)),
        at(0.02, "told", 13, signal="SIGTERM", why="the main process has gone"), at(10.0, "killed", 13, why="told 10 s ago"),
        at(10.01, "ended", 13, status=9), at(10.02, "exit", code=0, left=[]),
    ]  # fmt: skip


def strange() -> Records:
    """Names of every kind, everywhere."""
    records = [run(program=STRANGE[0]), STARTED, at(0.0, "stop", reason=STRANGE[4])]
    records.append(seen(0.1, *[(20 + i, name, -9.0) for i, name in enumerate(STRANGE)]))
    for i, name in enumerate(STRANGE):
        records.append(at(1.0 + i, "hook", pid=50 + i, name=name, on=name, seconds=5.0))
        records.append(at(1.5 + i, "hook-ended", pid=50 + i, name=name, on=name, failed=True, how=name))
        records.append(at(1.6 + i, "told", 20 + i, signal=name, why=name))
        records.append(at(1.7 + i, "hook-skipped", name=name, on=name, why=name))
    return records


SAMPLES = {"short": short, "full": full, "many": many, "alone": alone, "strange": strange}


def drawn(records: Records) -> layout.Picture:
    (read,) = record.parse(map(json.dumps, records))
    return layout.layout(read)
