"""Stops with hooks while something else goes wrong: nothing is waited for longer than there is time, and the rest is done."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running import MODES, SMENTRY, program, stat, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from running import Run, Starter

both = pytest.mark.parametrize("mode", MODES)
needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: to mount /proc anew, without the right to see all"
)
pytestmark = pytest.mark.together

SAVER = program("saver.py")
AROUND = ("stopping", "stopped", "exit")


def hooks(*entries: str, stop_timeout: float = 60) -> str:
    """A configuration file with these hooks, each a YAML mapping in one line, with 5 s where nothing else is said."""
    timed = [entry if "timeout:" in entry else f"{entry}, timeout: 5s" for entry in entries]
    return f"stop_timeout: {stop_timeout}s\nlinger: 1s\nhooks:\n" + "".join(f"  - {{{text}}}\n" for text in timed)


def sh(command: str) -> str:
    """The `run` of a hook that is a line of shell."""
    return f'run: [sh, -c, "{command}"]'


def note(event: str, before: str = "") -> str:
    """A hook that adds a line with its event to `log`, after it did something else."""
    return f"on: {event}, {sh(f'{before}echo {event} >>$STATE/log')}"


def pid_of(run: Run, hook: str) -> int:
    """The pid of a hook that runs, or ran."""

    def found() -> re.Match[str] | None:
        return re.search(rf"{hook} is pid (\d+)", run.stderr)

    wait_until(found, f"{hook}; {run.stderr}")
    match = found()
    assert match
    return int(match.group(1))


# What the kernel does not let die.

_SEIZE, _WALL = 0x4206, 0x40000000  # ptrace(2), waitpid(2)


@contextmanager
def kept(pid: int) -> Iterator[None]:
    """Keep a process from ending, as an uninterruptible sleep does: who traces it gets its end first (ptrace(2)), and does
    not take it. Told a signal it stands still."""
    libc = ctypes.CDLL(None, use_errno=True)
    nothing = ctypes.c_void_p(0)
    if libc.ptrace(ctypes.c_long(_SEIZE), ctypes.c_long(pid), nothing, nothing) != 0:
        pytest.skip(f"cannot trace: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        while not os.WIFSIGNALED(os.waitpid(pid, _WALL)[1]):
            pass


def test_a_program_that_cannot_be_killed_is_left_behind_and_the_hooks_after_it_run(start: Starter) -> None:
    run = start(["sleep", "1000"], config=hooks(*(f"{note(each)}, timeout: 4s" for each in AROUND), stop_timeout=16))
    wait_until(lambda: "is pid" in run.stderr, "the program")
    with kept(int(re.findall(r"sleep is pid (\d+)", run.stderr)[0])):
        assert run.stop() == 137
    assert run.lines("log") == list(AROUND)
    assert run.seconds < 16
    assert "which the kernel has not let die" in run.stderr


@pytest.mark.parametrize("event", AROUND)
def test_a_hook_that_cannot_be_killed_is_left_behind_and_the_others_run(event: str, start: Starter) -> None:
    entries = [f"on: {event}, name: stuck, run: [sleep, '1000'], timeout: 500ms"]
    entries += [f"{note(each)}, timeout: 3s" for each in AROUND]
    run = start(SAVER, config=hooks(*entries, stop_timeout=16), save=0.3)
    run.wait_for("ready")
    run.send(signal.SIGTERM)
    with kept(pid_of(run, f"{event} hook stuck")):
        assert run.end() == 0
    assert run.lines("told") == ["SIGTERM"]
    assert run.has("saved")
    assert run.lines("log") == list(AROUND)
    assert run.seconds < 16
    assert "which the kernel has not let die" in run.stderr


# smentry itself is kept from running.


def suspend(run: Run, seconds: float) -> None:
    """SIGSTOP smentry for so long."""
    run.send(signal.SIGSTOP)
    wait_until(lambda: stat(run.pid)[:1] == ["T"], "smentry to be stopped")
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until, "the time", seconds + 5)
    os.kill(run.pid, signal.SIGCONT)


SECONDS = pytest.mark.parametrize("seconds", [3, pytest.param(12, marks=pytest.mark.slow)])


@SECONDS
@both
@pytest.mark.parametrize("event", AROUND)
def test_smentry_stopped_for_a_while_during_a_hook_goes_on_with_the_next(
    mode: str, event: str, seconds: int, start: Starter
) -> None:
    """It takes up what has ended meanwhile, and nobody is told twice."""
    timeout = seconds + 15
    slow = "echo x >$STATE/slow; sleep 1; "
    entries = [f"{note(each, slow if each == event else '')}, timeout: 3s" for each in AROUND]
    run = start(SAVER, mode=mode, config=hooks(*entries, stop_timeout=timeout), save=0.3)
    run.wait_for("ready")
    run.send(signal.SIGTERM)
    run.wait_for("slow")
    suspend(run, seconds)
    assert run.end() == 0
    assert run.lines("told") == ["SIGTERM"]
    assert run.has("saved")
    assert run.lines("log") == list(AROUND)
    assert seconds <= run.seconds < timeout
    assert run.left == {}


@SECONDS
@pytest.mark.slow
def test_smentry_stopped_while_hooks_and_program_use_all_their_time_still_ends_in_time(
    seconds: int, start: Starter
) -> None:
    """What was to be done meanwhile is done late; what comes after it has less time, and the end comes as it would have."""
    timeout = seconds + 12
    stubborn = sh("trap '' TERM; while :; do sleep 0.2; done")
    config = hooks(*(f"on: {event}, {stubborn}, timeout: 500ms" for event in AROUND), stop_timeout=timeout)
    run = start(program("ignorer.py"), config=config)
    run.wait_for("ready")
    run.send(signal.SIGTERM)
    pid_of(run, "stopping hook sh")
    suspend(run, seconds)
    assert run.end() == 137
    assert timeout - 3 < run.seconds < timeout
    # On a busy machine one that was killed may not have died yet when there is no time left to wait for it.
    assert len(re.findall(": its time was over|was killed, and the kernel has not let it die", run.stderr)) == 3, (
        run.stderr
    )
    assert run.left == {}


# Where smentry writes.


def test_a_timeline_on_a_full_disk_is_said_and_harms_nothing(start: Starter) -> None:
    run = start(SAVER, "--timeline", "/dev/full", config=hooks(*map(note, AROUND)))
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.has("saved")
    assert run.lines("log") == list(AROUND)
    assert "cannot write the timeline to /dev/full: No space left on device" in run.stderr


@both
@pytest.mark.slow
def test_a_timeline_on_a_file_system_that_does_not_answer_is_not_waited_for(mode: str, start: Starter) -> None:
    """A FIFO that nobody reads: who opens it waits for ever (fifo(7))."""
    config = hooks(*(f"{note(event)}, timeout: 2s" for event in AROUND), stop_timeout=15)
    run = start(program("ignorer.py"), mode=mode, config=f"timeline: $STATE/fifo\n{config}")
    os.mkfifo(run.state / "fifo")
    run.wait_for("ready")
    assert run.stop() == 137
    assert run.seconds < 15
    assert run.left == {}
    assert "the file system has not answered" in run.stderr


@both
@pytest.mark.parametrize("closed", [(0,), (2,), (0, 1, 2)], ids=str)
def test_closed_descriptors_harm_no_hook(mode: str, closed: tuple[int, ...], start: Starter) -> None:
    """What a hook writes must not come back as something else's, and what it reads has an end."""

    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    config = hooks(*(note(event, "cat && echo said && echo said >&2 && ") for event in AROUND))
    run = start(SAVER, "-vv", mode=mode, config=config, preexec=close)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.has("saved")
    assert run.lines("log") == list(AROUND)
    if 2 not in closed:
        assert run.stderr.count("sh: said\n") == 6


