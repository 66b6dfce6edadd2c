"""What people lose with other inits, and the promises, on real processes: as PID 1 and as a subreaper."""

from __future__ import annotations

import shutil
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from running import MODES, PROGRAMS, program, stat, wait_until

if TYPE_CHECKING:
    from running import Run, Starter

both = pytest.mark.parametrize("mode", MODES)
QUICK = ("--stop-timeout", "15", "--linger", "1")
pytestmark = pytest.mark.together


def script(name: str, shell: str = "sh") -> list[str]:
    for word in shell.split():
        if shutil.which(word) is None and word != "sh":
            pytest.skip(f"{word} is not installed")
    return [*shell.split(), str(PROGRAMS / name)]


def ends_in_time(run: Run, timeout: float = 15.0) -> None:
    """It ended by itself before the platform's SIGKILL, with nothing left alive."""
    assert run.left == {}
    assert run.seconds < timeout


def ends_well(run: Run) -> None:
    """The same, and not by killing: whoever asked was told once, and saved."""
    ends_in_time(run)
    assert run.lines("told") == ["SIGTERM"]
    assert "killed" not in run.stderr.replace("0 killed", "")


# The rows of what is there today: each of them is lost by some init.


@both
def test_a_program_with_a_handler_saves(mode: str, start: Starter) -> None:
    run = start(program("saver.py"), *QUICK, mode=mode)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.has("saved")
    ends_well(run)


@both
def test_a_program_under_a_script_saves_and_the_scripts_next_line_runs(mode: str, start: Starter) -> None:
    run = start(script("wrapper.sh"), *QUICK, mode=mode)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.has("saved")
    assert run.read("next") == "0"
    ends_well(run)


@both
def test_a_program_in_a_pipeline_saves_and_its_log_is_whole(mode: str, start: Starter) -> None:
    run = start(script("pipeline.sh"), *QUICK, mode=mode)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.has("saved")
    assert run.lines("log") == ["training", "saved"]
    assert run.read("next") == "done"
    ends_well(run)


@both
def test_a_script_that_traps_and_waits_hands_the_signal_on_itself(mode: str, start: Starter) -> None:
    run = start(script("trap.sh"), *QUICK, mode=mode, STOPS="SIGTERM SIGINT")
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.lines("trapped") == ["TERM"]
    assert run.read("next") == "0"
    ends_well(run)


@both
def test_workers_without_a_handler_live_while_their_program_saves(mode: str, start: Starter) -> None:
    run = start(program("workers.py"), *QUICK, mode=mode)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.has("saved")
    assert not run.has("lost")
    ends_well(run)


@both
def test_a_detached_daemon_flushes(mode: str, start: Starter) -> None:
    run = start(program("daemon.py"), *QUICK, mode=mode)
    run.wait_for("ready")
    assert run.stop() == 128 + signal.SIGTERM
    assert run.has("flushed")
    ends_well(run)


@both
@pytest.mark.parametrize("name", ["saver.py", "wrapper.sh"])
def test_a_stopped_program_is_continued_and_saves(mode: str, name: str, start: Starter) -> None:
    run = start(script(name) if name.endswith(".sh") else program(name), *QUICK, mode=mode, FREEZE="1")
    run.wait_for("ready")
    wait_until(lambda: any(stat(pid)[:1] == ["T"] for pid in run.alive()), "the program to stop itself")
    assert run.stop() == 0
    assert run.has("saved")
    ends_well(run)


@both
def test_a_program_that_ignores_every_stop_is_killed_in_time(mode: str, start: Starter) -> None:
    run = start(program("ignorer.py"), "--stop-timeout", "12", mode=mode)
    run.wait_for("ready")
    assert run.stop() == 128 + signal.SIGKILL
    ends_in_time(run, 12.0)
    assert "killed" in run.stderr


# The promises.


@both
@pytest.mark.slow
def test_the_exit_comes_before_the_stop_timeout_even_when_new_processes_come_all_the_time(
    mode: str, start: Starter
) -> None:
    endless = "trap '' TERM; echo > $STATE/ready; while :; do sleep 0.05 & sleep 0.05 & wait; done"
    run = start(["sh", "-c", endless], "--stop-timeout", "20", mode=mode)
    run.wait_for("ready")
    assert run.stop() == 128 + signal.SIGKILL
    ends_in_time(run, 20.0)


@both
def test_nothing_is_alive_after_the_exit(mode: str, start: Starter) -> None:
    """Neither sessions of their own, nor orphans of orphans, nor those who ignore everything."""
    dropped = "setsid sh -c 'trap \"\" TERM INT HUP; setsid sleep 1000 & sleep 1000' & "
    run = start(["sh", "-c", dropped * 5 + "echo > $STATE/ready; sleep 1000"], *QUICK, mode=mode)
    run.wait_for("ready")
    wait_until(lambda: list(run.alive().values()).count("sleep") == 11, "eleven sleepers")
    assert run.stop() == 128 + signal.SIGTERM
    ends_in_time(run)


@both
def test_many_stop_requests_tell_once(mode: str, start: Starter) -> None:
    run = start(script("wrapper.sh"), *QUICK, mode=mode)
    run.wait_for("ready")
    run.send(signal.SIGTERM, signal.SIGTERM, signal.SIGQUIT)
    run.wait_for("told")
    run.send(signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)
    assert run.end() == 0
    assert len(run.lines("told")) == 1
    assert run.has("saved")
    ends_in_time(run)


