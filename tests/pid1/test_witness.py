"""What is reported of a run, from real runs."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest
from running import LIMIT, wait_until
from tapped import python, reported, supervised, supervising

from smentry.pid1.events import Start
from smentry.pid1.process import Program, StartError
from smentry.pid1.state import Plan, State
from smentry.pid1.stderr import Log
from smentry.pid1.supervisor import Supervisor
from smentry.pid1.timeline import Timeline
from smentry.pid1.witness import Witness

if TYPE_CHECKING:
    from pathlib import Path

    from smentry.pid1.report import Report

IGNORER = (
    "import os, signal, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "open('ready', 'w').close()\n"
    "while True: time.sleep(60)\n"
)
SHORT = {"stop_timeout": 4.5, "reserve": 3.0}


def test_a_program_that_fails(tmp_path: Path) -> None:
    report = supervised(tmp_path, ["sh", "-c", "echo why >&2; sleep 0.2; exit 3"], label="train.py")
    assert (report["code"], report["status"], report["label"], report["tail"]) == (3, 3 << 8, "train.py", "why\n")
    assert report["pid"] > 0
    assert 0.2 <= report["lasted"] < LIMIT
    quiet = ("refusal", "reason", "stopping", "killed", "killed_main", "victims", "deaths", "defect", "hooks")
    assert not any(report[name] for name in quiet)
    assert report["evidence"]["oom_kills"] in (0, None)


def test_a_program_that_cannot_be_started(tmp_path: Path) -> None:
    report = supervised(tmp_path, ["x"], path="/nowhere", label="x")
    assert (report["code"], report["pid"], report["status"]) == (127, 0, None)
    assert report["refusal"] == "cannot run /nowhere: no such file"


def test_a_program_that_does_not_stop_in_time(tmp_path: Path) -> None:
    with supervising(tmp_path, python(IGNORER), plan=SHORT, label="train.py") as init:
        wait_until((tmp_path / "ready").exists, "the program")
        init.send_signal(signal.SIGTERM)
        assert init.wait(LIMIT) == 128 + signal.SIGKILL
    report = reported(tmp_path)
    assert report["status"] == signal.SIGKILL
    assert (report["reason"], report["grace"]) == ("SIGTERM", 1.5)
    assert 1.4 <= report["stopping"] < 4.5
    assert report["killed"] == "the program's time is over"
    assert report["killed_main"]
    assert report["victims"][0] == f"train.py ({report['pid']})"


def test_who_is_killed_after_the_main_process_has_gone(tmp_path: Path) -> None:
    code = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {IGNORER!r}])\n"
    code += "import os, time\nwhile not os.path.exists('ready'): time.sleep(0.01)\n"
    report = supervised(tmp_path, python(code), plan={"stop_timeout": 20.0})
    assert (report["code"], report["status"], report["reason"]) == (0, 0, "")
    assert report["killed"]
    assert not report["killed_main"]
    assert [name.partition(" ")[0] for name in report["victims"]] == [os.path.basename(sys.executable)[:15]]


def test_the_last_words_are_the_programs_whatever_companions_say_when_they_are_stopped(tmp_path: Path) -> None:
    chatty = "trap 'echo shutting down >&2; exit 0' TERM; touch ready; while :; do sleep 0.05; done"
    program = "until [ -e ready ]; do sleep 0.02; done; echo why >&2; exit 6"
    with open(tmp_path / "err", "wb") as err:
        companions = [{"name": "a", "run": ["sh", "-c", chatty]}]
        report = supervised(tmp_path, ["sh", "-c", program], companions=companions, stderr=err)
    assert (report["code"], report["tail"]) == (6, "why\n")
    assert "shutting down\n" in (tmp_path / "err").read_text()


def test_an_orphan_that_died_of_a_signal(tmp_path: Path) -> None:
    code = (
        "import os, signal, time\n"
        "if not os.fork():\n"
        "    pid = os.fork()\n"
        "    if not pid: os.kill(os.getpid(), signal.SIGBUS)\n"
        "    open('pid', 'w').write(str(pid)); os._exit(0)\n"
        "os.wait()\n"
        "orphan = open('pid').read()\n"
        "while os.path.exists(f'/proc/{orphan}'): time.sleep(0.01)\n"  # until it has been reaped
        "raise SystemExit(1)\n"
    )
    report = supervised(tmp_path, python(code))
    assert report["code"] == 1
    (death,) = report["deaths"]
    assert death["status"] & 0x7F == signal.SIGBUS
    assert death["pid"] == int((tmp_path / "pid").read_text())


def test_a_hook_that_failed_with_its_last_lines(tmp_path: Path) -> None:
    hook = {"event": "start", "name": "pip", "run": ["sh", "-c", "seq 20; exit 4"], "required": True}
    report = supervised(tmp_path, ["true"], hooks=[hook])
    assert report["code"] == 4
    assert report["pid"] == 0
    assert "the program was not started" in report["refusal"]
    (failure,) = report["hooks"]
    assert (failure["event"], failure["name"], failure["required"], failure["status"]) == ("start", "pip", True, 4 << 8)
    assert failure["lines"] == [str(number) for number in range(11, 21)]
    assert "ended with exit code 4" in failure["text"]


def test_max_runtime_is_a_reason(tmp_path: Path) -> None:
    report = supervised(tmp_path, ["sleep", "60"], plan={"max_runtime": 0.2})
    assert (report["reason"], report["code"], report["killed"]) == ("max-runtime", 128 + signal.SIGTERM, "")
    assert report["stopping"] < report["lasted"]


@pytest.mark.parametrize("pending", [True, False], ids=["stop", "no stop"])
def test_a_program_that_a_stop_kept_from_starting_is_no_failure(pending: bool) -> None:
    def settle() -> Program:
        if pending:
            signal.raise_signal(signal.SIGTERM)
        raise StartError(1, "not started")

    told: list[tuple[str, str]] = []

    def ended(report: Report) -> None:
        told.append((report.refusal, report.reason))

    program = Program(["true"], {}, "/", None, "true", "/bin/true")
    program.settle = settle
    plan, log = Plan(), Log(-1)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        Supervisor(program, plan, log, (), Timeline(log, plan, "true", warn_on_reap=False, path=None), ended)._start(
            Start()
        )
        if pending:
            assert signal.sigwait([signal.SIGTERM]) == signal.SIGTERM
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert told == [("not started", "SIGTERM" if pending else "")]


def test_how_long_the_program_ran_is_what_was_said_when_it_ended() -> None:
    told: list[float] = []
    witness, state = Witness(Plan(), Log(-1), "true", lambda report: told.append(report.lasted)), State()
    witness.started("true", 7, time.monotonic() - 1)
    state.main = 7
    witness.reaped([(7, 1 << 8)], state)
    state.main, state.main_status, state.gone_at = 0, 1 << 8, time.monotonic() + 5
    assert [witness.leave(1, state).lasted] == told
