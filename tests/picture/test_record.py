"""Reading a timeline file: what is in it, what is torn, and what a newer smentry may have written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smentry.picture import record

RUN = {"t": -50.0, "event": "run", "version": 1, "program": "train.py", "stop_timeout": 120, "time": 1717243200.0}
STARTED = {"t": -49.9, "event": "started", "pid": 7, "name": "train.py"}
STOP = {"t": 0.0, "event": "stop", "reason": "SIGTERM"}
EXIT = {"t": 3.0, "event": "exit", "code": 0, "left": []}


def read(*records: dict[str, Any]) -> record.Run:
    (run,) = record.parse(json.dumps(entry) for entry in records)
    return run


def seen(t: float, pid: int, name: str, since: float) -> dict[str, Any]:
    return {"t": t, "event": "seen", "processes": [{"pid": pid, "name": name, "since": since}]}


def test_a_process_has_its_birth_what_was_done_to_it_and_its_end() -> None:
    run = read(
        RUN, STARTED, STOP, seen(0.1, 12, "python", -30.5),
        {"t": 0.2, "event": "told", "pids": [7, 12], "signal": "SIGTERM", "why": "it asked for it"},
        {"t": 2.5, "event": "ended", "pids": [12], "status": 15}, {"t": 2.6, "event": "ended", "pids": [7], "status": 768}, EXIT,
    )  # fmt: skip
    main, worker = run.processes
    assert (main.pid, main.main, main.born, main.ended, main.how) == (7, True, -49.9, 2.6, "exit 3")
    assert (worker.name, worker.main, worker.born, worker.ended, worker.how) == ("python", False, -30.5, 2.5, "SIGTERM")
    assert worker.marks == [record.Mark(0.2, record.TOLD, "told SIGTERM: it asked for it")]
    assert (run.reason, run.code, run.last, run.stop_timeout) == ("SIGTERM", 0, 3.0, 120.0)


def test_a_pid_that_comes_again_is_another_process() -> None:
    ended = {"t": 1.0, "event": "ended", "pids": [12], "status": 0}
    run = read(RUN, STOP, seen(0.1, 12, "first", -3), ended, seen(2.0, 12, "second", 1.5), {**ended, "t": 2.5})
    assert [(process.name, process.ended) for process in run.processes] == [("first", 1.0), ("second", 2.5)]


def test_who_was_told_before_it_was_seen_gets_its_name_and_birth() -> None:
    told = {"t": 0.0, "event": "told", "pids": [12], "signal": "SIGTERM", "why": ""}
    (process,) = read(RUN, STOP, told, seen(0.1, 12, "python", -30.0)).processes
    assert (process.name, process.born, len(process.marks)) == ("python", -30.0, 1)


def test_a_companion_is_a_process_each_time_it_is_started() -> None:
    def companion(t: float, pid: int) -> dict[str, Any]:
        return {"t": t, "event": "companion", "pid": pid, "name": "nginx"}

    end = {"event": "companion-ended", "name": "nginx", "again": None}
    run = read(
        RUN, companion(-40, 8), {**end, "t": -3, "pid": 8, "status": 256, "again": 1}, {**end, "t": -2, "pid": 0, "status": None},
        companion(-1, 9), STOP, {"t": 0.2, "event": "told", "pids": [9], "signal": "SIGQUIT", "why": ""},
        {**end, "t": 1, "pid": 9, "status": 0}, EXIT,
    )  # fmt: skip
    first, second = run.processes
    assert (first.name, first.born, first.ended, first.how) == ("nginx", -40, -3, "exit 1")
    assert (second.name, second.born, second.ended, second.how) == ("nginx", -1, 1, "exit 0")
    assert [mark.text for mark in second.marks] == ["told SIGQUIT"]


def test_a_hook_is_no_process_of_the_program() -> None:
    hook = {"t": 0.1, "event": "hook", "pid": 31, "name": "copy", "on": "stopped", "seconds": None}
    end = {
        "t": 1.1,
        "event": "hook-ended",
        "pid": 31,
        "name": "copy",
        "on": "stopped",
        "failed": True,
        "how": "died of SIGKILL",
    }
    killed = {"t": 1.0, "event": "killed", "pids": [31], "why": "over"}
    run = read(
        RUN, STOP, hook, seen(0.5, 31, "cp", 0.1), killed, end, {"t": 1.1, "event": "ended", "pids": [31], "status": 9}
    )
    assert run.processes == []
    assert run.unseen == 0
    assert run.hooks == [record.Hook("copy", "stopped", 0.1, None, 1.1, True, "died of SIGKILL")]


def test_processes_that_ended_unseen_are_counted() -> None:
    assert read(RUN, STOP, {"t": 1.0, "event": "ended", "pids": [91, 92], "status": 0}).unseen == 2


def test_several_runs_are_kept_apart() -> None:
    runs = record.parse(map(json.dumps, [RUN, STOP, EXIT, {**RUN, "program": "other"}, STOP, {**EXIT, "code": 5}]))
    assert [(run.program, run.code) for run in runs] == [("train.py", 0), ("other", 5)]


def test_a_torn_last_line_costs_that_line_only() -> None:
    lines = [json.dumps(entry) for entry in (RUN, STARTED, STOP, EXIT)]
    lines[-1] = lines[-1][:-9]
    (run,) = record.parse(lines)
    assert (run.reason, run.code, run.broken) == ("SIGTERM", None, 1)


def test_a_run_written_behind_a_torn_line_is_found() -> None:
    lines = [
        json.dumps(RUN),
        json.dumps(STOP),
        json.dumps(EXIT)[:20] + json.dumps(RUN),
        json.dumps(STOP),
        json.dumps(EXIT),
    ]
    torn, whole = record.parse(lines)
    assert (torn.code, torn.broken) == (None, 1)
    assert (whole.code, whole.broken) == (0, 0)


def test_what_a_newer_smentry_writes_is_passed_over() -> None:
    newer = {**RUN, "version": 2, "mood": {"good": True}}
    run = read(newer, {"t": 0.5, "event": "teleported", "pids": "all"}, {**STOP, "asked_by": "agent"}, EXIT)
    assert (run.reason, run.code, run.broken) == ("SIGTERM", 0, 0)


@pytest.mark.parametrize("wrong", [None, "x", -1.5, True, [], [None, "7", {}], {"pid": "x"}, [{"name": 3}], 10**400])
@pytest.mark.parametrize("event", sorted(record._EVENTS))
def test_a_field_of_another_type_is_as_good_as_not_there(event: str, wrong: object) -> None:
    fields = ("pid", "pids", "name", "reason", "processes", "signal", "why", "on", "seconds", "failed", "how", "status",
              "code", "left")  # fmt: skip
    run = read(RUN, {"t": 1.0, "event": event, **dict.fromkeys(fields, wrong)}, EXIT)
    assert (run.code, run.broken) == (0, 0)


@pytest.mark.parametrize(
    ("lines", "got"),
    [
        ([], "it is empty"),
        (["\n", " \n"], "it is empty"),
        (["hello\n"], "got 'hello'"),
        (['{"event": "run"}\n'], 'got \'{"event": "run"}\''),
        (['{"t": NaN, "event": "run"}\n'], "NaN"),
        (["[" * 100_000], "got '[[["),
        (['{"t": true, "event": "run"}\n'], "true"),
        ([json.dumps(STOP)], "no record of a run's begin"),
    ],
)
def test_what_is_no_timeline_is_refused_with_what_it_is(lines: list[str], got: str) -> None:
    with pytest.raises(record.NotATimelineError) as caught:
        record.parse(lines)
    assert got in str(caught.value)
    assert str(caught.value).endswith("expected a timeline, as smentry writes it with --timeline")
