"""A fork bomb at the kill: dead in time, and the hooks after it run. By itself, for it keeps everything else from running."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from running import MODES, program

if TYPE_CHECKING:
    from running import Starter

CONFIG = """
stop_timeout: 10s
hooks:
  - {on: stopping, run: [sh, -c, "echo stopping >>$STATE/log"], timeout: 500ms}
  - {on: stopped, run: [sh, -c, "echo stopped >>$STATE/log"], timeout: 500ms}
  - {on: exit, run: [sh, -c, "echo exit >>$STATE/log"], timeout: 500ms}
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_fork_bomb_is_dead_in_time_and_the_hooks_after_it_run(mode: str, start: Starter) -> None:
    """2,000 processes, in sessions of their own, where each that is killed is replaced as long as anybody is left."""
    run = start(program("bomb.py"), mode=mode, config=CONFIG, FORKS="2000")
    run.wait_for("ready", 60)
    assert run.stop() == 137
    assert run.seconds < 10, run.stderr
    assert run.left == {}
    assert run.lines("log") == ["stopping", "stopped", "exit"], run.stderr
