"""Who is told, and when, on real processes: the rules of `--scope auto`, the other scopes, linger, and how it ends."""

from __future__ import annotations

import shutil
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from running import MODES, PROGRAMS, program, wait_until

if TYPE_CHECKING:
    from running import Starter

both = pytest.mark.parametrize("mode", MODES)
QUICK = ("--stop-timeout", "15", "--linger", "1")
SAVER = f"{sys.executable} {PROGRAMS}/saver.py"
LATE = f"{sys.executable} {PROGRAMS}/late.py"
pytestmark = pytest.mark.together

SHELLS = ("dash", "bash", "busybox sh", "zsh", "ksh", "mksh")
NOT_QUIT = "SIGTERM SIGINT"
"""For programs in the background of a script: a handler of their own for QUIT would hide that they are (targets.py)."""

every_shell = pytest.mark.parametrize(
    "shell", [shell if shell in ("dash", "bash") else pytest.param(shell, marks=pytest.mark.slow) for shell in SHELLS]
)


def script(shell: str, name: str) -> list[str]:
    words = shell.split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    return [*words, str(PROGRAMS / name)]


# Scripts, in every shell there is.


@every_shell
def test_a_script_goes_on_after_its_program_has_saved(shell: str, start: Starter) -> None:
    run = start(script(shell, "wrapper.sh"), *QUICK)
    run.wait_for("ready")
    code = run.stop()
    assert run.lines("told") == ["SIGTERM"]
    assert run.has("saved")
    assert (code, run.read("next")) == (0, "0")
    assert run.left == {}


@every_shell
def test_workers_live_while_programs_of_a_script_save(shell: str, start: Starter) -> None:
    """mksh, dying of a signal, sends it to its whole group."""
    member = f"{sys.executable} {PROGRAMS}/member.py"
    command = f"{member} work 2 0 0.5 0 & {member} save 1 0 0.1 0; wait"
    run = start([*shell.split(), "-c", command], *QUICK)
    run.wait_for("handler.1")
    run.wait_for("handler.2")
    assert run.stop() == 0
    assert run.has("saved.1")
    assert run.has("saved.2")
    assert not run.has("lost.2")


@every_shell
def test_a_pipeline_is_whole(shell: str, start: Starter) -> None:
    run = start(script(shell, "pipeline.sh"), *QUICK)
    run.wait_for("ready")
    code = run.stop()
    assert run.lines("told") == ["SIGTERM"]
    assert run.has("saved")
    assert run.lines("log") == ["training", "saved"]
    assert (code, run.read("next")) == (0, "done")
    assert run.left == {}


@every_shell
def test_a_trap_that_hands_the_signal_on_is_left_to_do_it(shell: str, start: Starter) -> None:
    run = start(script(shell, "trap.sh"), *QUICK, STOPS=NOT_QUIT)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.lines("trapped") == (["TERM"] if shell != "mksh" else [])  # linux.py says why
    assert run.lines("told") == ["SIGTERM"]
    assert run.read("next") == ("0" if shell != "mksh" else "127")  # of its second `wait`
    told = run.stderr.partition("told ")[2].partition("SIGTERM")[0]
    assert ("python" in told) == (shell == "mksh")
    assert run.left == {}


@every_shell
def test_a_trap_that_cannot_run_yet_does_not_keep_the_program_from_being_told(shell: str, start: Starter) -> None:
    run = start(script(shell, "foreground.sh"), *QUICK)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.lines("told") == ["SIGTERM"]
    assert run.lines("trapped") == (["TERM"] if shell != "mksh" else [])  # linux.py says why
    assert run.has("saved")
    assert run.read("next") == "0"
    assert run.left == {}


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_int_saves_under_a_script_too(shell: str, start: Starter) -> None:
    run = start(script(shell, "wrapper.sh"), *QUICK)
    run.wait_for("ready")
    run.stop(signal.SIGINT)
    assert run.lines("told") == ["SIGINT"]
    assert run.has("saved")
    assert run.left == {}


# The rules.


@both
def test_who_asks_only_later_is_told_then(mode: str, start: Starter) -> None:
    """Rule 3: it had no handler yet when the other one, which had one, was told."""
    command = ["sh", "-c", f"{SAVER} & {LATE} & wait"]
    run = start(command, *QUICK, mode=mode, save=2.5, AFTER="told", LATE="0.1")
    run.wait_for("ready")
    run.wait_for("early")
    assert run.stop() == 0
    assert run.lines("told") == ["SIGTERM", "SIGTERM"]
    assert run.left == {}


def test_nobody_asked_so_everybody_is_told_at_once(start: Starter) -> None:
    run = start(["sh", "-c", "sleep 1000 & sleep 1000 & echo > $STATE/ready; wait"], *QUICK)
    run.wait_for("ready")
    wait_until(lambda: list(run.alive().values()).count("sleep") == 2, "two sleepers")
    assert run.stop() == 128 + signal.SIGTERM
    assert "nobody asked for it" in run.stderr
    assert run.seconds < 15
    assert run.left == {}


