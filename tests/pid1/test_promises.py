"""The promises of the design, on random programs, signals and moments, with a simulated clock.

`SMENTRY_TEST_EXAMPLES` is how many lives each promise is tried on (default 50), `SMENTRY_FUZZ_STEPS` how many steps the
endless test takes (default 3000), `SMENTRY_SEED` where it begins.
"""

from __future__ import annotations

import os
import random
import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smentry.pid1 import companions, events, lifecycle, signals, state, turns
from smentry.pid1.companions import Companion
from smentry.pid1.hooks import EXIT, FAILED, START, STOPPED, STOPPING, SUCCEEDED, Hook
from smentry.pid1.linux import Process
from tests.pid1.simulation import ORDER, REQUESTS, Run, expected_code

EXAMPLES = int(os.environ.get("SMENTRY_TEST_EXAMPLES", "50"))
STEPS = int(os.environ.get("SMENTRY_FUZZ_STEPS", "3000"))

lives = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=False, database=None
)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    return Run(lambda low, high: draw(st.integers(low, high))).live()


def exits_before_the_stop_timeout(run: Run) -> None:
    if run.stop_began is not None:
        assert run.world.now < run.stop_began + run.plan.stop_timeout


def leaves_nothing_alive(run: Run) -> None:
    assert all(actor.immortal for actor in run.world.alive())


def tells_nobody_twice(run: Run) -> None:
    assert {pid: times for pid, times in run.world.told.items() if len(times) > 1} == {}


def runs_each_hook_once_or_says_why_not(run: Run) -> None:
    reported = [hook for _, hook in (*run.hooks_run, *run.hooks_skipped)]
    outcome = STOPPED if run.state.stopped else SUCCEEDED if run.code == 0 else FAILED
    happened = {START, outcome, EXIT}
    if (run.state.stopped or run.missed is not None) and run.main is not None:
        happened.add(STOPPING)
    for event in ORDER:
        for hook in run.plan.hooks.get(event, ()):
            assert reported.count(hook) == (event in happened), hook
    for event in REQUESTS.values():
        for hook in run.plan.hooks.get(event, ()):
            times = [when for when, which in (*run.hooks_run, *run.hooks_skipped) if which is hook]
            if event in run.requested:  # many requests may be one run, but none is without one that came after it
                assert max(times) >= run.requested[event], hook
            else:
                assert times == []
    assert len(run.hooks_over) == len(run.hooks_run)


def runs_hooks_in_their_order(run: Run) -> None:
    written = [hook for event in ORDER for hook in run.plan.hooks.get(event, ())]
    places = [written.index(hook) for _, hook in run.hooks_run if hook.event in ORDER]
    assert places == sorted(places)


def exits_with_the_documented_code(run: Run) -> None:
    assert run.code == expected_code(run)


def kills_nobody_who_asked_before_the_end_of_its_time(run: Run) -> None:
    if run.stop_began is None or run.second_interrupt:
        return
    if run.main is None or (run.main_ended_by_itself and not (run.plan.wait_all and run.state.stopped)):
        return  # then everybody has the linger time
    if run.sabotaged:
        return
    for pid, when in run.world.killed_at.items():
        actor = run.world.actors[pid]
        if actor.asked and not actor.init and not actor.launcher and not actor.of_hook:
            assert when >= run.stop_began + run.plan.grace - 1e-6  # of a sum of floats


def leaves_no_zombie_after_a_turn(run: Run) -> None:
    assert not any(actor.zombie for actor in run.world.actors.values())


def starts_companions_in_their_order(run: Run) -> None:
    first = [number for _, number in run.companions_started[: len(run.plan.companions)]]
    assert first == sorted(first)


