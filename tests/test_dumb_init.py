"""What dumb-init documents holds for smentry under the same letters; beside it the real one, where it is installed."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from running import MODES, SMENTRY, program, wait_until

from smentry.pid1 import signals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from running import Starter

pytestmark = pytest.mark.together

INITS = {"smentry": SMENTRY, "dumb-init": ("dumb-init",)}
beside_dumb_init = pytest.mark.parametrize("init", ["smentry", pytest.param("dumb-init", marks=pytest.mark.slow)])
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def command(init: str) -> Sequence[str]:
    if shutil.which(INITS[init][0]) is None:
        pytest.skip(f"{init} is not installed")
    return INITS[init]


ORDINARY = sorted(set(range(1, 32)) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, *STOPS})


@pytest.mark.parametrize("mode", MODES)
@beside_dumb_init
def test_all_signals_but_kill_stop_and_chld_are_passed_on(init: str, mode: str, start: Starter) -> None:
    """Those of a fault (SEGV, …) and of job control included, when somebody sends them."""
    run = start(program("listener.py"), "-c", init=command(init), mode=mode)
    run.wait_for("ready")
    # At those of job control the real one stops itself too.
    stopping = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
    ordinary = [number for number in ORDINARY if init == "smentry" or number not in stopping]
    for count, number in enumerate(ordinary, 1):
        run.send(number)
        wait_until(lambda count=count: len(run.lines("signals")) == count, f"{signals.name(number)} to be heard")
    assert run.lines("signals") == [signals.name(number) for number in ordinary]
    assert run.stop() == 0


@pytest.mark.parametrize("number", STOPS)
@beside_dumb_init
def test_stop_signals_are_passed_on_as_they_are(init: str, number: signal.Signals, start: Starter) -> None:
    run = start(program("saver.py"), "-c", init=command(init), EXIT_CODE="5", save=0.2)
    run.wait_for("ready")
    assert run.stop(number) == 5
    assert run.lines("told") == [number.name]


@pytest.mark.parametrize(
    ("rewrites", "sent", "heard"),
    [
        (["10:12"], signal.SIGUSR1, "SIGUSR2"),
        (["1:10", "10:12"], signal.SIGHUP, "SIGUSR1"),  # not rewritten twice
        (["28:1"], signal.SIGWINCH, "SIGHUP"),
        (["15:3"], signal.SIGTERM, "SIGQUIT"),
        (["15:10"], signal.SIGTERM, "SIGUSR1"),
    ],
)
@beside_dumb_init
def test_rewrite(init: str, rewrites: list[str], sent: signal.Signals, heard: str, start: Starter) -> None:
    options = [word for rewrite in rewrites for word in ("--rewrite", rewrite)]
    more = ["--stop-timeout", "10"] if init == "smentry" else []
    run = start(program("listener.py"), "-c", *options, *more, init=command(init))
    run.wait_for("ready")
    run.send(sent)
    wait_until(lambda: run.lines("signals") != [], "the other signal")
    assert run.lines("signals") == [heard]


@beside_dumb_init
def test_rewrite_to_0_swallows(init: str, start: Starter) -> None:
    run = start(program("listener.py"), "-c", "-r", "10:0", init=command(init))
    run.wait_for("ready")
    run.send(signal.SIGUSR1)
    run.send(signal.SIGUSR2)
    wait_until(lambda: run.lines("signals") != [], "the one after it")
    assert run.lines("signals") == ["SIGUSR2"]


@pytest.mark.parametrize("rewrite", ["USR1:USR2", "SIGUSR1:SIGUSR2", "usr1:12", "10:SIGUSR2", "RTMIN+1:USR2"])
def test_names_can_be_used_too(rewrite: str, start: Starter) -> None:
    run = start(program("listener.py"), "-r", rewrite)
    run.wait_for("ready")
    run.send(signal.SIGRTMIN + 1 if rewrite.startswith("RT") else signal.SIGUSR1)
    wait_until(lambda: run.lines("signals") != [], "the other signal")
    assert run.lines("signals") == ["SIGUSR2"]


@pytest.mark.parametrize("option", ["-c", "--single-child"])
@beside_dumb_init
def test_single_child(init: str, option: str, start: Starter) -> None:
    """Workers in the same group hear nothing."""
    run = start(program("workers.py"), option, init=command(init), save=0.3)
    run.wait_for("ready")
    assert run.stop() == 0
    assert run.has("saved")


@pytest.mark.parametrize("options", [["-g"], ["--scope", "group"], []], ids=" ".join)
def test_the_group_as_a_whole(options: list[str], start: Starter) -> None:
    """That is dumb-init's default."""
    init = command("smentry" if options else "dumb-init")
    run = start(program("workers.py"), *options, init=init)
    run.wait_for("ready")
    assert run.stop() == 1
    assert run.has("lost")


@pytest.mark.parametrize("code", [0, 1, 127, 255])
@beside_dumb_init
def test_the_exit_code(init: str, code: int, start: Starter) -> None:
    assert start(["sh", "-c", f"exit {code}"], init=command(init)).end() == code


@pytest.mark.parametrize("number", [1, 9, 15, 31, 34, 64])
@beside_dumb_init
def test_128_and_the_signal(init: str, number: int, start: Starter) -> None:
    assert start(["sh", "-c", f"kill -{number} $$"], "-c", init=command(init)).end() == 128 + number