@both
def test_who_never_asked_is_told_after_lingering(mode: str, start: Starter) -> None:
    """Rule 4: the sleeper was there when the stop began, and keeps the script waiting."""
    command = ["sh", "-c", f"sleep 1000 & {SAVER}; wait; echo > $STATE/next"]
    run = start(command, "--stop-timeout", "15", "--linger", "0.5", mode=mode, save=0.3)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.has("saved")
    assert run.has("next")
    assert 0.7 < run.seconds < 13
    assert "0 killed" in run.stderr


@both
def test_a_scripts_last_lines_may_finish(mode: str, start: Starter) -> None:
    """Rule 4 spares what began after the stop, as an upload of the checkpoint."""
    command = ["sh", "-c", f"{SAVER}; sleep 1.5; echo > $STATE/next"]
    run = start(command, "--stop-timeout", "15", "--linger", "0.2", mode=mode, save=0.2)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.has("next")


@both
def test_what_is_left_when_the_main_process_goes_is_told_and_who_asked_has_the_rest_of_the_time(
    mode: str, start: Starter
) -> None:
    """Rule 5: well over linger."""
    run = start(program("daemon.py"), "--stop-timeout", "15", "--linger", "0.3", mode=mode, save=1.5)
    run.wait_for("ready")
    assert run.stop() == 128 + signal.SIGTERM
    assert run.has("flushed")
    assert "0 killed" in run.stderr


@both
def test_who_is_left_and_ignores_it_has_linger(mode: str, start: Starter) -> None:
    command = ["sh", "-c", f"(trap '' TERM; exec sleep 1000) & exec {SAVER}"]
    run = start(command, *QUICK, mode=mode, save=0.2)
    run.wait_for("ready")
    wait_until(lambda: "sleep" in run.alive().values(), "the one that ignores it")
    assert run.stop() == 0
    assert 1.1 < run.seconds < 13
    assert "1 killed" in run.stderr
    assert run.left == {}


@both
@pytest.mark.slow
def test_when_the_time_is_nearly_over_everybody_is_told(mode: str, start: Starter) -> None:
    """Rule 6: what began after the stop would otherwise be killed without a word."""
    last = "python3 -c 'import signal; signal.sigwait({15})' & sh -c 'trap : TERM; sleep 1000'"
    command = ["sh", "-c", f"{SAVER}; sleep 1000; {last}"]
    run = start(command, "--stop-timeout", "20", "--linger", "30", mode=mode, save=0.2)
    run.wait_for("ready")
    assert run.stop() == 128 + signal.SIGTERM
    assert "nearly all of the time is used" in run.stderr
    assert "0 killed" in run.stderr
    assert 16 < run.seconds < 20


def test_the_workers_of_a_daemon_live_while_it_saves(start: Starter) -> None:
    """Rule 5: what is left when the main process goes has children of its own, left to it."""
    member = f"{sys.executable} {PROGRAMS}/member.py work 1 0 0.5 0"
    run = start(["sh", "-c", f"(setsid {member} &); sleep 1000; :"], *QUICK)
    run.wait_for("handler.1")
    assert run.stop() == 128 + signal.SIGTERM
    assert run.has("saved.1")
    assert not run.has("lost.1")
    assert run.left == {}


@pytest.mark.slow
def test_the_workers_of_a_program_that_saves_to_the_last_moment_live(start: Starter) -> None:
    """Rule 6 is for those who could still do something about it, and they could not."""
    run = start(program("workers.py"), "--stop-timeout", "20", save=16.4)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.has("saved")
    assert run.seconds < 20


@every_shell
def test_a_trap_runs_at_once_when_nothing_in_its_way_asked_for_it(shell: str, start: Starter) -> None:
    """What the shell waits for is told too, or the trap would have to wait for it."""
    script = "trap 'echo > $STATE/trapped; exit 3' TERM; echo > $STATE/ready; sleep 1000; :"
    if shutil.which(shell.split()[0]) is None:
        pytest.skip(f"{shell.split()[0]} is not installed")
    run = start([*shell.split(), "-c", script], *QUICK)
    run.wait_for("ready")
    wait_until(lambda: "sleep" in run.alive().values() or shell == "ksh", "the sleeper")  # ksh sleeps itself
    assert run.stop() == 3
    assert run.has("trapped")
    assert run.seconds < 13


def test_a_trap_that_forgets_a_process_is_not_waited_for_to_the_end(start: Starter) -> None:
    """Rule 4: left to a shell with a trap is only what it does something about."""
    forgetful = ("sleep 1000 &", f"{SAVER} &", "child=$!", "trap 'kill -TERM $child' TERM", "wait; wait; wait")
    script = "\n".join([*forgetful, "echo > $STATE/next"])
    run = start(["bash", "-c", script], *QUICK, save=0.2, STOPS=NOT_QUIT)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.lines("told") == ["SIGTERM"]
    assert run.has("saved")
    assert run.has("next")
    assert run.seconds < 10


# The other scopes.


def test_scope_main_tells_the_main_process_only_and_the_rest_when_it_has_gone(start: Starter) -> None:
    run = start(script("sh", "wrapper.sh"), *QUICK, "-c")
    run.wait_for("ready")
    assert run.stop() == 128 + signal.SIGTERM
    assert run.lines("told") == ["SIGTERM"]
    assert run.has("saved")
    assert not run.has("next")