# What smentry sees.

HIDDEN = """
import ctypes, os, signal, sys, time
sys.path.insert(0, os.environ["PROGRAMS"])
import state
def asked(*_): state.add("asked", "SIGUSR1")
signal.signal(signal.SIGUSR1, asked)
ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE: nobody without CAP_SYS_PTRACE may look at it
exec(open(os.path.join(os.environ["PROGRAMS"], "saver.py")).read())
"""
HIDEPID = 'mount -o remount,hidepid=2,gid=54321 /proc && exec setpriv --bounding-set -sys_ptrace "$@"'
NO_PROC = 'mount -t tmpfs none /proc && exec "$@"'


@needs_root
@pytest.mark.parametrize("hide", [HIDEPID, NO_PROC], ids=["hidepid", "no proc"])
def test_a_program_that_cannot_be_seen_is_told_and_asked_all_the_same(hide: str, start: Starter) -> None:
    config = hooks("on: stopping, signal: USR1, wait_for: $STATE/asked", *map(note, AROUND))
    run = start([sys.executable, "-c", HIDDEN], mode="init", config=config, init=["sh", "-c", hide, "sh", *SMENTRY])
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.lines("asked") == ["SIGUSR1"]
    assert run.lines("told") == ["SIGTERM"]
    assert run.has("saved")
    assert run.lines("log") == list(AROUND)
    assert run.seconds < 20


