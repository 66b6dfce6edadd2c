"""Programs that are odd in one way or another, stopped: they restart, wait in their own way, nest, or get a storm."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from running import MODES, PROGRAMS, SMENTRY, program, stat, status, wait_until

if TYPE_CHECKING:
    from running import Run, Starter

both = pytest.mark.parametrize("mode", MODES)
as_init = pytest.mark.parametrize("mode", ["init"])
QUICK = ("--stop-timeout", "15", "--linger", "1")
WRAPPER = ["sh", str(PROGRAMS / "wrapper.sh")]
pytestmark = pytest.mark.together


def saved_once(run: Run) -> None:
    assert run.has("saved")
    assert run.lines("told") == ["SIGTERM"]
    assert run.left == {}
    assert run.seconds < 15


@both
@pytest.mark.parametrize("how", ["sigwait", "signalfd"])
def test_a_program_that_blocks_the_signal_and_waits_for_it_is_told(mode: str, how: str, start: Starter) -> None:
    command = ["sh", "-c", " ".join([*program("waits.py"), "; echo $? > $STATE/next"])]
    run = start(command, *QUICK, mode=mode, **({"SIGNALFD": "1"} if how == "signalfd" else {}))
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.read("next") == "0"
    saved_once(run)


@as_init
def test_a_program_that_restarted_itself_is_told(mode: str, start: Starter) -> None:
    run = start(program("restarts.py"), *QUICK, mode=mode)
    run.wait_for("ready")
    (run.state / "ready").unlink()
    run.send(signal.SIGHUP)
    run.wait_for("ready")
    assert len(run.lines("restarted")) == 3
    assert run.stop() == 0
    saved_once(run)


@as_init
def test_a_program_that_installs_its_handler_late_and_is_stopped_after_it_saves(mode: str, start: Starter) -> None:
    run = start(program("late.py"), *QUICK, mode=mode)
    run.wait_for("ready")
    assert run.stop() == 0
    saved_once(run)


@as_init
def test_a_chain_of_execs_ends_in_the_program_that_is_told(mode: str, start: Starter) -> None:
    saver = " ".join(program("saver.py"))
    chain = f"exec env A=1 nice -n 1 sh -c 'exec bash -c \"exec {saver}\"'"
    run = start(["sh", "-c", chain], *QUICK, mode=mode)
    run.wait_for("ready")
    assert run.stop() == 0
    saved_once(run)


@both
def test_smentry_below_smentry(mode: str, start: Starter) -> None:
    run = start([*SMENTRY, *QUICK, "--", *WRAPPER], *QUICK, mode=mode)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.read("next") == "0"
    saved_once(run)


@as_init
@pytest.mark.parametrize("init", ["tini -s --", "dumb-init", "dumb-init -c", "catatonit --"])
def test_another_init_below_smentry(mode: str, init: str, start: Starter) -> None:
    if shutil.which(init.split()[0]) is None:
        pytest.skip(f"{init.split()[0]} is not installed")
    run = start([*init.split(), *WRAPPER], *QUICK, mode=mode)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.read("next") == "0"
    saved_once(run)


@as_init
def test_a_storm_of_signals_is_passed_on_and_holds_no_stop_up(mode: str, start: Starter) -> None:
    run = start(program("listener.py"), *QUICK, mode=mode)
    run.wait_for("ready")
    for _ in range(1000):
        run.send(signal.SIGUSR1, signal.SIGHUP, signal.SIGRTMIN + 3)
    # An interpreter that ends has no handlers any more, and would die of what is still on its way.
    wait_until(lambda: not int(status(run.pid, "ShdPnd"), 16), "the storm to be over")
    wait_until(lambda: {"SIGUSR1", "SIGHUP", "SIGRTMIN+3"} <= set(run.lines("signals")), "all to be heard")
    assert run.stop() == 0
    assert run.lines("signals").count("SIGTERM") == 1
    assert run.left == {}


@both
def test_a_storm_during_a_stop_does_not_delay_the_kill(mode: str, start: Starter) -> None:
    """The storm lasts as long as smentry does: were the kill put off by it, it would never come."""
    run = start(program("ignorer.py"), "--stop-timeout", "2", mode=mode)
    run.wait_for("ready")
    run.send(signal.SIGTERM)

    def storm() -> bool:
        try:
            run.send(*[signal.SIGWINCH, signal.SIGTERM, signal.SIGQUIT] * 50)
        except ProcessLookupError:
            return True
        return not stat(run.pid) or stat(run.pid)[0] == "Z"

    wait_until(storm, "the end in spite of the storm")
    assert run.end() == 128 + signal.SIGKILL
    assert run.seconds < 15
    assert run.left == {}


@as_init
def test_a_program_that_stops_itself_while_it_saves_is_continued(mode: str, start: Starter) -> None:
    code = (
        "import os, signal, sys, time\n"
        f"sys.path.insert(0, {str(PROGRAMS)!r})\n"
        "import state\n"
        "def save(*_):\n"
        "    state.add('told', 'SIGTERM')\n"
        "    os.kill(os.getpid(), signal.SIGSTOP)\n"
        "    state.note('saved')\n"
        "    os._exit(0)\n"
        "signal.signal(15, save)\n"
        "state.ready()\n"
        "while True: time.sleep(0.05)\n"
    )
    run = start([sys.executable, "-c", code], *QUICK, mode=mode)
    run.wait_for("ready")
    assert run.stop() == 0
    assert "continued" in run.stderr
    saved_once(run)


@both
def test_a_thread_that_outlives_the_main_thread_still_saves(mode: str, start: Starter) -> None:
    """Its process is shown as a zombie while it works (proc(5))."""
    code = (
        "import ctypes, os, signal, sys, threading, time\n"
        f"sys.path.insert(0, {str(PROGRAMS)!r})\n"
        "import state\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [15])\n"
        "def work():\n"
        "    state.ready()\n"
        "    signal.sigwait([15])\n"
        "    state.add('told', 'SIGTERM')\n"
        "    time.sleep(state.SECONDS)\n"
        "    state.note('saved')\n"
        "    os._exit(0)\n"
        "threading.Thread(target=work).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    run = start(["sh", "-c", f'{sys.executable} -c "$CODE"; echo $? > $STATE/next'], *QUICK, mode=mode, CODE=code)
    run.wait_for("ready")
    wait_until(lambda: any(stat(pid)[:1] == ["Z"] for pid in zombies(run)), "the main thread to end")
    assert run.stop() == 0
    assert run.read("next") == "0"
    saved_once(run)


def zombies(run: Run) -> list[int]:
    shells = [pid for pid, name in run.alive().items() if name == "sh"]
    return [int(p) for p in os.listdir("/proc") if p.isdigit() and (stat(int(p)) or "  ")[1] in map(str, shells)]


@as_init
def test_a_launcher_without_a_handler_is_spared_until_its_program_has_saved(mode: str, start: Starter) -> None:
    code = (
        "import os, subprocess, sys\n"
        "code = subprocess.call(sys.argv[1:])\n"
        "open(os.environ['STATE'] + '/next', 'w').write(str(code))\n"
    )
    run = start([sys.executable, "-c", code, *program("saver.py")], *QUICK, mode=mode)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.read("next") == "0"
    saved_once(run)


@both
def test_hundreds_of_processes_are_told_and_reaped(mode: str, start: Starter) -> None:
    run = start(program("forks.py"), *QUICK, mode=mode, FORKS="300")
    run.wait_for("ready")
    assert run.read("forked") == "300 all"
    assert run.stop() == 128 + signal.SIGTERM
    assert run.left == {}
    assert run.seconds < 15


@both
def test_smentry_itself_stopped_for_a_while_goes_on_where_it_was(mode: str, start: Starter) -> None:
    """SIGSTOP interrupts its wait after the time of that: sigtimedwait(2) in CPython then returns garbage."""
    run = start(program("saver.py"), *QUICK, mode=mode, save=1.5)
    run.wait_for("ready")
    run.send(signal.SIGTERM)
    run.wait_for("told")
    run.send(signal.SIGSTOP)
    run.wait_for("saved")
    run.send(signal.SIGCONT)
    assert run.end() == 0
    assert "defect" not in run.stderr
    saved_once(run)


LAUNCHER = """
import signal, subprocess, sys
def stop(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child.terminate()
child = subprocess.Popen(sys.argv[1:])
signal.signal(signal.SIGTERM, stop)
sys.exit(child.wait())
"""


@both
def test_a_launcher_that_ignores_the_signal_from_then_on_keeps_its_program(mode: str, start: Starter) -> None:
    """It hands the signal on itself; told by smentry too, the program would take the second for impatience."""
    run = start([sys.executable, "-c", LAUNCHER, *program("saver.py")], *QUICK, mode=mode, save=1.5)
    run.wait_for("ready")
    assert run.stop() == 0
    saved_once(run)
