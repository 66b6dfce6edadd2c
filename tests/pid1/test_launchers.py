"""Launchers that kill their ranks when they are told, as mpirun and orted do. Here a shell under their name plays them; Open
MPI's own are in tests/engine/test_mpirun.py."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from running import MODES, program

if TYPE_CHECKING:
    from pathlib import Path

    from running import Run, Starter

QUICK = ("--stop-timeout", "20", "--linger", "1")
LAUNCH = f"""
trap 'echo >> "$STATE/launcher"; kill -KILL $!; exit 1' TERM
{" ".join(program("saver.py"))} &
wait $!
"""


@pytest.fixture
def launcher(tmp_path: Path) -> Path:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    shutil.copy(bash, tmp_path / "orterun")
    shutil.copy(bash, tmp_path / "orted")
    return tmp_path


def saved(run: Run) -> bool:
    """Whether the rank has saved, told once, and the launcher was not told."""
    return run.has("saved") and run.lines("told") == ["SIGTERM"] and not run.has("launcher") and not run.left


@pytest.mark.parametrize("mode", MODES)
def test_ranks_are_told_and_not_what_has_launched_them(mode: str, launcher: Path, start: Starter) -> None:
    run = start([str(launcher / "orterun"), "-c", LAUNCH], *QUICK, mode=mode, save=2)
    run.wait_for("ready")
    assert run.stop() == 0
    assert saved(run), run.stderr


@pytest.mark.parametrize("mode", MODES)
def test_so_are_those_of_a_daemon_that_is_nobodys_child(mode: str, launcher: Path, start: Starter) -> None:
    beside = '("$0" -c "$1" &); exec sleep 1000'
    run = start(["sh", "-c", beside, str(launcher / "orted"), LAUNCH], *QUICK, mode=mode, save=2)
    run.wait_for("ready")
    assert run.stop() == 143
    assert saved(run), run.stderr


def test_a_script_around_it_has_its_last_lines(launcher: Path, start: Starter) -> None:
    script = '"$0" -c "$1"; echo $? > "$STATE/next"'
    run = start(["sh", "-c", script, str(launcher / "orterun"), LAUNCH], *QUICK, save=2)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.read("next") == "0"
    assert saved(run), run.stderr


def test_ranks_without_a_handler_are_told_at_once(launcher: Path, start: Starter) -> None:
    launch = LAUNCH.replace(" ".join(program("saver.py")), 'sh -c "echo > $STATE/ready; exec sleep 1000"')
    run = start([str(launcher / "orterun"), "-c", launch], *QUICK)
    run.wait_for("ready")
    assert run.stop() == 143
    assert run.seconds < 10
    assert not run.has("launcher")
    assert run.left == {}
