"""Names and numbers of signals, and that a program has the dispositions and the mask smentry was started with."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running import status, surroundings, wait_until

from smentry.pid1 import signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from running import Starter

STATUS = ["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"]


@pytest.mark.parametrize("number", sorted(signals.EVERY))
def test_a_name_leads_back_to_its_number(number: int) -> None:
    assert signals.number(signals.name(number)) == number
    assert signals.number(str(number)) == number


@pytest.mark.parametrize("member", list(signal.Signals))
def test_every_name_of_the_standard_library_is_known(member: signal.Signals) -> None:
    for text in (member.name, member.name[3:], member.name.lower(), f" {member.name} "):
        assert signals.number(text) == member


@pytest.mark.parametrize(
    ("text", "number"),
    [("CLD", 17), ("SIGIOT", 6), ("POLL", 29), ("RTMIN+3", 37), ("SIGRTMAX-1", 63), ("rtmin", 34), ("RTMAX", 64)],
)
def test_aliases_and_real_time_signals_are_known(text: str, number: int) -> None:
    assert signals.number(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "65", "32", "33", "TERMINATE", "SIG", "RTMIN+31", "RTMAX-31", "RTMIN-1", "1.5", "²", "SIGSIGTERM"],
)
def test_what_is_no_signal_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not a signal: expected") as caught:
        signals.number(text)
    assert repr(text) in str(caught.value)


def nothing() -> None:
    pass


def block_some() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1, signal.SIGRTMIN + 1])


def block_everything() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def ignore_some() -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTTOU, signal.SIGTTIN, signal.SIGUSR2, signal.SIGRTMAX):
        signal.signal(number, signal.SIG_IGN)


def ignore_children() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


@pytest.mark.parametrize("prepare", [nothing, block_some, block_everything, ignore_some, ignore_children])
def test_mask_and_dispositions_are_handed_down_as_they_were(prepare: Callable[[], None], start: Starter) -> None:
    bare = subprocess.run(STATUS, preexec_fn=prepare, capture_output=True, text=True, check=True)
    run = start(STATUS, preexec=prepare)
    assert run.end() == 0
    assert run.stdout == bare.stdout


def test_exit_codes_are_known_even_when_smentry_was_started_with_sigchld_ignored(start: Starter) -> None:
    """The kernel would throw them away (wait(2))."""
    assert start(["sh", "-c", "exit 7"], preexec=ignore_children).end() == 7


def test_a_program_dies_of_a_closed_pipe_as_it_would_without_smentry(start: Starter) -> None:
    run = start(["sh", "-c", "(while echo x; do :; done; echo survived >&2) | head -n 1"])
    assert run.end() == 0
    assert "survived" not in run.stderr


ARRIVALS = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
from smentry.pid1 import signals

def arrival():
    came = signal.sigtimedwait(signal.valid_signals(), 5)
    return (signals.name(came.si_signo), signals.concerns_smentry_alone(came))

reader, writer = os.pipe()
os.close(reader)
try: os.write(writer, b"x")
except BrokenPipeError: pass
print(arrival())
os.kill(os.getpid(), signal.SIGUSR1)
print(arrival())
if os.fork() == 0:
    os.kill(os.getppid(), signal.SIGPIPE)
    os._exit(0)
print(*sorted([arrival(), arrival()])[1:])
"""


def test_ones_own_broken_pipe_is_kept_apart_from_a_signal_that_was_sent() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ARRIVALS], env=surroundings(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "('SIGPIPE', True)",
        "('SIGUSR1', False)",
        "('SIGPIPE', False)",
    ]


def test_idle_means_idle(start: Starter) -> None:
    """Nobody wakes up while nothing happens: no voluntary context switch (proc(5))."""
    run = start(["sleep", "1000"])
    waits = Path(f"/proc/{run.pid}/wchan")
    wait_until(lambda: "sigtimedwait" in waits.read_text() and "sleep" in run.alive().values(), "idleness")
    before = status(run.pid, "voluntary_ctxt_switches")
    deadline = time.monotonic() + 1
    wait_until(lambda: time.monotonic() > deadline, "a second to pass")
    assert status(run.pid, "voluntary_ctxt_switches") == before
