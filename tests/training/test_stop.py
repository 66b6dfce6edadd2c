"""GracefulStop in one process: the flag, its handlers, its threads and its loops."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from running import status, surroundings

from smentry.training import GracefulStop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TERM, INT, USR1 = signal.SIGTERM, signal.SIGINT, signal.SIGUSR1


@pytest.fixture(autouse=True)
def _dispositions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test leaves the signals as it found them; and no smentry is around these tests."""
    monkeypatch.delenv("SMENTRY_GRACE_SECONDS", raising=False)
    before = {number: signal.getsignal(number) for number in (TERM, INT, USR1)}
    yield
    after = {number: signal.getsignal(number) for number in before}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert after == before


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def is_caught(number: int) -> bool:
    return bool(int(status("self", "SigCgt"), 16) >> (number - 1) & 1)


def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        env={**surroundings(), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# -- the flag --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [TERM, INT])
def test_a_signal_requests_a_stop_and_nothing_else(number: signal.Signals) -> None:
    with GracefulStop() as stop:
        assert not stop.requested
        assert stop.reason is None
        send(number)
        assert stop.requested
        assert stop.reason == number.name
    assert stop.requested


def test_the_handler_is_there_from_construction_to_close() -> None:
    assert not is_caught(TERM)
    stop = GracefulStop()
    assert is_caught(TERM)
    assert not int(status("self", "SigBlk"), 16) & 0x4002
    stop.close()
    assert not is_caught(TERM)
    stop.close()


def test_quit_is_left_to_who_wants_the_process_gone() -> None:
    with GracefulStop():
        assert not is_caught(signal.SIGQUIT)


def test_a_repeated_term_changes_nothing() -> None:
    with GracefulStop(limit=100) as stop:
        send(TERM)
        left = stop.seconds_left
        send(TERM)
        send(INT)
        assert stop.reason == "SIGTERM"
        assert stop.seconds_left <= left


def test_a_second_int_interrupts() -> None:
    with GracefulStop() as stop:
        send(INT)
        assert stop.reason == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            send(INT)


def test_other_signals_by_name() -> None:
    with GracefulStop(signals=(USR1, signal.SIGRTMIN + 1)) as stop:
        assert not is_caught(TERM)
        send(signal.SIGRTMIN + 1)
        assert stop.reason == f"signal {signal.SIGRTMIN + 1}"


def test_a_request_of_the_programs_own() -> None:
    with GracefulStop() as outer, GracefulStop() as stop:
        stop.request("the loss is no number")
        send(TERM)
        assert stop.reason == "the loss is no number"
        assert outer.reason == "SIGTERM"


@pytest.mark.parametrize("limit", [-1, float("nan")])
def test_a_limit_that_cannot_be_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="expected a number of seconds"):
        GracefulStop(limit=limit)


@pytest.mark.parametrize("number", [signal.SIGKILL, 4711])
def test_a_signal_that_cannot_be_caught_leaves_nothing_behind(number: int) -> None:
    with pytest.raises((OSError, ValueError)):
        GracefulStop(signals=(TERM, number))
    assert not is_caught(TERM)


def test_it_is_not_opened_again() -> None:
    stop = GracefulStop()
    stop.close()
    with pytest.raises(RuntimeError, match="make a new one"), stop:
        pass


# -- the time that is left -------------------------------------------------------------------------


def test_without_smentry_there_is_no_limit() -> None:
    with GracefulStop() as stop:
        assert stop.seconds_left == float("inf")
        send(TERM)
        assert stop.seconds_left == float("inf")
        assert stop.wait(stop.seconds_left)