def starts_a_companion_again_within_its_limit_and_after_its_time(run: Run) -> None:
    for number, companion in enumerate(run.plan.companions):
        starts = [when for when, which in run.companions_started if which == number]
        overs = [(when, over) for when, over in run.companions_over if over.companion is companion]
        failures = 0
        for index, (when, over) in enumerate(overs):
            failures = 0 if over.ran >= 60 else failures
            if over.again is None:
                assert len(starts) == index + 1
                continue
            assert over.status != 0
            assert failures < companion.restarts
            assert over.again == min(60, 2**failures)
            failures += 1
            if index + 1 < len(starts):  # else a stop was requested meanwhile
                assert over.again - 1e-6 <= starts[index + 1] - when <= over.again + 2 * run.lag + 1e-6


def stops_when_a_required_companion_has_ended(run: Run) -> None:
    for _, over in run.companions_over:
        if over.fatal:
            assert over.companion.required
            assert over is run.missed or run.main is None
            assert not run.state.stopped or run.main is None
        elif over.companion.required and over.again is None:
            assert run.stop_began is not None or run.main is None or run.main_ended_by_itself


PROMISES = (
    exits_before_the_stop_timeout,
    leaves_nothing_alive,
    tells_nobody_twice,
    runs_each_hook_once_or_says_why_not,
    runs_hooks_in_their_order,
    exits_with_the_documented_code,
    kills_nobody_who_asked_before_the_end_of_its_time,
    leaves_no_zombie_after_a_turn,
    starts_companions_in_their_order,
    starts_a_companion_again_within_its_limit_and_after_its_time,
    stops_when_a_required_companion_has_ended,
)


@lives
@given(runs())
def test_1_smentry_exits_before_the_stop_timeout(run: Run) -> None:
    exits_before_the_stop_timeout(run)


@lives
@given(runs())
def test_2_nothing_it_started_is_alive_when_it_exits(run: Run) -> None:
    leaves_nothing_alive(run)


@lives
@given(runs())
def test_3_no_process_is_told_twice_by_one_stop(run: Run) -> None:
    tells_nobody_twice(run)


@lives
@given(runs())
def test_4_each_hook_of_an_event_that_happens_is_run_once_or_reported(run: Run) -> None:
    runs_each_hook_once_or_says_why_not(run)
    runs_hooks_in_their_order(run)


@lives
@given(runs())
def test_5_the_exit_code_is_as_documented_in_every_path(run: Run) -> None:
    exits_with_the_documented_code(run)


@lives
@given(runs())
def test_6_no_zombie_outlives_the_next_turn(run: Run) -> None:
    leaves_no_zombie_after_a_turn(run)


@lives
@given(runs())
def test_who_asked_to_be_told_has_all_of_the_programs_time(run: Run) -> None:
    kills_nobody_who_asked_before_the_end_of_its_time(run)


@lives
@given(runs())
def test_companions_are_started_in_their_order_again_in_their_time_and_told_in_reverse(run: Run) -> None:
    starts_companions_in_their_order(run)
    starts_a_companion_again_within_its_limit_and_after_its_time(run)
    stops_when_a_required_companion_has_ended(run)  # the order of telling is held in the simulation


def any_event(draw: random.Random, known: list[int], phase: str) -> events.Event:
    """An event that need not make sense: the lifecycle must stand what the kernel would never say."""
    pid = draw.choice([*known, draw.randint(2, 9)])
    kind = draw.randrange(8)
    if kind == 0:
        return events.Signal(draw.choice([1, 2, 2, 3, 10, 15, 17, 28, 40]))
    if kind == 1:
        return events.Reaped([(pid, draw.choice([0, 9, 15, 256, 65280]))], left=draw.random() < 0.9)
    if kind in (2, 3):
        processes = {
            number: Process(
                number,
                parent=draw.choice([1, *known]),
                group=draw.choice(known or [0]),
                started=draw.randint(0, 3),
                caught=draw.choice([0, -1]),
                blocked=draw.choice([0, -1]),
                state=draw.choice("SRTD"),
                shell=draw.random() < 0.3,
                born=draw.uniform(0, 300),
            )
            for number in draw.sample([*range(2, 12), *known], draw.randrange(6))
        }
        return events.Looked(
            processes,
            complete=draw.random() < 0.7,
            forward=10 if phase in (state.RUNNING, state.STOPPING) else draw.choice([0, 0, 0, 10, 15]),
        )
    if kind in (4, 5) and phase != state.STARTING:  # there it answers what smentry itself did
        return events.Started(pid, 0) if kind == 4 else events.StartFailed(126)
    return events.Time() if kind == 6 else events.Begin()


