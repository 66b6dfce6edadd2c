"""Training code that uses smentry.training, under the real smentry: directly, behind a script, with workers."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from running import MODES, PROGRAMS, program, status, wait_until

from smentry.training import latest_checkpoint

if TYPE_CHECKING:
    from running import Run, Starter

pytestmark = pytest.mark.together
STOP_TIMEOUT = ("--stop-timeout", "20")
GRACE = 18.0
"""Of 20 s smentry keeps a tenth."""
TRAP = f"""{sys.executable} {PROGRAMS}/graceful.py & child=$!
trap 'kill -TERM $child' TERM
wait $child
wait $child
echo $? > $STATE/next"""
WAYS = {
    "directly": program("graceful.py"),
    "behind a script": ["sh", "-c", f"{sys.executable} {PROGRAMS}/graceful.py\necho $? > $STATE/next"],
    "behind a script with a trap": ["sh", "-c", TRAP],
}


def saved(run: Run) -> dict[str, Any]:
    """What the program knew of the stop; the checkpoint it left is the one of that step."""
    assert run.has("saved"), run.stderr
    found: dict[str, Any] = json.loads(run.read("saved"))
    path = latest_checkpoint(run.state / "checkpoints")
    assert path is not None
    assert json.loads(Path(path).read_text())["step"] == found["step"] >= 3
    assert run.has("closed")
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("workers", ["0", "3"])
@pytest.mark.parametrize("way", WAYS)
def test_it_is_told_and_saves(way: str, workers: str, mode: str, start: Starter) -> None:
    run = start(WAYS[way], *STOP_TIMEOUT, mode=mode, save=0.3, WORKERS=workers)
    run.wait_for("ready")
    code = run.stop()
    found = saved(run)
    assert found["reason"] == "SIGTERM"
    assert not found["complete"]
    assert GRACE - 5 < found["left"] <= GRACE
    assert run.read("next") == ("" if way == "directly" else "0")
    assert code in ((0,) if way != "behind a script" else (0, 143))
    assert not run.left


def test_the_other_stop_signal(start: Starter) -> None:
    run = start(WAYS["directly"], *STOP_TIMEOUT, save=0.2)
    run.wait_for("ready")
    assert run.stop(signal.SIGINT) == 0
    assert saved(run)["reason"] == "SIGINT"


def test_max_runtime(start: Starter) -> None:
    run = start(WAYS["directly"], *STOP_TIMEOUT, "--max-runtime", "6", save=0.2)
    assert run.end() == 0
    assert saved(run)["reason"] == "SIGTERM"


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_have_no_handler_and_are_not_told(method: str, start: Starter) -> None:
    run = start(WAYS["directly"], *STOP_TIMEOUT, "-vv", save=0.3, WORKERS="2", METHOD=method)
    run.wait_for("ready")
    main = run.facts["pid"]
    assert asks(main)
    children = [pid for pid in run.alive() if status(pid, "PPid") == str(main)]
    assert len(children) >= 2
    assert not any(asks(pid) for pid in children)
    assert run.stop() == 0
    saved(run)
    assert "told" in run.stderr
    assert not run.left


def asks(pid: int) -> bool:
    """Whether a process has a handler for SIGTERM, or blocks it."""
    return any(int(status(pid, key) or "0", 16) & 0x4000 for key in ("SigCgt", "SigBlk"))


def test_interrupt_at_a_terminal_saves_with_its_workers(start: Starter) -> None:
    """^C goes to the whole foreground group, the workers included."""
    run = start([], init=WAYS["directly"], before=("env",), separator=(), save=0.3, WORKERS="2")
    run.wait_for("ready")
    os.killpg(run.pid, signal.SIGINT)
    assert run.end() == 0, run.stderr
    assert saved(run)["reason"] == "SIGINT"
    wait_until(lambda: not run.alive(), "the workers to end")


def test_a_second_interrupt_ends_it_with_its_workers(start: Starter) -> None:
    run = start([], init=WAYS["directly"], before=("env",), separator=(), save=60, WORKERS="2")
    run.wait_for("ready")
    os.killpg(run.pid, signal.SIGINT)
    run.wait_for("closed")
    os.killpg(run.pid, signal.SIGINT)
    assert run.end() in (1, -signal.SIGINT), run.stderr
    assert "KeyboardInterrupt" in run.stderr
    assert not run.has("saved")
    wait_until(lambda: not run.alive(), "the workers to end")
    assert latest_checkpoint(run.state / "checkpoints") is None
    assert os.listdir(run.state / "checkpoints") == []
