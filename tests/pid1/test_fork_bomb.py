"""A fork bomb at the kill: dead in time, and the hooks after it run. By itself, for it keeps everything else from running."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from running import MODES, program

if TYPE_CHECKING:
    from running import Starter

STOP_TIMEOUT = 12.0
CONFIG = f"""
stop_timeout: {STOP_TIMEOUT:g}s
hooks:
  - {{on: stopping, run: [sh, -c, "echo stopping >>$STATE/log"], timeout: 2s}}
  - {{on: stopped, run: [sh, -c, "echo stopped >>$STATE/log"], timeout: 3s}}
  - {{on: exit, run: [sh, -c, "echo exit >>$STATE/log"], timeout: 3s}}
"""
"""The kill is in the middle of the stop: a busy machine takes seconds to end 2,000 processes, and runs nothing else meanwhile."""


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_fork_bomb_is_dead_in_time_and_the_hooks_after_it_run(mode: str, start: Starter) -> None:
    """2,000 processes, in sessions of their own, where each that is killed is replaced as long as anybody is left."""
    run = start(program("bomb.py"), mode=mode, config=CONFIG, FORKS="2000")
    run.wait_for("ready", 60)
    assert run.stop() == 137
    assert run.seconds < STOP_TIMEOUT, run.stderr
    assert run.left == {}
    assert run.lines("log") == ["stopping", "stopped", "exit"], run.stderr