def test_scope_group_tells_workers_too(start: Starter) -> None:
    run = start(program("workers.py"), *QUICK, "-g")
    run.wait_for("ready")
    assert run.stop() == 1
    assert run.has("lost")
    assert not run.has("saved")


def test_scope_all_tells_everyone_at_once_daemons_too(start: Starter) -> None:
    run = start(program("daemon.py"), *QUICK, "--scope", "all")
    run.wait_for("ready")
    assert run.stop() == 128 + signal.SIGTERM
    assert run.lines("told") == ["SIGTERM"]
    assert run.has("flushed")
    assert "the scope is all" in run.stderr


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["main", "group", "all"])
def test_the_budget_holds_in_every_scope(scope: str, start: Starter) -> None:
    run = start(program("ignorer.py"), "--stop-timeout", "20", "--scope", scope)
    run.wait_for("ready")
    assert run.stop() == 128 + signal.SIGKILL
    assert run.seconds < 20
    assert run.left == {}


# How it ends.


@both
def test_a_daemon_left_by_a_program_that_ended_by_itself_is_told_and_may_flush(mode: str, start: Starter) -> None:
    run = start(program("daemon.py"), "--linger", "5", mode=mode, PROGRAM_EXITS="1")
    assert run.end() == 0
    assert run.lines("told") == ["SIGTERM"]
    assert run.has("flushed")
    assert run.left == {}


@both
def test_a_daemon_that_takes_longer_than_linger_is_killed(mode: str, start: Starter) -> None:
    run = start(program("daemon.py"), "--linger", "2", mode=mode, save=1000, PROGRAM_EXITS="1")
    assert run.end() == 0
    assert run.lines("told") == ["SIGTERM"]
    assert "killed" in run.stderr
    assert run.left == {}


@both
def test_a_stop_while_a_daemon_lingers_changes_nothing_for_the_worse(mode: str, start: Starter) -> None:
    run = start(program("daemon.py"), "--linger", "10", "--stop-timeout", "15", mode=mode, save=0.7, PROGRAM_EXITS="1")
    run.wait_for("told")
    assert run.stop() == 0
    assert run.lines("told") == ["SIGTERM"]
    assert run.has("flushed")


@both
def test_wait_all_waits_for_the_last_process_and_tells_nobody(mode: str, start: Starter) -> None:
    run = start(["sh", "-c", "(setsid sleep 0.7; echo > $STATE/late) & exit 3"], "--wait-all", mode=mode)
    assert run.end() == 3
    assert run.has("late")
    assert "told" not in run.stderr


@both
def test_a_stop_reaches_what_wait_all_waits_for(mode: str, start: Starter) -> None:
    run = start(program("daemon.py"), *QUICK, "--wait-all", mode=mode, PROGRAM_EXITS="1")
    run.wait_for("ready")
    wait_until(lambda: "ended with exit code 0" in run.stderr, "the main process to end")
    assert run.stop() == 0
    assert run.lines("told") == ["SIGTERM"]
    assert run.has("flushed")


@both
def test_max_runtime_stops_by_itself(mode: str, start: Starter) -> None:
    run = start(program("saver.py"), *QUICK, "--max-runtime", "4", mode=mode, EXIT_CODE="9")
    assert run.end() == 9
    assert run.lines("told") == ["SIGTERM"]
    assert run.has("saved")
    assert "max-runtime" in run.stderr
    assert run.left == {}


@both
def test_a_second_int_kills_at_once(mode: str, start: Starter) -> None:
    run = start(program("ignorer.py"), mode=mode)
    run.wait_for("ready")
    run.send(signal.SIGINT)
    wait_until(lambda: "SIGINT came" in run.stderr, "the first to be taken")
    assert run.stop(signal.SIGINT) == 128 + signal.SIGKILL
    assert run.seconds < 10
    assert run.left == {}


def test_a_second_term_does_not(start: Starter) -> None:
    run = start(program("saver.py"), *QUICK, save=1)
    run.wait_for("ready")
    run.send(signal.SIGTERM)
    run.wait_for("told")
    assert run.stop(signal.SIGTERM) == 0
    assert run.has("saved")


def test_the_stop_signals_can_be_chosen(start: Starter) -> None:
    """listener.py ends with TERM only, so that a stop by USR1 ends with its time."""
    run = start(program("listener.py"), "--stop-timeout", "2", "--stop-signals", "USR1")
    run.wait_for("ready")
    assert run.stop(signal.SIGUSR1) == 128 + signal.SIGKILL
    assert run.lines("signals") == ["SIGUSR1"]


def test_a_signal_that_is_rewritten_to_a_stop_signal_is_passed_on_and_no_stop(start: Starter) -> None:
    run = start(program("listener.py"), "--stop-timeout", "2", "--rewrite", "USR2:TERM")
    run.wait_for("ready")
    assert run.stop(signal.SIGUSR2) == 0
    assert run.lines("signals") == ["SIGTERM"]
    assert "stopping" not in run.stderr