@pytest.mark.parametrize(
    ("said", "limit", "expected"),
    [("115", None, 115), ("115", 20, 115), ("", 20, 20), ("soon", 20, 20), ("nan", 20, 20), ("-1", 20, 20)],
)
def test_smentry_says_how_long(
    said: str, limit: float | None, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMENTRY_GRACE_SECONDS", said)
    with GracefulStop(**({} if limit is None else {"limit": limit})) as stop:
        assert stop.seconds_left == expected
        before = time.monotonic()
        send(TERM)
        left = stop.seconds_left
        assert expected - (time.monotonic() - before) <= left < expected


def test_it_is_never_less_than_nothing() -> None:
    with GracefulStop(limit=0) as stop:
        send(TERM)
        assert stop.seconds_left == 0


# -- waiting ---------------------------------------------------------------------------------------


def test_waiting_ends_at_once_in_every_thread() -> None:
    with GracefulStop() as stop:
        woken: list[float] = []

        def wait() -> None:
            assert stop.wait()
            woken.append(time.monotonic())

        threads = [threading.Thread(target=wait) for _ in range(4)]
        for thread in threads:
            thread.start()
        timer = threading.Timer(0.1, send, [TERM])
        timer.start()
        began = time.monotonic()
        assert stop.wait(20)
        for thread in (*threads, timer):
            thread.join(20)
        assert len(woken) == 4
        assert max(woken) - began < 10
        assert stop.wait(0)


def test_waiting_is_over_at_its_timeout() -> None:
    with GracefulStop() as stop:
        began = time.monotonic()
        assert not stop.wait(0.05)
        assert not stop.wait(0)
        assert not stop.wait(-3)
        assert 0.05 <= time.monotonic() - began < 10


def test_a_request_in_a_thread_wakes_the_main_thread() -> None:
    with GracefulStop() as stop:
        thread = threading.Timer(0.05, stop.request, ["enough"])
        thread.start()
        assert stop.wait(20)
        thread.join()


def test_signals_in_the_middle_of_waiting_do_not_lock_up() -> None:
    """A handler runs between any two instructions of the main thread, those of `wait` and `request` as well."""
    program = """
import os, signal, threading, time
from smentry.training import GracefulStop
until = time.monotonic() + 0.5
rounds = 0
while time.monotonic() < until:
    with GracefulStop() as stop:
        thread = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGTERM))
        thread.start()
        while not stop.wait(0.0001):
            pass
        assert stop.wait(5) and stop.wait(None)
        thread.join()
        rounds += 1
assert rounds > 5
"""
    ran = run(program)
    assert ran.returncode == 0, ran.stderr


# -- threads ---------------------------------------------------------------------------------------


def in_a_thread(act: object) -> list[BaseException]:
    errors: list[BaseException] = []

    def attempt() -> None:
        try:
            act()  # type: ignore[operator]
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join(20)
    return errors


def test_it_is_made_in_the_main_thread() -> None:
    (error,) = in_a_thread(GracefulStop)
    assert isinstance(error, RuntimeError)
    assert "main thread" in str(error)
    assert not is_caught(TERM)


def test_it_is_closed_in_the_main_thread() -> None:
    with GracefulStop() as stop:
        (error,) = in_a_thread(stop.close)
        assert isinstance(error, RuntimeError)
        assert is_caught(TERM)


# -- nested ones, and the handlers of others -------------------------------------------------------


def test_a_signal_is_for_all_that_are_open() -> None:
    with GracefulStop() as outer, GracefulStop(signals=(USR1,)) as other:
        with GracefulStop() as inner:
            send(TERM)
            assert inner.reason == outer.reason == "SIGTERM"
        assert not other.requested


def test_one_that_is_opened_during_a_stop_begins_as_requested() -> None:
    with GracefulStop() as outer:
        send(INT)
        with GracefulStop(limit=50) as inner, GracefulStop(signals=(USR1,)) as other:
            assert inner.requested
            assert inner.wait(0)
            assert inner.seconds_left < 50
            assert not other.requested
            with pytest.raises(KeyboardInterrupt):
                send(INT)
        assert outer.requested
    with GracefulStop() as later:
        assert not later.requested


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0), (0, 2, 1), (2, 0, 1)])
def test_what_was_there_is_back_in_whatever_order_they_are_closed(order: tuple[int, ...]) -> None:
    calls: list[int] = []
    before = signal.signal(TERM, lambda number, _: calls.append(number))
    mine = signal.getsignal(TERM)
    stops = [GracefulStop() for _ in range(3)]
    for closed, each in enumerate(order, 1):
        stops[each].close()
        if closed < 3:
            send(TERM)
            assert all(stop.requested for index, stop in enumerate(stops) if index not in order[:closed])
            assert not calls
    assert signal.getsignal(TERM) is mine
    send(TERM)
    assert calls == [TERM]
    signal.signal(TERM, before)


