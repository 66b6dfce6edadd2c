"""Ranks below torchrun, which kills them soon after it was told: a script of its name and its ways, for the real one takes
seconds to start (tests/training/frameworks has it)."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from container import ROOT
from running import Run, program

if TYPE_CHECKING:
    from running import Starter

TORCHRUN = """
import signal, subprocess, sys
class Told(Exception):
    pass
def stop(*_):
    raise Told
signal.signal(signal.SIGTERM, stop)
rank = subprocess.Popen([sys.executable, sys.argv[-1]])
try:
    code = rank.wait()
except Told:
    rank.terminate()
    try:
        rank.wait(0.3)
    except subprocess.TimeoutExpired:
        rank.kill()
    code = 1
sys.exit(code)
"""
OPTIONS = ("--stop-timeout", "30s", "--linger", "1s")


@pytest.fixture
def torchrun(tmp_path: Path) -> str:
    path = tmp_path / "torchrun"
    path.write_text(f"#!{sys.executable}\n{TORCHRUN}")
    path.chmod(0o755)
    return str(path)


def stopped(start: Starter, command: list[str], *options: str, **environment: str) -> tuple[int, Run]:
    """The exit code of a run that was stopped once its rank was there, and the run."""
    run = start([*command, program("saver.py")[-1]], *OPTIONS, *options, save=2, **environment)
    run.wait_for("ready")
    return run.stop(), run


def test_ranks_are_told_themselves_and_save_and_torchrun_ends_with_them(torchrun: str, start: Starter) -> None:
    code, run = stopped(start, [torchrun, "--nnodes", "1"])
    assert code == 0
    assert run.read("saved")


def test_one_whose_ranks_have_ended_is_left_to_wait_for_those_of_other_hosts(torchrun: str, start: Starter) -> None:
    barrier = "code = rank.wait()"
    Path(torchrun).write_text(
        f"#!{sys.executable}\n{TORCHRUN.replace(barrier, barrier + '; import time; time.sleep(4)')}"
    )
    code, run = stopped(start, [torchrun])  # for longer than --linger
    assert code == 0
    assert run.read("saved")
    assert "told torchrun" not in run.stderr


def test_the_module_is_torchrun_too(tmp_path: Path, start: Starter) -> None:
    (tmp_path / "torch/distributed").mkdir(parents=True)
    (tmp_path / "torch/distributed/run.py").write_text(TORCHRUN)
    command = [sys.executable, "-m", "torch.distributed.run"]
    code, run = stopped(start, command, PYTHONPATH=f"{ROOT}:{tmp_path}")
    assert code == 0
    assert run.read("saved")


@pytest.mark.parametrize("options", [["--max_restarts", "3"], ["--max-restarts=3"], []])
def test_one_that_would_start_ranks_anew_is_told(torchrun: str, start: Starter, options: list[str]) -> None:
    variables = {} if options else {"PET_MAX_RESTARTS": "3"}
    assert stopped(start, [torchrun, *options], **variables)[0] == 1


@pytest.mark.parametrize("options", [["--max_restarts", "0"], ["--max-restarts=0"]])
def test_one_that_is_to_start_none_anew_is_left_to_its_ranks(torchrun: str, start: Starter, options: list[str]) -> None:
    code, run = stopped(start, [torchrun, *options], PET_MAX_RESTARTS="3")  # which the option counts over
    assert code == 0
    assert run.read("saved")


def test_asked_to_tell_the_main_process_smentry_does_and_ranks_are_lost(torchrun: str, start: Starter) -> None:
    assert stopped(start, [torchrun], "--scope", "main")[0] == 1


def test_a_torchrun_that_has_no_rank_yet_ends_at_once(torchrun: str, tmp_path: Path, start: Starter) -> None:
    (tmp_path / "torchrun").write_text(f"#!{sys.executable}\nopen('{tmp_path}/up', 'w')\nimport time\ntime.sleep(60)\n")
    run = start([torchrun], *OPTIONS)
    run.wait_for(str(tmp_path / "up"))
    assert run.stop() == 128 + signal.SIGTERM
    assert run.seconds < 20


def test_so_it_does_below_a_shell_whose_trap_waits_for_it(torchrun: str, tmp_path: Path, start: Starter) -> None:
    Path(torchrun).write_text(f"#!{sys.executable}\nopen('{tmp_path}/up', 'w')\nimport time\ntime.sleep(60)\n")
    run = start(["sh", "-c", f"trap 'exit 7' TERM; {torchrun}; exit 5"], *OPTIONS)
    run.wait_for(str(tmp_path / "up"))
    assert run.stop() == 7
    assert run.seconds < 20  # and not when nearly all of the time is used
