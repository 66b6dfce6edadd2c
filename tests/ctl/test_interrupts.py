"""^C at the moments when CPython would lose it, or die of it, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

BEGIN = """
import os, signal, sys
from smentry.ctl import interrupts
from smentry.ctl.run.conduct import Asking
signal.signal(signal.SIGINT, signal.default_int_handler)

class Destroyed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000): pass  # here it is raised, and thrown away

"""


def run(code: str) -> int:
    """The exit code of a program that says nothing but what the interpreter threw away."""
    ran = subprocess.run([sys.executable, "-c", BEGIN + code], stderr=subprocess.PIPE, text=True, check=False)
    assert "Error" not in ran.stderr, ran.stderr
    return ran.returncode


BLOCKS = {
    "before a verb": "with interrupts.raising():\n    Destroyed()\n    interrupts.check()",
    "before a job": "with interrupts.raising():\n    Destroyed()\n    with Asking(): pass",
    "in a job": "with Asking() as asking:\n    with asking.raising():\n        Destroyed()",
}


@pytest.mark.parametrize("block", BLOCKS)
def test_one_in_a_destructor_is_not_lost(block: str) -> None:
    indented = BLOCKS[block].replace("\n", "\n    ")
    assert run(f"try:\n    {indented}\nexcept KeyboardInterrupt:\n    sys.exit(130)\nsys.exit(9)") == 130


def test_one_in_an_exec_is_caught_like_any_other() -> None:
    """It ends by the end of its code: sys.exit() would not ask whether an interrupt came (Modules/main.c)."""
    code = "try:\n    with interrupts.raising():\n        exec('os.kill(os.getpid(), signal.SIGINT)')\n"
    assert run(f"{code}except KeyboardInterrupt:\n    pass\n") == 0


def test_one_that_was_ignored_is_ignored_still() -> None:
    code = "signal.signal(signal.SIGINT, signal.SIG_IGN)\nwith interrupts.raising():\n    os.kill(os.getpid(), signal.SIGINT)\n"
    assert run(f"{code}    interrupts.check()\nsys.exit(7)") == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_ends_are_interrupts_too(number: signal.Signals) -> None:
    code = (
        f"try:\n    with interrupts.raising():\n        os.kill(os.getpid(), {int(number)})\n        signal.pause()\n"
    )
    assert run(f"{code}except KeyboardInterrupt:\n    sys.exit(130)\n") == 130
