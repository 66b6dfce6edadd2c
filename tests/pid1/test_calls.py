"""Hooks that call a function of smentry's own, and programs that are known only after them: on real processes."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from running import MODES, PROGRAMS, wait_until

if TYPE_CHECKING:
    from running import Run, Starter

pytestmark = pytest.mark.together

CALLER = (sys.executable, str(PROGRAMS / "caller.py"))
NOTE = ["/bin/sh", "-c", "echo program >>$STATE/log"]


def call(start: Starter, *functions: str, mode: str = "subreaper", **variables: str) -> Run:
    """An init that calls these functions before the program, which adds a line to `log`."""
    return start(NOTE, *functions, init=CALLER, mode=mode, **variables)


def said(run: Run, name: str) -> list[str]:
    """What was said in the name of a hook."""
    lines = [line.partition("]: ")[2] for line in run.stderr.splitlines()]
    return [line[len(name) + 2 :] for line in lines if line.startswith(f"{name}: ")]


@pytest.mark.parametrize("mode", MODES)
def test_functions_are_called_in_their_order_before_the_program(mode: str, start: Starter) -> None:
    run = call(start, "well", "well", mode=mode)
    assert run.end() == 0
    assert said(run, "well") == ["all is well"] * 2
    assert run.lines("log") == [f"uid {os.geteuid()} in start"] * 2 + ["program"]


@pytest.mark.parametrize(
    ("function", "code", "line"),
    [
        ("fails", 7, "it is not there"),
        ("raises", 1, r"failed: KeyError: 'two\nlines'"),
        ("leaves", 1, "failed: SystemExit: gone"),
        ("becomes", 5, "become"),
    ],
)
def test_what_goes_wrong_is_one_line_and_the_jobs_exit_code(
    function: str, code: int, line: str, start: Starter
) -> None:
    run = call(start, "well", function, "well")
    assert run.end() == code
    assert said(run, function) == [line]
    assert "Traceback" not in run.stderr
    assert "program" not in run.lines("log")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_only_what_is_smentrys_own_is_done_as_smentrys_user(start: Starter) -> None:
    # The other user cannot write to the state directory: its function fails.
    run = call(start, "own:well", "well", OTHER="1")
    assert run.end() == 1
    assert run.lines("log") == ["uid 0 in start"]
    assert said(run, "well")[:2] == ["all is well"] * 2
    assert "PermissionError" in said(run, "well")[2]


@pytest.mark.parametrize("mode", MODES)
def test_a_stop_ends_a_function(mode: str, start: Starter) -> None:
    run = call(start, "waits", mode=mode)
    wait_until(lambda: said(run, "waits"), "the function to wait")
    assert run.stop() == 128 + signal.SIGTERM
    assert run.lines("log") == ["waiting"]
    assert run.left == {}


def test_a_program_can_be_settled_after_the_hooks(start: Starter) -> None:
    run = call(start, "well", SETTLE="changed")
    assert run.end() == 0
    assert run.lines("log")[1:] == ["settled", "settled"]


def test_a_program_that_does_not_settle_is_refused(start: Starter) -> None:
    run = call(start, "well", SETTLE="refused")
    assert run.end() == 126
    assert run.read("refusal") == "there is nothing to start"
    assert "program" not in run.lines("log")


def test_a_program_is_not_settled_after_a_hook_that_failed(start: Starter) -> None:
    run = call(start, "fails", SETTLE="changed")
    assert run.end() == 7
    assert not run.has("log")