def test_a_handler_that_came_later_stays() -> None:
    stop = GracefulStop()
    calls: list[int] = []

    def later(number: int, _frame: object) -> None:
        calls.append(number)

    mine = signal.signal(TERM, later)
    stop.close()
    assert signal.getsignal(TERM) is later
    # Whoever puts back what it found, puts back the handler of one that is closed: that passes the signal on.
    earlier: list[int] = []
    stop._before[TERM].handler = lambda number, _: earlier.append(number)
    signal.signal(TERM, mine)
    send(TERM)
    assert earlier == [TERM]
    assert not calls
    signal.signal(TERM, signal.SIG_DFL)


def test_the_default_is_passed_on_by_one_that_is_closed() -> None:
    ran = run(
        "import os, signal; from smentry.training import GracefulStop; stop = GracefulStop()\n"
        "mine = signal.signal(signal.SIGTERM, lambda *_: None); stop.close()\n"
        "signal.signal(signal.SIGTERM, mine); os.kill(os.getpid(), signal.SIGTERM); print('alive')"
    )
    assert (ran.returncode, ran.stdout) == (-TERM, "")


def test_an_ignored_signal_is_taken_over_and_ignored_again() -> None:
    before = signal.signal(TERM, signal.SIG_IGN)
    with GracefulStop() as stop:
        send(TERM)
        assert stop.requested
    assert signal.getsignal(TERM) == signal.SIG_IGN
    signal.signal(TERM, before)