@both
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -9 $$", 137),
        ("kill -USR1 $$", 138),
        ("kill -34 $$", 162),
    ],
)
def test_the_exit_code_is_the_programs(mode: str, command: str, code: int, start: Starter) -> None:
    assert start(["sh", "-c", command], mode=mode).end() == code


@both
def test_no_zombie_outlives_the_next_turn_of_the_loop(mode: str, start: Starter) -> None:
    command = f"{sys.executable} {PROGRAMS}/orphans.py; exec sleep 1000"
    run = start(["sh", "-c", command], *QUICK, mode=mode, ORPHANS="200")
    run.wait_for("ready")
    wait_until(lambda: list(run.alive().values()).count("sleep") == 1, "the program's second half")
    wait_until(lambda: list(run.children().values()) == ["S"], "the orphans to be reaped", 5)
    assert run.stop() == 128 + signal.SIGTERM


BROKEN = [sys.executable, str(PROGRAMS / "broken.py")]
DEFECTS = (
    "lifecycle.step@Signal",
    "lifecycle.step@Looked",
    "linux.descendants",
    "linux.glance",
    "targets.reach",
    "signals.name",
)


@both
@pytest.mark.parametrize("where", DEFECTS)
def test_a_defect_during_a_stop_tells_waits_and_exits_1(mode: str, where: str, start: Starter) -> None:
    run = start(program("saver.py"), *QUICK, mode=mode, init=BROKEN, BREAK=where)
    run.wait_for("ready")
    assert run.stop() == 1
    assert run.has("saved")
    assert run.lines("told") == ["SIGTERM"]
    assert "broken on purpose" in run.stderr
    ends_in_time(run)


@both
@pytest.mark.parametrize("where", ["lifecycle.step@Started", "lifecycle.step@Signal", "linux.started"])
def test_a_defect_while_the_program_runs_gives_it_its_grace_and_kills_it(mode: str, where: str, start: Starter) -> None:
    """Whatever the program makes of being told, here nothing at all."""
    command = ["sh", "-c", "trap '' TERM; echo > $STATE/ready; sleep 1000 & wait"]
    run = start(command, "--stop-timeout", "2", mode=mode, init=BROKEN, BREAK=where, BREAK_WHEN="ready")
    run.wait_for("ready")
    if where.endswith("Signal"):
        run.send(signal.SIGUSR1)
    assert run.end() == 1
    assert run.left == {}
    assert "broken on purpose" in run.stderr


@both
@pytest.mark.parametrize("where", ["lifecycle.step@Looked:2", "linux.descendants:2", "lifecycle.step@Time"])
def test_a_defect_in_the_middle_of_a_stop_tells_nobody_twice_and_ends_in_time(
    mode: str, where: str, start: Starter
) -> None:
    run = start(script("wrapper.sh"), *QUICK, mode=mode, init=BROKEN, save=3, BREAK=where)
    run.wait_for("ready")
    assert run.stop() == 1
    assert run.has("saved")
    assert run.lines("told") == ["SIGTERM"]
    ends_in_time(run)


@both
@pytest.mark.parametrize("where", ["linux.descendants", "timeline.Timeline.killed_all"])
def test_a_defect_leaves_nothing_alive_that_ignores_the_stop_and_ends_in_time(
    mode: str, where: str, start: Starter
) -> None:
    run = start(program("ignorer.py"), "--stop-timeout", "12", mode=mode, init=BROKEN, BREAK=where)
    run.wait_for("ready")
    assert run.stop() == 1
    ends_in_time(run, 12.0)


HOOKS = """\
stop_timeout: 12s
hooks:
- {on: USR2, timeout: 60s, run: [sh, -c, "trap '' TERM; echo >$STATE/snapshot; while :; do sleep 1; done"]}
- {on: stopping, timeout: 1s, run: [sh, -c, "echo >$STATE/stopping; echo a line"]}
- {on: stopped, timeout: 1s, run: [touch, $STATE/stopped]}
- {on: exit, timeout: 1s, run: [touch, $STATE/exit]}
"""


@both
@pytest.mark.parametrize("where", ["runner.Runner.hear", "lanes.ended", "timeline.Timeline.hook_over"])
def test_a_defect_while_hooks_run_tells_waits_kills_them_too_and_runs_no_others(
    mode: str, where: str, start: Starter
) -> None:
    """One hook runs that ignores every signal, while another writes a line and ends; the defect is in what becomes of that."""
    run = start(program("saver.py"), mode=mode, init=BROKEN, config=HOOKS, save=1, BREAK=where, BREAK_AFTER="stopping")
    run.wait_for("ready")
    run.send(signal.SIGUSR2)
    run.wait_for("snapshot")
    assert run.stop() == 1
    assert run.has("saved")
    assert run.lines("told") == ["SIGTERM"]
    assert "broken on purpose" in run.stderr
    assert "stopping the program, without hooks" in run.stderr
    assert not run.has("stopped")
    assert not run.has("exit")
    ends_in_time(run, 12.0)


def test_a_defect_leaves_the_processes_of_others_alone(start: Starter) -> None:
    other = start(["sleep", "1000"])
    wait_until(lambda: list(other.alive().values()) == ["sleep"], "the other program")
    run = start(program("saver.py"), *QUICK, init=BROKEN, BREAK="lifecycle.step@Signal")
    run.wait_for("ready")
    assert run.stop() == 1
    assert list(other.alive().values()) == ["sleep"]