def test_fuzz_any_sequence_of_events_ends_in_time_and_never_raises() -> None:
    seed = int(os.environ.get("SMENTRY_SEED", str(random.randrange(2**32))))
    print(f"SMENTRY_SEED={seed}")
    steps = 0
    started = time.monotonic()
    while steps < STEPS:
        draw = random.Random(seed)
        if seed % 2:
            run = Run(draw.randint).live()
            for promise in PROMISES:
                promise(run)
            steps += run.world.steps
        else:
            steps += nonsense(draw)
        seed += 1
    print(f"{steps} steps in {time.monotonic() - started:.1f} s; the last seed was {seed - 1}")


def nonsense(draw: random.Random) -> int:
    """Events at random until it ends: at the latest by its own deadline, once a stop has begun."""
    stop_timeout = draw.choice([1.2, 10.0, 120.0])
    hooks = [
        Hook(event, event, timeout=stop_timeout / 30, required=event == START)
        for event in (*ORDER, "SIGHUP", "SIGUSR1")
        if draw.random() < 0.3
    ]
    plan = state.Plan(
        stop_timeout,
        min(5.0, stop_timeout / 10),
        stopping=stop_timeout / 30,
        after=stop_timeout / 15,
        hooks=hooks,
        companions=[
            Companion(str(n), ["x"], required=draw.random() < 0.5, restarts=draw.randrange(3))
            for n in range(draw.randrange(3))
        ],
        scope=draw.choice([state.AUTO, state.MAIN, state.GROUP, state.ALL]),
        wait_all=draw.random() < 0.3,
        max_runtime=draw.choice([None, 5.0]),
    )
    step = turns.step if plan.companions else lifecycle.step
    here = state.State()
    now, stop, steps = 100.0, None, 0
    told: set[tuple[int, int]] = set()
    beside: list[int] = []  # pids of companions
    pending: list[companions.Event] = [events.Begin()]
    while here.phase != state.DONE:
        steps += 1
        assert steps < 20_000
        event: companions.Event
        if pending:
            event = pending.pop(0)
        elif stop is not None and now >= here.wake:
            event = events.Time()
        else:
            event = any_event(draw, [2, 3, 4, *beside], here.phase)
        here, effects = step(plan, here, event, now)
        for effect in effects:
            if isinstance(effect, events.RunHook):
                pid = draw.randint(2, 9)
                lost = draw.random() < 0.2
                answer = events.HookFailed(effect.lane, "") if lost else events.HookStarted(effect.lane, pid)
                pending.insert(0, answer)
            elif isinstance(effect, companions.StartCompanion):
                beside.append(20 + steps)
                failed = companions.CompanionFailed(effect.index, 126, "")
                ran = companions.CompanionStarted(effect.index, beside[-1])
                pending.insert(0, failed if draw.random() < 0.2 else ran)
            elif isinstance(effect, events.StopBegins):
                stop = now if stop is None else stop
            elif isinstance(effect, events.Start):
                pending.insert(0, events.Started(2, 0))
            elif isinstance(effect, events.Tell):
                identities = {process.identity for process in effect.processes}
                assert not identities & told, "told twice"
                told |= identities
            elif isinstance(effect, events.Exit):
                assert 0 <= effect.code <= 255
                assert stop is None or now < stop + plan.stop_timeout
        now += draw.choice([0.0, 0.001, plan.reserve / 10])
        now = min(now + draw.choice([0.0, 0.0, 3.0]), max(now, here.wake))
        if steps == 200 and stop is None and here.phase == state.RUNNING:
            pending.append(events.Signal(signals.TERM))
    return steps
