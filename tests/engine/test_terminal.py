"""`docker run -it`: keys and sizes of a real terminal reach the program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pexpect
import pytest

from .containers import Container

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .containers import Engine

LIMIT = 30


class Terminal:
    """A terminal in which `docker run -it` runs."""

    def __init__(self, engine: Engine, *command: str, environment: dict[str, str] | None = None) -> None:
        words, name, state = engine.command(*command, environment=environment)
        self.container = Container(name, state)
        self.screen = pexpect.spawn("docker", ["run", "-it", *words], timeout=LIMIT, dimensions=(24, 80))
        self.screen.ptyproc.delayafterterminate = 1.0  # on a busy machine ending it takes its time

    def shows(self, text: str) -> None:
        """Wait for a text."""
        self.screen.expect_exact(text)

    def end(self) -> int:
        """Wait for the end of `docker run`. Its exit code."""
        self.screen.expect(pexpect.EOF)
        self.screen.close()
        assert self.screen.exitstatus is not None
        return self.screen.exitstatus


@pytest.fixture
def listener(engine: Engine) -> Iterator[Terminal]:
    """A program that says which signals it gets, and reads its terminal."""
    terminal = Terminal(engine, "python3", "/opt/programs/listener.py", environment={"READ": "1"})
    terminal.shows("listening")
    yield terminal
    terminal.screen.close(force=True)


@pytest.fixture
def shell(engine: Engine) -> Iterator[Terminal]:
    """A shell with job control, as somebody who looks around in a container has it."""
    terminal = Terminal(engine, "bash", "--norc", "-i", environment={"PS1": "$? > "})
    terminal.shows("0 > ")
    yield terminal
    terminal.screen.close(force=True)


def test_the_keys_for_interrupt_and_suspend_reach_the_program_once(listener: Terminal) -> None:
    listener.screen.sendintr()
    listener.shows("SIGINT")
    listener.screen.send("\x1a")
    listener.shows("SIGTSTP")
    listener.screen.send("\x1c")
    listener.shows("SIGQUIT")
    listener.screen.sendline("end")
    assert listener.end() == 0
    assert listener.container.lines("signals").count("SIGINT") == 1
    assert listener.container.lines("signals").count("SIGTSTP") == 1


def test_a_resized_terminal_is_seen_by_the_program(listener: Terminal) -> None:
    listener.screen.setwinsize(50, 132)
    listener.shows("SIGWINCH 50x132")
    listener.screen.setwinsize(24, 80)
    listener.shows("SIGWINCH 24x80")


def test_the_program_reads_its_terminal(listener: Terminal) -> None:
    listener.screen.sendline("hello")
    listener.shows("read hello")
    listener.screen.sendline("end")
    assert listener.end() == 0


def test_interrupt_ends_a_program_without_handler(engine: Engine) -> None:
    terminal = Terminal(engine, "sh", "-c", "echo there; exec sleep 1000")
    terminal.shows("there")
    terminal.screen.sendintr()
    assert terminal.end() == 130


def test_a_shell_has_job_control(shell: Terminal) -> None:
    shell.screen.sendline("sleep 1000")
    shell.shows("sleep 1000")
    while True:  # the key may come before the shell has started the program, and then changes nothing
        shell.screen.send("\x1a")
        if shell.screen.expect_exact(["Stopped", pexpect.TIMEOUT], timeout=1) == 0:
            break
    shell.shows("148 > ")
    shell.screen.sendline("fg")
    shell.shows("sleep 1000")
    while True:
        shell.screen.sendintr()
        if shell.screen.expect_exact(["130 > ", pexpect.TIMEOUT], timeout=1) == 0:
            break
    shell.screen.sendline("exit 9")
    assert shell.end() == 9


def test_a_suspended_program_is_stopped_well(engine: Engine) -> None:
    terminal = Terminal(engine, "python3", "/opt/programs/saver.py")
    terminal.shows("training")  # before that there may be no container yet
    terminal.container.ready()
    terminal.screen.send("\x1a")
    while "T" not in terminal.container.execute("ps", "-eo", "stat="):
        terminal.screen.expect_exact(pexpect.TIMEOUT, timeout=0.1)
    assert terminal.container.stop() == 0
    assert terminal.container.lines("told") == ["SIGTERM"]
    assert terminal.container.has("saved")
    terminal.screen.close(force=True)
