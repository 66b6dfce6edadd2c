"""Signals sent to the container from outside, and orphans inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from running import wait_until

if TYPE_CHECKING:
    from .containers import Container, Engine

LISTENER = ("python3", "/opt/programs/listener.py")
both = pytest.mark.parametrize("options", [(), ("--init",)], ids=["pid1", "init"])


def hears(container: Container, *signals: str) -> None:
    """Wait until the program has had exactly these signals."""
    wait_until(lambda: len(container.lines("signals")) >= len(signals), f"the program to have had {signals}")
    assert container.lines("signals") == list(signals)


@both
def test_a_signal_reaches_the_program(engine: Engine, options: tuple[str, ...]) -> None:
    container = engine.start(*LISTENER, options=options)
    container.ready()
    heard = []
    for name in ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGALRM", "SIGWINCH"):
        container.kill(name)
        heard.append(name)
        hears(container, *heard)
    assert container.stop() == 0, container.output
    hears(container, *heard, "SIGTERM")


def test_a_real_time_signal_reaches_the_program(engine: Engine) -> None:
    container = engine.start(*LISTENER)
    container.ready()
    container.kill("RTMIN+3")
    hears(container, "SIGRTMIN+3")


def test_a_signal_passes_a_script_on_its_way_to_the_program(engine: Engine) -> None:
    container = engine.start("sh", "-c", "python3 /opt/programs/listener.py; true")
    container.ready()
    container.kill("USR1")
    hears(container, "SIGUSR1")
    assert container.stop() == 0, container.output


def test_a_rewritten_signal_and_a_swallowed_one(engine: Engine) -> None:
    container = engine.start("-r", "HUP:USR1", "--rewrite", "USR2:0", *LISTENER)
    container.ready()
    container.kill("USR2")
    container.kill("HUP")
    hears(container, "SIGUSR1")


@both
def test_a_second_interrupt_kills_at_once(engine: Engine, options: tuple[str, ...]) -> None:
    container = engine.start("python3", "/opt/programs/ignorer.py", options=options)
    container.ready()
    container.kill("INT")
    wait_until(lambda: "SIGINT" in container.output, "the first SIGINT to be taken")
    container.kill("INT")
    assert container.end() == 137
    assert container.killed_by_smentry() == 2


@both
def test_orphans_are_reaped_while_the_program_runs(engine: Engine, options: tuple[str, ...]) -> None:
    script = "python3 /opt/programs/orphans.py; sleep 1000"
    container = engine.start("-w", "sh", "-c", script, options=options)
    container.ready()
    wait_until(lambda: "Z" not in container.execute("ps", "-eo", "stat="), "every orphan to be reaped")
    container.stop()
    assert container.output.count("reaped the orphan") >= 100