@needs_root
@pytest.mark.slow
@pytest.mark.parametrize("hide", [HIDEPID, NO_PROC], ids=["hidepid", "no proc"])
def test_a_program_that_cannot_be_seen_and_ignores_the_stop_is_killed_in_time(hide: str, start: Starter) -> None:
    source = HIDDEN.replace("saver.py", "ignorer.py")
    config = hooks("on: stopped, run: [sleep, '1000'], timeout: 1s", f"{note('exit')}, timeout: 2s", stop_timeout=15)
    run = start([sys.executable, "-c", source], mode="init", config=config, init=["sh", "-c", hide, "sh", *SMENTRY])
    run.wait_for("ready")
    assert run.stop() == 137
    assert run.seconds < 15
    assert run.left == {}
    assert run.lines("log") == ["exit"]


# Clocks.

FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


@contextmanager
def clock() -> Iterator[tuple[Path, dict[str, str]]]:
    """A file that says how far the wall clock is off, and the environment of processes that live by it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "clock"
        path.write_text("+0")
        yield (
            path,
            {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(path),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "NO_FAKE_STAT": "1",
            },
        )


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")
def test_a_clock_set_back_while_the_program_runs_changes_no_time_and_the_newest_is_copied(start: Starter) -> None:
    """What was written before is an hour newer than now, and not the newest."""
    copy = "copy: {newest: '$STATE/checkpoints/*', to: $STATE/model, settled: 300ms}"
    config = hooks("on: stopping, run: [sleep, '1000'], timeout: 1s", f"on: stopped, {copy}")
    with clock() as (path, environment):
        run = start(program("clocked.py"), config=config, **environment)
        run.wait_for("checkpoints/step-3")
        path.write_text("-3600s")

        def steps() -> list[int]:
            """Those with a time of the new clock."""
            files = (run.state / "checkpoints").iterdir()
            return sorted(int(file.name[5:]) for file in files if file.stat().st_mtime < time.time() - 1800)

        wait_until(lambda: len(steps()) > 5, "checkpoints by the new clock")
        assert run.stop() == 143
    assert 1 <= run.seconds < 30
    assert int(run.read("model").split()[0]) in steps()[-3:]
    assert "was left alone" not in run.stderr


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")
@pytest.mark.parametrize("by", ["-3600s", "+3600s"])
def test_a_clock_changed_during_a_stop_changes_no_time(by: str, start: Starter) -> None:
    config = hooks(
        f"on: stopping, {sh('echo >$STATE/asked; while [ ! -e $STATE/changed ]; do sleep 0.05; done; sleep 0.5')}",
        "on: stopping, run: [sleep, '1000'], timeout: 1s",
        f"on: exit, {sh('echo $SMENTRY_STOP_AT >$STATE/at; date +%s >$STATE/now')}",
        stop_timeout=60,
    )
    with clock() as (path, environment):
        run = start(["env", "-u", "LD_PRELOAD", *SAVER], config=config, save=1, **environment)
        run.wait_for("ready")
        run.send(signal.SIGTERM)
        run.wait_for("asked")
        path.write_text(by)
        (run.state / "changed").touch()
        assert run.end() == 0
    assert run.lines("told") == ["SIGTERM"]
    assert run.has("saved")
    assert 2.4 < run.seconds < 30
    left = float(run.read("at")) - float(run.read("now"))
    assert 60 - run.seconds - 2 < left < 60
    assert abs(float(run.read("now")) - time.time() - float(by.rstrip("s"))) < 30
