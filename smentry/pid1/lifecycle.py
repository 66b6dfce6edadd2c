"""The heart: what smentry does next. (state, event, now) → (state, effects), without a clock, a kernel or any I/O.

The table ACTIONS at the end says what can happen in which state; what is not in it changes nothing there.
All times are seconds on one monotonic clock.
"""

from __future__ import annotations

from smentry.pid1 import signals, targets
from smentry.pid1.events import (
    Begin,
    Continue,
    Exit,
    Forward,
    Kill,
    Look,
    Looked,
    Reaped,
    Signal,
    Start,
    Started,
    StartFailed,
    StopBegins,
    Tell,
    Time,
)
from smentry.pid1.state import (
    ALL,
    AUTO,
    DONE,
    GROUP,
    KILLING,
    MAIN,
    NEVER,
    RUNNING,
    STARTING,
    TERMINATING,
    Plan,
    State,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from smentry.pid1.events import Effect, Event
    from smentry.pid1.linux import Process

LOOK_AGAIN = 1.0
"""Seconds between two looks at the processes while a stop goes on."""
SOON = 0.05
"""Seconds from a child's exit to the look that follows it, so that thousands of exits are one look."""
KILL_AGAIN = 0.01
"""Seconds between two kills of everything, until nothing is left."""
TICK = 0.02
"""Seconds within which the start of a process is not known: it is counted in clock ticks (proc(5))."""
NEARLY = 0.9
"""The part of the program's time after which everybody is told."""


def step(plan: Plan, state: State, event: Event, now: float) -> tuple[State, list[Effect]]:
    """What follows from `event` at `now`: the next state, and what is to be done, in this order."""
    action = ACTIONS[state.phase].get(type(event))
    if action is None:
        return state, []
    state = state.copy()
    return state, action(plan, state, event, now)


# Actions. Each may change the copy of the state it is given.


def _begin(plan: Plan, state: State, event: Begin, now: float) -> list[Effect]:
    return [Start()]


def _started(plan: Plan, state: State, event: Started, now: float) -> list[Effect]:
    state.phase = RUNNING
    state.main = state.group = event.pid
    state.main_started = event.started
    if plan.max_runtime is not None:
        state.max_at = now + plan.max_runtime
    return []


def _start_failed(plan: Plan, state: State, event: StartFailed, now: float) -> list[Effect]:
    state.failed = event.code
    return _leave(plan, state)


def _signal(plan: Plan, state: State, event: Signal, now: float) -> list[Effect]:
    """A stop request, or a signal to pass on. What came decides which; what is passed on may be rewritten."""
    number = plan.rewrites.get(event.number, event.number)
    if number == 0:
        return []
    if event.number not in plan.stop_signals:
        return [Look(deep=plan.scope in (GROUP, ALL) or not state.main, forward=number)]
    if event.number == signals.INT:
        state.interrupts += 1
    if not state.reason:
        return _stop(plan, state, number, signals.name(event.number), now)
    if state.interrupts > 1 and event.number == signals.INT:
        return _kill(plan, state, now)
    return []


def _stop(plan: Plan, state: State, number: int, reason: str, now: float) -> list[Effect]:
    state.reason = reason
    state.max_at = NEVER
    state.give_up_at = now + plan.stop_timeout - plan.reserve / 2
    if state.phase == TERMINATING:  # the main process had ended by itself: that time goes on, but no longer than this
        state.end_at = min(state.end_at, now + plan.grace)
        return [StopBegins(reason)]
    state.phase = TERMINATING
    state.signal = number
    state.began = now
    state.most_at = now + plan.grace * NEARLY
    state.end_at = now + plan.grace
    return [StopBegins(reason), Look(deep=plan.scope in (GROUP, ALL) or not state.main)]


def _running_time(plan: Plan, state: State, event: Time, now: float) -> list[Effect]:
    return _stop(plan, state, _default_signal(plan), "max-runtime", now) if now >= state.max_at else []


def _running_reaped(plan: Plan, state: State, event: Reaped, now: float) -> list[Effect]:
    went = _main_went(state, event, now)
    if not event.left:
        return _leave(plan, state)
    if not went or plan.wait_all:
        return []
    state.phase = TERMINATING
    state.signal = _default_signal(plan)
    state.began = now
    state.max_at = NEVER
    state.end_at = now + min(plan.linger, plan.grace)
    return [Look(deep=True)]


def _terminating_reaped(plan: Plan, state: State, event: Reaped, now: float) -> list[Effect]:
    went = _main_went(state, event, now)
    if not event.left:
        return _leave(plan, state)
    if went:
        return [Look(deep=True)]
    state.look_at = min(state.look_at, now + SOON)
    return []


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
        return _kill(plan, state, now)
    if now >= min(state.look_at, state.linger_at, state.most_at):
        return [Look(deep=True)]
    return []


def _forward(plan: Plan, state: State, event: Looked, now: float) -> list[Effect]:
    main = event.processes.get(state.main)
    if plan.scope == ALL:
        return [Forward(list(event.processes.values()), event.forward)]
    if not state.main:
        everybody = event.processes.values()
        return [Forward([p for p in everybody if targets.asks(p, event.forward, plan.inherited)], event.forward)]
    if main is None:
        return []
    if plan.scope == GROUP:
        return [Forward(_members(state, event), event.forward, group=True)]
    if plan.scope == MAIN:
        return [Forward([main], event.forward)]
    found = targets.reach(event.processes, state.main, event.forward, complete=event.complete, inherited=plan.inherited)
    if found.blind:
        return [Look(deep=True, forward=event.forward)]
    number = event.forward
    again = found.asked == [main] and not (
        number in plan.stop_signals or number in plan.rewrites or number in signals.PERHAPS_OWN
    )
    return [Forward(found.asked or [main], number, again=again)]


def _looked(plan: Plan, state: State, event: Looked, now: float) -> list[Effect]:
    if event.forward:
        return _forward(plan, state, event, now)
    state.look_at = now + LOOK_AGAIN
    state.asked |= {process.identity for process in event.processes.values() if _asks(plan, state, process)}
    if now >= state.most_at and event.complete:
        state.most_at = state.linger_at = NEVER
        # Workers without a handler have nothing to save, and may be needed alive for that to the last moment.
        free = {process.pid for process in _free(plan, state, event)}
        last = [process for process in _untold(state, event) if process.pid in free or _asks(plan, state, process)]
        return _tell(state, last, "nearly all of the time is used", now)
    if not state.main:
        return _after_main(plan, state, event, now)
    if plan.scope == AUTO:
        return _auto(plan, state, event, now)
    stopped = _stopped(process for process in event.processes.values() if process.identity in state.told)
    if state.told or state.main not in event.processes:
        return stopped
    if plan.scope == ALL:
        return _tell(state, _untold(state, event), "the scope is all", now)
    if plan.scope == GROUP:
        return _tell(state, _members(state, event), "the scope is group", now, group=True)
    return [*_tell(state, [event.processes[state.main]], "the scope is main", now), Look(deep=True)]


def _auto(plan: Plan, state: State, event: Looked, now: float) -> list[Effect]:
    """Rules 1 to 4, while the main process is there."""
    found = targets.reach(
        event.processes,
        state.main,
        state.signal,
        complete=event.complete,
        inherited=plan.inherited,
        asked=state.asked,
    )
    if found.blind:
        return [Look(deep=True)]
    first = not state.told
    if found.asked or not first:
        asking = [process for process in _untold(state, event, found.asked) if _asks(plan, state, process)]
        effects = _tell(state, asking, "it asked for it", now)
        if first:  # such a shell cannot run its trap before these have ended
            effects += _tell(state, found.holding, "a shell that asked for it waits for it", now)
    else:
        effects = _tell(state, found.everybody, "nobody asked for it", now)
    if not event.complete:
        # The one that matters has been told, at once. Now there is time to see who else is there.
        return [*effects, Look(deep=True)]
    effects += _stopped(found.everybody)
    # A shell that was told does not count: it may wait for just those who come next.
    if any(process.identity in state.told and not process.shell for process in event.processes.values()):
        state.linger_at = NEVER
    elif state.linger_at == NEVER:
        state.linger_at = now + plan.linger
    elif now >= state.linger_at:
        bystanders = [
            process
            for process in _free(plan, state, event)
            if process.born <= (state.began or now) and not process.shell and process.identity not in state.asked
        ]
        state.linger_at = now + plan.linger
        effects += _tell(state, bystanders, f"those who asked for it are gone since {plan.linger:g} s", now)
    return effects


def _after_main(plan: Plan, state: State, event: Looked, now: float) -> list[Effect]:
    """Rule 5: everything that was there when the main process went is told; who did not ask is given `linger`.

    What is below one that asked is left to it, and so is what a told process starts to save with, until nearly all
    of the time is used.
    """
    since = max(state.gone_at or now, state.began or now)
    left = [process for process in _free(plan, state, event) if process.born <= since]
    effects = _tell(state, left, "the main process has gone", now)
    told = [process for process in event.processes.values() if process.identity in state.told]
    effects += _stopped(told)
    overdue = []
    for process in told:
        until = max(since, state.told[process.identity]) + plan.linger
        if process.identity in state.asked:
            continue
        if now >= until:
            overdue.append(process)
        else:
            state.look_at = min(state.look_at, until)
    if overdue:
        effects.append(Kill(overdue, f"told {plan.linger:g} s ago, and has no handler", everything=False))
    return effects


def _kill(plan: Plan, state: State, now: float) -> list[Effect]:
    """The end of the program's time. What the kernel will not let die in half the reserve is left behind.

    Without a look first: with many processes and little CPU time that could take longer than all that is left.
    """
    state.phase = KILLING
    state.linger_at = state.most_at = state.end_at = state.max_at = NEVER
    state.give_up_at = min(state.give_up_at, now + plan.reserve / 2)
    return _kill_again(state, now)


def _kill_again(state: State, now: float) -> list[Effect]:
    state.look_at = now + KILL_AGAIN
    return [Kill([], "its time is over", everything=True)]


def _killing_reaped(plan: Plan, state: State, event: Reaped, now: float) -> list[Effect]:
    _main_went(state, event, now)
    return [] if event.left else _leave(plan, state)


def _killing_time(plan: Plan, state: State, event: Time, now: float) -> list[Effect]:
    if now >= state.give_up_at:
        return _leave(plan, state)
    return _kill_again(state, now)


def _leave(plan: Plan, state: State) -> list[Effect]:
    state.phase = DONE
    state.max_at = state.look_at = state.linger_at = state.most_at = state.end_at = state.give_up_at = NEVER
    return [Exit(exit_code(plan, state))]


def exit_code(plan: Plan, state: State) -> int:
    """The exit code: the program's own, 128+N if it died of signal N, 0 where `success` says so.

    A main process that could not even be killed counts as killed.
    """
    if state.failed is not None:
        return state.failed
    status = signals.KILL if state.main_status is None else state.main_status
    # The encoding of waitpid(2): the low 7 bits are the signal, the next byte is the exit code.
    code = 128 + (status & 0x7F) if status & 0x7F else status >> 8 & 0xFF
    return 0 if code in plan.success else code


# What several actions need to know.


def _tell(state: State, processes: list[Process], why: str, now: float, *, group: bool = False) -> list[Effect]:
    """Tell `processes`, and remember who, for nobody is told twice."""
    if not processes:
        return []
    state.told = {**state.told, **{process.identity: now for process in processes}}
    if group:
        state.group_told = now + TICK
    return [Tell(processes, state.signal, why, group=group)]


def _stopped(processes: Iterable[Process]) -> list[Effect]:
    """Continue those who are stopped: they could not do what they were told."""
    stopped = [process for process in processes if process.state == "T"]
    return [Continue(stopped)] if stopped else []


def _untold(state: State, event: Looked, among: list[Process] | None = None) -> list[Process]:
    everybody = event.processes.values() if among is None else among
    parents = {process.parent for process in event.processes.values()}
    return [
        process
        for process in everybody
        if process.identity not in state.told
        # A signal to a group also reaches those of it that were forked since the look.
        and not (process.group == state.group and process.born <= state.group_told)
        # An init would hand it on to its child, which is told itself.
        and not (process.init and process.pid in parents)
    ]


def _free(plan: Plan, state: State, event: Looked) -> list[Process]:
    """Who was not told yet, and is not left to somebody above who asked."""
    found = targets.reach(event.processes, 0, state.signal, inherited=plan.inherited, asked=state.asked)
    return _untold(state, event, found.everybody)


def _asks(plan: Plan, state: State, process: Process) -> bool:
    return targets.asks(process, state.signal, plan.inherited)


def _members(state: State, event: Looked) -> list[Process]:
    return [process for process in event.processes.values() if process.group == state.group]


def _default_signal(plan: Plan) -> int:
    """What a stop tells that no signal requested."""
    return plan.rewrites.get(signals.TERM, signals.TERM) or signals.TERM


ACTIONS: dict[str, dict[type, Callable[..., list[Effect]]]] = {
    STARTING: {Begin: _begin, Started: _started, StartFailed: _start_failed},
    RUNNING: {Signal: _signal, Reaped: _running_reaped, Looked: _forward, Time: _running_time},
    TERMINATING: {Signal: _signal, Reaped: _terminating_reaped, Looked: _looked, Time: _terminating_time},
    KILLING: {Reaped: _killing_reaped, Time: _killing_time},
    DONE: {},
}