def test_a_handler_of_a_library_in_c_is_back() -> None:
    ran = run(
        "import faulthandler, os, signal, sys; from smentry.training import GracefulStop\n"
        "faulthandler.register(signal.SIGTERM, all_threads=False)\n"
        "with GracefulStop() as stop:\n"
        "    os.kill(os.getpid(), signal.SIGTERM); assert stop.requested\n"
        "print('closed', file=sys.stderr, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM); print('alive')"
    )
    assert (ran.returncode, ran.stdout) == (0, "alive\n")
    assert ran.stderr.index("closed") < ran.stderr.index("<module>")
    assert ran.stderr.count("<module>") == 1


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_a_handler_that_was_there_before_python_is_back(tmp_path: Path) -> None:
    source, library = tmp_path / "early.c", tmp_path / "early.so"
    source.write_text(
        "#include <signal.h>\n#include <unistd.h>\n"
        'static void early(int n) { (void)n; if (write(1, "early\\n", 6)) {} }\n'
        "__attribute__((constructor)) static void install(void) { signal(SIGTERM, early); }\n"
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
    ran = run(
        "import os, signal; from smentry.training import GracefulStop\n"
        "assert signal.getsignal(signal.SIGTERM) is None\n"
        "with GracefulStop() as stop:\n"
        "    os.kill(os.getpid(), signal.SIGTERM); assert stop.requested\n"
        "print('closed', flush=True); os.kill(os.getpid(), signal.SIGTERM)",
        LD_PRELOAD=str(library),
    )
    assert (ran.returncode, ran.stdout) == (0, "closed\nearly\n"), ran.stderr


# -- loops -----------------------------------------------------------------------------------------


def test_a_loop_ends_between_two_steps() -> None:
    done = []
    with GracefulStop() as stop:
        steps = stop.steps(range(10))
        for step in steps:
            if step == 3:
                send(TERM)
            done.append(step)
    assert done == [0, 1, 2, 3]
    assert not steps.complete
    assert list(steps) == []


def test_a_loop_that_comes_to_its_end_says_so() -> None:
    with GracefulStop() as stop:
        steps = stop.steps(range(3))
        assert not steps.complete
        assert list(steps) == [0, 1, 2]
        assert steps.complete
        send(TERM)
        assert steps.complete
        assert list(stop.steps(range(3))) == []


class Loader:
    """What makes an iterator with something to clear up."""

    closed = 0

    def __iter__(self) -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            self.closed += 1


def test_the_iterator_of_a_loop_is_closed_with_it() -> None:
    class Keeping(Loader):
        def __iter__(self) -> Iterator[int]:
            self.iterator = super().__iter__()  # as a loader with lasting workers: it does not go by itself
            return self.iterator

    loader = Keeping()
    with GracefulStop() as stop:
        for step in stop.steps(loader):
            if step == 1:
                stop.request("enough")
        assert loader.closed == 1


def test_an_iterator_that_was_given_goes_on_after_a_stop() -> None:
    stream = iter(Loader())
    with GracefulStop() as stop:
        for step in stop.steps(stream):
            if step == 1:
                stop.request("enough")
    assert next(stream) == 2


def test_an_error_in_the_items_is_passed_on() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    with GracefulStop() as stop:
        steps = stop.steps(broken())
        with pytest.raises(OSError, match="the disk is gone"):
            list(steps)
        assert not steps.complete


# -- other processes -------------------------------------------------------------------------------

FORKS = """
import os, signal, sys, time
from smentry.training import GracefulStop

def child(act):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            act()
            os.write(write, b".")
            while True:
                time.sleep(0.01)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(7)
    os.close(write)
    assert os.read(read, 1) == b"."
    return pid

def end(pid, *numbers):
    for number in numbers:
        os.kill(pid, number)
        time.sleep(0.05)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def caught(number):
    with open("/proc/self/status") as file:
        (mask,) = [line.split()[1] for line in file if line.startswith("SigCgt")]
    return int(mask, 16) >> (number - 1) & 1

TERM, INT = signal.SIGTERM, signal.SIGINT
def nothing():
    pass
def has_no_handler():
    assert not caught(TERM)
    assert signal.getsignal(TERM) == signal.SIG_DFL
def leaves():
    stop.__exit__(None, None, None)
    assert signal.getsignal(TERM) == signal.SIG_DFL
def makes_its_own():
    with GracefulStop() as own:
        os.kill(os.getpid(), TERM)
        assert own.requested and not stop.requested and not stop.wait(0)

with GracefulStop() as outer, GracefulStop() as stop:
    assert end(child(has_no_handler), TERM) == -TERM
    assert end(child(leaves), TERM) == -TERM
    assert end(child(makes_its_own), TERM) == -TERM
    assert end(child(nothing), INT, TERM) == -TERM, "the first INT is passed over"
    assert end(child(nothing), INT, INT) == 7, "the second one interrupts"
    assert not stop.requested
    os.kill(os.getpid(), INT)
    assert end(child(nothing), INT) == 7
assert end(child(nothing), INT) == 7
print("done")
"""


def test_forked_processes_do_with_signals_what_they_did_before() -> None:
    ran = run(FORKS)
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr
    assert ran.stderr.count("KeyboardInterrupt") == 3


def test_a_fork_that_python_did_not_make_is_not_the_parents_flag_either() -> None:
    program = """
import ctypes, os, signal
from smentry.training import GracefulStop
with GracefulStop() as stop:
    pid = ctypes.PyDLL(None).fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), stop.requested)
"""
    ran = run(program)
    assert (ran.returncode, ran.stdout) == (0, "-15 False\n"), ran.stderr


@pytest.mark.parametrize(
    "how", ["subprocess.run(look)", "os.system(shlex.join(look))", "subprocess.run(look, preexec_fn=os.getpid)"]
)
def test_executed_programs_have_nothing_of_it(how: str) -> None:
    program = f"""
import os, shlex, subprocess, sys
from smentry.training import GracefulStop
look = ["grep", "-E", "Sig(Blk|Ign|Cgt)", "/proc/self/status"]
{how}
sys.stdout.write("--\\n")
sys.stdout.flush()
with GracefulStop():
    {how}
"""
    ran = run(program)
    before, after = ran.stdout.split("--\n")
    assert before == after
    assert before.count("Sig") == 3


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_spawned_processes_have_nothing_of_it(method: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing, signal, sys\n"
        "from smentry.training import GracefulStop\n"
        "def look(queue):\n"
        "    queue.put(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)\n"
        "if __name__ == '__main__':\n"
        "    with GracefulStop():\n"
        f"        context = multiprocessing.get_context('{method}')\n"
        "        queue = context.Queue()\n"
        "        process = context.Process(target=look, args=(queue,))\n"
        "        process.start(); print(queue.get(timeout=50)); process.join()\n"
    )
    ran = subprocess.run(
        [sys.executable, program], env=surroundings(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "True\n"), ran.stderr
