"""What is said of a run, line by line, and as JSON: who was found, told, killed and reaped, and when."""

from __future__ import annotations

import json
import re
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from running import PROGRAMS, program, wait_until

if TYPE_CHECKING:
    from running import Run, Starter

QUICK = ("--stop-timeout", "15", "--linger", "1")
pytestmark = pytest.mark.together


def said(run: Run) -> list[str]:
    """The lines without the prefix, pids and times."""
    lines = [line.partition("]: ")[2] for line in run.stderr.splitlines() if line.startswith("smentry[")]
    return [re.sub(r"\d+\.\d+ s", "# s", re.sub(r"\(\d+\)|(?<=pid )\d+", "(#)", line)) for line in lines]


def test_a_stop_is_told_from_its_request_to_its_end(start: Starter) -> None:
    run = start(["sh", str(PROGRAMS / "wrapper.sh")], *QUICK)
    run.wait_for("ready")
    run.stop()
    python = "python3"
    assert said(run) == [
        "sh is pid (#); a stop leaves it # s of 15 s",
        "SIGTERM came after # s: stopping, done within 15 s",
        f"told {python} (#) SIGTERM after # s: it asked for it",
        "sh (#) ended with exit code 0 after # s",
        "done in # s of 15 s: 2 processes ended, 0 orphans reaped, 0 killed; exit code 0",
    ]


def test_orphans_and_the_killed_are_counted_in_the_last_line(start: Starter) -> None:
    run = start(program("daemon.py"), "--linger", "1.5", save=1000, PROGRAM_EXITS="1")
    run.end()
    python = sys.executable.rpartition("/")[2]
    daemon = said(run)[2].split()[1]
    assert said(run)[1:] == [
        f"{python} (#) ended with exit code 0 after # s",
        f"told {daemon} (#) SIGTERM after # s: the main process has gone",
        f"killed {daemon} (#) after # s: the program's time is over",
        "done in # s of # s: 2 processes ended, 1 orphan reaped, 1 killed; exit code 0",
    ]


def test_hundreds_are_one_line(start: Starter) -> None:
    run = start(program("forks.py"), *QUICK, FORKS="100")
    run.wait_for("ready")
    run.stop()
    told = [line for line in said(run) if line.startswith("told")]
    assert re.fullmatch(r"told 101 processes \(101 × \S+\) SIGTERM after # s: nobody asked for it", told[0])
    assert len(told) == 1
    assert "101 processes ended" in said(run)[-1]


def test_quiet_leaves_errors_only(start: Starter) -> None:
    run = start(program("saver.py"), "-q", *QUICK, save=0.1)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.stderr == ""
    wrong = start(["/no/such/program"], "-q")
    assert wrong.end() == 127
    (line,) = said(wrong)
    assert line.startswith("error: ")


def test_json_has_the_same_events(start: Starter) -> None:
    run = start(["sh", str(PROGRAMS / "wrapper.sh")], *QUICK, "--log-format", "json")
    run.wait_for("ready")
    run.stop()
    records = [json.loads(line) for line in run.stderr.splitlines()]
    assert [record["event"] for record in records] == ["started", "stop", "told", "ended", "done"]
    started, stop, told, ended, done = records
    assert started["stop_timeout"] == 15
    assert started["grace"] == 13.5
    assert stop["reason"] == "SIGTERM"
    assert len(told["pids"]) == 1
    assert told["signal"] == "SIGTERM"
    assert ended["pid"] == started["pid"]
    assert ended["status"] == 0
    assert done["code"] == 0
    assert done["killed"] == 0
    assert 0.4 < done["seconds"] < 15


def test_signals_and_their_targets_are_said_when_asked_for(start: Starter) -> None:
    run = start(program("listener.py"), *QUICK, "-v")
    run.wait_for("ready")
    run.send(signal.SIGUSR2)
    wait_until(lambda: run.lines("signals") == ["SIGUSR2"], "the signal to be heard")
    run.stop()
    assert "SIGUSR2 came" in said(run)
    assert any(re.fullmatch(r"passed SIGUSR2 on to \S+ \(#\)", line) for line in said(run))


def test_reaped_orphans_are_warned_of_when_asked_for(start: Starter) -> None:
    run = start(program("orphans.py"), "-w", ORPHANS="3")
    assert run.end() == 0
    warnings = [line for line in said(run) if line.startswith("warning: reaped the orphan")]
    assert warnings == ["warning: reaped the orphan with pid (#): it ended with exit code 0"] * 3


def test_a_program_that_does_nothing_special_is_two_lines(start: Starter) -> None:
    run = start(["true"])
    assert run.end() == 0
    assert said(run) == [
        "true is pid (#); a stop leaves it 115 s of 120 s",
        "true (#) ended with exit code 0 after # s",
    ]
