"""Companions without a process: when one is started again, and what a stop does to one that is to be."""

from __future__ import annotations

import pytest

from smentry.pid1 import events, state, turns
from smentry.pid1.companions import (
    Companion,
    CompanionFailed,
    CompanionOver,
    CompanionStarted,
    NotAgain,
    StartCompanion,
)
from smentry.pid1.hooks import Hook
from smentry.pid1.linux import Process

FAILED, OK = 1 << 8, 0


def running(*companions: Companion) -> tuple[state.Plan, state.State]:
    """A program, pid 2, beside companions with the pids 10, 11, …."""
    plan = state.Plan(companions=companions)
    here, effects = turns.step(plan, state.State(), events.Begin(), 0.0)
    for index, _ in enumerate(companions):
        (start,) = effects
        assert isinstance(start, StartCompanion)
        assert start.index == index
        here, effects = turns.step(plan, here, CompanionStarted(index, 10 + index), 0.0)
    assert isinstance(effects[0], events.Start)
    here, _ = turns.step(plan, here, events.Started(2, 0), 0.0)
    return plan, here


def end(plan: state.Plan, here: state.State, pid: int, status: int, now: float) -> tuple[state.State, CompanionOver]:
    here, effects = turns.step(plan, here, events.Reaped([(pid, status)], left=True), now)
    over = effects[0]
    assert isinstance(over, CompanionOver)
    return here, over


def test_the_time_until_it_is_started_again_doubles_up_to_a_minute() -> None:
    plan, here = running(Companion("a", ["a"], restarts=8))
    now, times = 0.0, []
    for _ in range(8):
        here, over = end(plan, here, 10, FAILED, now)
        assert over.again is not None
        times.append(over.again)
        now += over.again
        assert here.wake == now
        here, (start,) = turns.step(plan, here, events.Time(), now)
        assert isinstance(start, StartCompanion)
        here, _ = turns.step(plan, here, CompanionStarted(0, 10), now)
        assert here.wake == state.NEVER
    assert times == [1, 2, 4, 8, 16, 32, 60, 60]
    here, over = end(plan, here, 10, FAILED, now)
    assert (over.again, over.fatal, here.reason) == (None, True, "a ended")


@pytest.mark.parametrize(("ran", "again"), [(59.9, 2), (60.0, 1)])
def test_a_run_of_a_minute_is_a_new_beginning(ran: float, again: float) -> None:
    plan, here = running(Companion("a", ["a"], restarts=2))
    here, over = end(plan, here, 10, FAILED, 1.0)
    here, _ = turns.step(plan, here, events.Time(), 2.0)
    here, _ = turns.step(plan, here, CompanionStarted(0, 10), 2.0)
    _, over = end(plan, here, 10, FAILED, 2.0 + ran)
    assert over.again == again


def test_one_whose_time_has_come_waits_for_the_one_before() -> None:
    """Should that fail for good, the stop that comes of it is to find nothing being started."""
    plan, here = running(Companion("a", ["a"], restarts=1), Companion("b", ["b"], restarts=1))
    here, _ = turns.step(plan, here, events.Reaped([(10, FAILED), (11, FAILED)], left=True), 1.0)
    here, (first,) = turns.step(plan, here, events.Time(), 2.0)
    assert isinstance(first, StartCompanion)
    here, (second,) = turns.step(plan, here, CompanionStarted(0, 10), 2.0)
    assert isinstance(second, StartCompanion)
    assert (first.index, second.index) == (0, 1)


def test_a_stop_ends_the_waiting_to_be_started_again() -> None:
    plan, here = running(Companion("a", ["a"], restarts=1))
    here, over = end(plan, here, 10, FAILED, 1.0)
    assert over.again == 1
    here, effects = turns.step(plan, here, events.Signal(15), 1.5)
    assert [type(effect) for effect in effects] == [events.StopBegins, events.Look, NotAgain]
    assert here.again_at == state.NEVER
    assert here.wake >= here.most_at


def test_the_end_of_one_and_of_the_program_at_once_is_the_programs() -> None:
    plan, here = running(Companion("a", ["a"]), Companion("b", ["b"]))
    here, effects = turns.step(plan, here, events.Reaped([(10, FAILED), (2, OK)], left=True), 1.0)
    assert here.reason == ""
    assert isinstance(effects[0], CompanionOver)
    assert not effects[0].fatal
    here, effects = turns.step(plan, here, events.Reaped([(11, OK)], left=False), 1.0)
    assert isinstance(effects[-1], events.Exit)
    assert effects[-1].code == 0


def test_stopping_hooks_are_waited_for_asleep_though_a_look_was_due() -> None:
    plan = state.Plan(
        stopping=40.0,
        hooks=[Hook("stopping", "h", run=["h"], timeout=40.0)],
        companions=[Companion("a", ["a"])],
        wait_all=True,
    )
    here = state.State()
    for event in (events.Begin(), CompanionStarted(0, 10), events.Started(2, 0)):
        here, _ = turns.step(plan, here, event, 0.0)
    here, _ = turns.step(plan, here, events.Reaped([(2, OK)], left=True), 1.0)
    assert here.wake < 1.5  # is anything left but the companion?
    here, _ = turns.step(plan, here, events.Signal(15), 1.01)
    assert here.wake == 41.01


@pytest.mark.parametrize(
    ("status", "again", "reason"),
    [(1 << 8, None, "another host failed"), (2 << 8, 1, ""), (9, 1, ""), (OK, None, "")],
    ids=["its own code", "another code", "killed", "done"],
)
def test_one_with_a_code_of_its_own_stops_the_job_by_that_alone(status: int, again: float | None, reason: str) -> None:
    plan, here = running(Companion("watch", [], restarts=5, fatal=1, reason="another host failed"))
    here, over = end(plan, here, 10, status, 1.0)
    assert (over.again, over.fatal, here.reason) == (again, bool(reason), reason)


def test_one_with_a_code_of_its_own_that_cannot_be_started_keeps_nothing_from_running() -> None:
    plan = state.Plan(companions=[Companion("watch", [], fatal=1)])
    here, (start,) = turns.step(plan, state.State(), events.Begin(), 0.0)
    assert isinstance(start, StartCompanion)
    here, effects = turns.step(plan, here, CompanionFailed(0, 1, "no process"), 0.0)
    assert isinstance(effects[-1], events.Start)


def test_one_that_was_told_and_has_just_ended_is_not_told_again() -> None:
    plan, here = running(Companion("a", ["a"]))
    here, _ = turns.step(plan, here, events.Reaped([(2, OK)], left=True), 1.0)
    told = []
    for processes in ({10: Process(10, started=5)}, {}):
        here, effects = turns.step(plan, here, events.Looked(processes, complete=True), 1.0)
        told += [effect for effect in effects if isinstance(effect, events.Tell)]
    assert len(told) == 1
