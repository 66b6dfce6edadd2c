"""The heart: what smentry does next. (state, event, now) → (state, effects), without a clock, a kernel or any I/O.

The table ACTIONS at the end says what can happen in which state; what is not in it changes nothing there. What runs beside
the program is left to turns.
All times are seconds on one monotonic clock.
"""

from __future__ import annotations

from smentry.pid1 import lanes, signals, telling
from smentry.pid1.events import (
    Begin,
    Exit,
    HookFailed,
    HookOver,
    HookStarted,
    Kill,
    Look,
    Looked,
    Reaped,
    Signal,
    SkipHook,
    Start,
    Started,
    StartFailed,
    StopBegins,
    TellHook,
    Time,
)
from smentry.pid1.state import (
    ALL,
    DONE,
    FINISHING,
    GIVE_UP,
    GROUP,
    HOOKS_END,
    IDLE,
    KILL,
    KILLING,
    NEVER,
    RUNNING,
    STARTING,
    STOPPING,
    TERMINATING,
    Plan,
    State,
    exit_code,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from smentry.pid1.events import Effect, Event
    from smentry.pid1.hooks import Hook

SOON = 0.05
"""Seconds from a child's exit to the look that follows it, so that thousands of exits are one look."""
KILL_AGAIN = 0.01
"""Seconds between two kills of everything, until nothing is left."""
NEARLY = 0.9
"""The part of the program's time after which everybody is told."""


def step(plan: Plan, state: State, event: Event, now: float) -> tuple[State, list[Effect]]:
    """What follows from `event` at `now`: the next state, and what is to be done, in this order."""
    action = ACTIONS[state.phase].get(type(event))
    if action is None:
        return state, []
    state = state.copy()
    return state, action(plan, state, event, now)


# Before the program: the start hooks.


def _begin(plan: Plan, state: State, event: Begin, now: float) -> list[Effect]:
    effects = lanes.run(state, lanes.LIFE, plan.hooks.get("start", ()), now)
    return effects or [Start()]


def _starting_signal(plan: Plan, state: State, event: Signal, now: float) -> list[Effect]:
    if event.number not in plan.stop_signals:
        return _not_now(plan, event, "the program has not been started")
    number = plan.rewrites.get(event.number, event.number)
    if number == 0 or state.life.hook is None:
        return []
    state.interrupts += event.number == signals.INT
    if state.reason:
        again = event.number == signals.INT and state.interrupts > 1
        return lanes.kill(plan, state, lanes.LIFE, now, "a second SIGINT came") if again else []
    _stop_requested(plan, state, signals.name(event.number), now)
    state.stopped = True
    state.failed = 128 + number
    state.limit = state.end_at
    state.end_at = NEVER  # of a program that will not be there
    lanes.hurry(state, state.limit)
    hook, pid = state.life.hook, state.life.pid
    why = "a stop was requested before the program was started"
    return [StopBegins(state.reason), TellHook(hook, pid, number), *lanes.skip(plan, state, lanes.LIFE, why)]


def _starting_reaped(plan: Plan, state: State, event: Reaped, now: float) -> list[Effect]:
    effects = _children(plan, state, event, now)
    return effects + _start_or_finish(plan, state, now) if effects else []


def _starting_hook_failed(plan: Plan, state: State, event: HookFailed, now: float) -> list[Effect]:
    return lanes.failed(plan, state, event, now) + _start_or_finish(plan, state, now)


def _starting_time(plan: Plan, state: State, event: Time, now: float) -> list[Effect]:
    effects = lanes.overdue(plan, state, now)
    return effects + _start_or_finish(plan, state, now) if effects else []


def _start_or_finish(plan: Plan, state: State, now: float) -> list[Effect]:
    if state.life.hook is not None:
        return []
    return [Start()] if state.failed is None else _finish(plan, state, now)


def _started(plan: Plan, state: State, event: Started, now: float) -> list[Effect]:
    state.phase = RUNNING
    state.main = state.group = event.pid
    state.main_started = event.started
    state.left = True
    if plan.max_runtime is not None:
        state.max_at = now + plan.max_runtime
    return []


def _start_failed(plan: Plan, state: State, event: StartFailed, now: float) -> list[Effect]:
    state.failed = event.code
    return _finish(plan, state, now)


# While the program runs.


def _signal(plan: Plan, state: State, event: Signal, now: float) -> list[Effect]:
    """A stop request, a request for hooks, or a signal to pass on. What came decides which; what is passed on may be
    rewritten."""
    if event.number not in plan.stop_signals:
        if plan.hooks and signals.name(event.number) in plan.hooks:
            if state.phase == RUNNING:
                return lanes.request(plan, state, signals.name(event.number), now)
            return _not_now(plan, event, "a stop is under way" if state.reason else "the program is ending")
        number = plan.rewrites.get(event.number, event.number)
        return [Look(deep=_deep(plan, state), forward=number)] if number else []
    number = plan.rewrites.get(event.number, event.number)
    if number == 0:
        return []
    state.interrupts += event.number == signals.INT
    if not state.reason:
        return stop(plan, state, number, signals.name(event.number), now)
    if state.interrupts > 1 and event.number == signals.INT:
        return _kill(plan, state, now, "a second SIGINT came")
    return []


def stop(plan: Plan, state: State, number: int, reason: str, now: float) -> list[Effect]:
    """A stop is requested, which tells the program signal `number`. Changes `state`."""
    if state.phase == TERMINATING:  # the main process had ended by itself: that time goes on, but no longer than this
        end_at = state.end_at
        _stop_requested(plan, state, reason, now)
        state.end_at = min(end_at, state.end_at)
        return [StopBegins(reason)]
    _stop_requested(plan, state, reason, now)
    state.stopped = True
    state.signal = number
    state.began = now
    state.phase = STOPPING
    state.limit = now + plan.stopping
    why = "a stop is under way"
    effects = [StopBegins(reason), *lanes.skip(plan, state, lanes.REQUEST, why)]
    lanes.hurry(state, state.end_at)
    effects += lanes.run(state, lanes.LIFE, plan.hooks.get("stopping", ()), now)
    return effects + _terminate(plan, state, now)


def _stop_requested(plan: Plan, state: State, reason: str, now: float) -> None:
    state.reason = reason
    state.max_at = NEVER
    state.end_at = now + plan.stop_timeout - plan.reserve - plan.after
    state.sigkill_at = now + plan.stop_timeout


def _terminate(plan: Plan, state: State, now: float) -> list[Effect]:
    """Now the program's own time begins, unless a hook runs still."""
    if state.life.hook is not None:
        return []
    state.phase = TERMINATING
    state.most_at = now + (state.end_at - now) * NEARLY
    return [Look(deep=_deep(plan, state))]


def _running_time(plan: Plan, state: State, event: Time, now: float) -> list[Effect]:
    effects = lanes.overdue(plan, state, now)
    if now >= state.max_at:
        effects += stop(plan, state, default_signal(plan), "max-runtime", now)
    return effects


def _running_reaped(plan: Plan, state: State, event: Reaped, now: float) -> list[Effect]:
    effects, went = _program_reaped(plan, state, lanes.REQUEST, event, now)
    if not event.left:
        return effects + _finish(plan, state, now)
    return effects if not went or plan.wait_all else effects + wind_down(plan, state, now)


def wind_down(plan: Plan, state: State, now: float) -> list[Effect]:
    """The program has ended without a stop: what is left is told, and has `linger`. Changes `state`."""
    state.phase = TERMINATING
    state.signal = default_signal(plan)
    state.began = now
    state.max_at = NEVER
    state.end_at = now + min(plan.linger, plan.grace)
    if state.request.hook is not None:  # it has its time, and whatever else is left has it too
        state.end_at = max(state.end_at, state.request.until)
    return [Look(deep=True)]


def _hook_failed(plan: Plan, state: State, event: HookFailed, now: float) -> list[Effect]:
    return lanes.failed(plan, state, event, now)


def _hook_started(plan: Plan, state: State, event: HookStarted, now: float) -> list[Effect]:
    lanes.started(state, event)
    return []


# A stop: first the stopping hooks, …


def _stopping_reaped(plan: Plan, state: State, event: Reaped, now: float) -> list[Effect]:
    effects, _ = _program_reaped(plan, state, lanes.LIFE, event, now)
    if not event.left:
        return effects + _finish(plan, state, now)
    return effects + _terminate(plan, state, now)


def _stopping_hook_failed(plan: Plan, state: State, event: HookFailed, now: float) -> list[Effect]:
    return lanes.failed(plan, state, event, now) + _terminate(plan, state, now)


def _stopping_time(plan: Plan, state: State, event: Time, now: float) -> list[Effect]:
    if now >= state.end_at:
        return _kill(plan, state, now, "no time is left")
    effects = lanes.overdue(plan, state, now)
    return effects + _terminate(plan, state, now) if effects else []


# … then the program, which is told, …


def _terminating_reaped(plan: Plan, state: State, event: Reaped, now: float) -> list[Effect]:
    effects = _children(plan, state, event, now)
    went = _main_went(state, event, now)
    if not event.left:
        return effects + _finish(plan, state, now)
    if went:
        return [*effects, Look(deep=True)]
    state.look_at = min(state.look_at, now + SOON)
    return effects


def _main_went(state: State, event: Reaped, now: float) -> bool:
    for pid, status in event.ended:
        if pid == state.main and pid:
            state.main = 0
            state.main_status = status
            state.gone_at = now
            state.linger_at = NEVER  # rule 4 waited for it
            return True
    return False


def _terminating_time(plan: Plan, state: State, event: Time, now: float) -> list[Effect]:
    if now >= state.end_at:
        return _kill(plan, state, now, "the program's time is over")
    effects = lanes.overdue(plan, state, now)
    if now >= min(state.look_at, state.linger_at, state.most_at):
        effects.append(Look(deep=True))
    return effects


# … and what is left of it killed, …


def _kill(plan: Plan, state: State, now: float, why: str) -> list[Effect]:
    """The end of the program's time, or of the hooks' after it. What the kernel will not let die in half the reserve is
    left behind.

    Without a look first: with many processes and little CPU time that could take longer than all that is left.
    """
    effects = lanes.skip(plan, state, lanes.REQUEST, why) + lanes.skip(plan, state, lanes.LIFE, why)
    lanes.doom(state, why)
    state.phase = KILLING
    state.linger_at = state.most_at = state.end_at = state.max_at = NEVER
    part = HOOKS_END if state.finished_at is None else GIVE_UP  # whether hooks may still be to come
    state.give_up_at = min(now + plan.reserve * KILL, state.sigkill_at - plan.reserve * part)
    return effects + _kill_again(state, now, why)


def _kill_again(state: State, now: float, why: str) -> list[Effect]:
    state.look_at = now + KILL_AGAIN
    return [Kill([], why, everything=True)]


def _killing_reaped(plan: Plan, state: State, event: Reaped, now: float) -> list[Effect]:
    effects = _children(plan, state, event, now)
    _main_went(state, event, now)
    return effects if event.left else effects + _finish(plan, state, now)


def _killing_time(plan: Plan, state: State, event: Time, now: float) -> list[Effect]:
    return _finish(plan, state, now) if now >= state.give_up_at else _kill_again(state, now, "still there")


# … then the hooks after it, and the end.


def _finish(plan: Plan, state: State, now: float) -> list[Effect]:
    """Nothing is left of the program that could be waited for."""
    unkilled = state.phase == KILLING
    effects: list[Effect] = []
    for name in lanes.LANES:
        lane = getattr(state, name)
        if lane.hook is not None:
            effects.append(HookOver(lane.hook, lane.pid, None, killed=True, why=lanes.UNKILLED))
            setattr(state, name, IDLE)
    state.max_at = state.look_at = state.linger_at = state.most_at = state.end_at = state.give_up_at = NEVER
    if state.finished_at is not None:
        return effects + _leave(plan, state)
    state.finished_at = now
    state.phase = FINISHING
    state.limit = state.sigkill_at - plan.reserve * HOOKS_END
    queue = plan.hooks.get(_outcome(plan, state), ()) + plan.hooks.get("exit", ())
    effects += lanes.run(state, lanes.LIFE, queue, now)
    if state.life.hook is not None:
        return effects
    if state.left and not unkilled:
        return effects + _kill(plan, state, now, "smentry leaves")
    return effects + _leave(plan, state)


def _outcome(plan: Plan, state: State) -> str:
    if state.stopped:
        return "stopped"
    return "succeeded" if exit_code(plan, state) == 0 else "failed"


def _finishing_reaped(plan: Plan, state: State, event: Reaped, now: float) -> list[Effect]:
    effects = _children(plan, state, event, now)
    _main_went(state, event, now)
    return effects + _leave_or_wait(plan, state, now)


def _finishing_hook_failed(plan: Plan, state: State, event: HookFailed, now: float) -> list[Effect]:
    return lanes.failed(plan, state, event, now) + _leave_or_wait(plan, state, now)


def _finishing_time(plan: Plan, state: State, event: Time, now: float) -> list[Effect]:
    return lanes.overdue(plan, state, now) + _leave_or_wait(plan, state, now)


def _leave_or_wait(plan: Plan, state: State, now: float) -> list[Effect]:
    if state.life.hook is not None:
        return []
    return _kill(plan, state, now, "smentry leaves") if state.left else _leave(plan, state)


def _late_signal(plan: Plan, state: State, event: Signal, now: float) -> list[Effect]:
    """The program has had its end already; but the time until SIGKILL runs from now on."""
    if event.number not in plan.stop_signals:
        return _not_now(plan, event, "the program has ended")
    if plan.rewrites.get(event.number, event.number) == 0:
        return []
    state.interrupts += event.number == signals.INT
    if not state.reason:
        _stop_requested(plan, state, signals.name(event.number), now)
        state.end_at = NEVER
        state.limit = state.sigkill_at - plan.reserve * HOOKS_END
        lanes.hurry(state, state.limit)
        return [StopBegins(state.reason)]
    if state.phase == FINISHING and state.interrupts > 1 and event.number == signals.INT:
        return _kill(plan, state, now, "a second SIGINT came")
    return []


def _leave(plan: Plan, state: State) -> list[Effect]:
    state.phase = DONE
    return [Exit(exit_code(plan, state))]


# What several actions need to know.


def _program_reaped(plan: Plan, state: State, lane: str, event: Reaped, now: float) -> tuple[list[Effect], bool]:
    """Children have ended, and whether the main process is among them; then no hook of `lane` begins any more."""
    went = _main_went(state, event, now)
    effects: list[Effect] = []
    if not event.left or (went and not plan.wait_all):
        effects += lanes.skip(plan, state, lane, "the program has ended")
    return effects + _children(plan, state, event, now), went


def _children(plan: Plan, state: State, event: Reaped, now: float) -> list[Effect]:
    """Children have ended; hooks among them."""
    state.left = event.left
    return lanes.ended(plan, state, event, now)


def _deep(plan: Plan, state: State) -> bool:
    """Whether the main process alone will not do for a look."""
    return plan.scope in (GROUP, ALL) or not state.main


def _not_now(plan: Plan, event: Signal, why: str) -> list[Effect]:
    """A signal came that has hooks, which cannot run now."""
    hooks: tuple[Hook, ...] = plan.hooks.get(signals.name(event.number), ()) if plan.hooks else ()
    return [SkipHook(hook, why) for hook in hooks]


def default_signal(plan: Plan) -> int:
    """What a stop tells that no signal requested."""
    return plan.rewrites.get(signals.TERM, signals.TERM) or signals.TERM


ACTIONS: dict[str, dict[type, Callable[..., list[Effect]]]] = {
    STARTING: {
        Begin: _begin, Started: _started, StartFailed: _start_failed, Signal: _starting_signal, Reaped: _starting_reaped,
        HookStarted: _hook_started, HookFailed: _starting_hook_failed, Time: _starting_time,
    },
    RUNNING: {
        Signal: _signal, Reaped: _running_reaped, Looked: telling.forward,
        HookStarted: _hook_started, HookFailed: _hook_failed, Time: _running_time,
    },
    STOPPING: {
        Signal: _signal, Reaped: _stopping_reaped, Looked: telling.forward,
        HookStarted: _hook_started, HookFailed: _stopping_hook_failed, Time: _stopping_time,
    },
    TERMINATING: {Signal: _signal, Reaped: _terminating_reaped, Looked: telling.looked, Time: _terminating_time},
    KILLING: {Signal: _late_signal, Reaped: _killing_reaped, Time: _killing_time},
    FINISHING: {
        Signal: _late_signal, Reaped: _finishing_reaped,
        HookStarted: _hook_started, HookFailed: _finishing_hook_failed, Time: _finishing_time,
    },
    DONE: {},
}  # fmt: skip
