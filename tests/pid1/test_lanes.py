"""Hooks one after another, without a process: order, requests that are merged, and giving up."""

from __future__ import annotations

from smentry.pid1 import lanes
from smentry.pid1.events import HookOver, HookStarted, KillHook, Reaped, RunHook, SkipHook
from smentry.pid1.hooks import Hook
from smentry.pid1.state import RUNNING, Plan, State


def running(*hooks: Hook) -> tuple[Plan, State]:
    state = State()
    state.phase = RUNNING
    return Plan(120.0, 5.0, hooks=hooks), state


def test_a_hook_killed_already_is_not_killed_again_which_would_put_off_giving_it_up() -> None:
    plan, state = running(Hook("start", "stuck"))
    lanes.run(state, lanes.LIFE, plan.hooks["start"], 0.0)
    lanes.started(state, HookStarted(lanes.LIFE, 7))
    (killed,) = lanes.kill(plan, state, lanes.LIFE, 1.0, "a second SIGINT came")
    assert isinstance(killed, KillHook)
    until = state.life.until
    assert lanes.kill(plan, state, lanes.LIFE, 1.5, "a third") == []
    assert state.life.until == until
    (over,) = lanes.overdue(plan, state, until)
    assert isinstance(over, HookOver)
    assert (over.status, over.failed) == (None, True)


def test_each_request_is_followed_by_a_run_that_begins_after_it() -> None:
    hook = Hook("SIGUSR2", "snapshot")
    plan, state = running(hook)
    (first,) = lanes.request(plan, state, "SIGUSR2", 0.0)
    assert isinstance(first, RunHook)
    lanes.started(state, HookStarted(lanes.REQUEST, 7))
    assert lanes.request(plan, state, "SIGUSR2", 1.0) == lanes.request(plan, state, "SIGUSR2", 2.0) == []
    over, again = lanes.ended(plan, state, Reaped([(7, 0)], left=True), 3.0)
    assert isinstance(over, HookOver)
    assert isinstance(again, RunHook)
    lanes.started(state, HookStarted(lanes.REQUEST, 8))
    (last,) = lanes.ended(plan, state, Reaped([(8, 0)], left=True), 4.0)
    assert isinstance(last, HookOver)


def test_what_has_no_time_left_is_skipped() -> None:
    plan, state = running(Hook("exit", "a", timeout=5.0), Hook("exit", "b"))
    state.limit = 10.0
    (first,) = lanes.run(state, lanes.LIFE, plan.hooks["exit"], 8.0)
    assert isinstance(first, RunHook)
    assert first.seconds == 2.0  # not the 5 that it would have
    lanes.started(state, HookStarted(lanes.LIFE, 7))
    over, skipped = lanes.ended(plan, state, Reaped([(7, 9)], left=True), 10.0)
    assert isinstance(over, HookOver)
    assert isinstance(skipped, SkipHook)
