"""When companions are started, started again and told: a layer around the lifecycle, which sees the program alone. It is as pure,
and loaded only where there are companions.
"""

from __future__ import annotations

from smentry.pid1 import lifecycle, targets, telling
from smentry.pid1.companions import CompanionFailed, CompanionOver, CompanionStarted, NotAgain, Standing, StartCompanion
from smentry.pid1.events import Look, Looked, Reaped, Start, StartFailed, Time
from smentry.pid1.linux import Process
from smentry.pid1.state import AUTO, NEVER, RUNNING, STARTING, STOPPING, TERMINATING, code_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from smentry.pid1 import events
    from smentry.pid1.companions import Companion, Effect, Event
    from smentry.pid1.state import Plan, State

    Step = tuple[State, list[Effect]]

SHORTEST, LONGEST = 1.0, 60.0
"""Seconds from an end to the first restart, which doubles with each, and to the last ones."""
STEADY = 60.0
"""Seconds that a companion has run when its end counts as the first one again."""


def step(plan: Plan, state: State, event: Event, now: float) -> Step:
    """As lifecycle.step, which it stands for where the plan has companions."""
    state, effects = _ACTIONS.get(type(event), _of_the_program)(plan, state.copy(), event, now)
    if effects and type(effects[-1]) is Start and not state.companions:
        state.companions = tuple([Standing() for _ in plan.companions])
        effects[-1:] = _start(plan, 0)
    if state.phase not in (STARTING, RUNNING):
        for index, standing in enumerate(state.companions):
            if standing.again_at != NEVER:
                _put(state, index, Standing())
                effects.append(NotAgain(plan.companions[index]))
    if state.phase == STOPPING:
        state.look_at = NEVER  # of _reaped: nobody looks in this phase
    if state.phase == TERMINATING and any(standing.pid and standing.turn_at is None for standing in state.companions):
        state.most_at = min(state.most_at, now + (state.end_at - now) * lifecycle.NEARLY)
    state.again_at = min([standing.again_at for standing in state.companions], default=NEVER)
    return state, effects


def _of_the_program(plan: Plan, state: State, event: events.Event, now: float) -> Step:
    """What the lifecycle decides."""
    state, effects = lifecycle.step(plan, state, event, now)
    return state, list(effects)


def _put(state: State, index: int, standing: Standing) -> None:
    state.companions = (*state.companions[:index], standing, *state.companions[index + 1 :])


# Before the program.


def _start(plan: Plan, index: int) -> list[Effect]:
    """The companion with this number, after the last one the program."""
    return [StartCompanion(index, plan.companions[index]) if index < len(plan.companions) else Start()]


def _started(plan: Plan, state: State, event: CompanionStarted, now: float) -> Step:
    _put(state, event.index, Standing(event.pid, now, state.companions[event.index].failures))
    state.left = True
    return state, _start(plan, event.index + 1) if state.phase == STARTING else _due(plan, state, now)


def _failed(plan: Plan, state: State, event: CompanionFailed, now: float) -> Step:
    over = _over(plan, state, event.index, None, event.why, now)
    if state.phase == STARTING:
        if over.fatal:
            state, effects = _not_started(plan, state, StartFailed(event.code), now)
            return state, [over, *effects]
        return state, [over, *_start(plan, event.index + 1)]
    if over.fatal:
        return state, [over, *_stop(plan, state, over.companion, event.code, now)]
    return state, [over, *_due(plan, state, now)]


def _not_started(plan: Plan, state: State, event: StartFailed, now: float) -> Step:
    """There will be no program; what runs already beside it ends in its order."""
    if state.phase != STARTING or not any(standing.pid for standing in state.companions):
        return _of_the_program(plan, state, event, now)
    state.failed = event.code
    return state, list(lifecycle.wind_down(plan, state, now))


# Beside the program.


def _reaped(plan: Plan, state: State, event: Reaped, now: float) -> Step:
    """Children have ended; companions among them."""
    state, effects = _of_the_program(plan, state, event, now)
    ends: list[Effect] = []
    for pid, status in event.ended:
        for index, standing in enumerate(state.companions):
            if standing.pid and standing.pid == pid:
                over = _over(plan, state, index, status, "", now)
                ends.append(over)
                if over.fatal and state.phase == RUNNING:
                    effects += _stop(plan, state, over.companion, code_of(status), now)
    if state.phase == RUNNING and not state.main and event.ended:
        state.look_at = min(state.look_at, now + lifecycle.SOON)  # is anything left but companions?
    return state, ends + effects


def _over(plan: Plan, state: State, index: int, status: int | None, why: str, now: float) -> CompanionOver:
    """A companion has ended, or could not be started: whether it is started again."""
    companion, standing = plan.companions[index], state.companions[index]
    ran = now - standing.since if standing.pid else 0.0
    failures = 0 if ran >= STEADY else standing.failures
    wanted = state.phase in (STARTING, RUNNING)
    again = None
    meant = companion.fatal is not None and status is not None and code_of(status) == companion.fatal
    if wanted and status != 0 and not meant and failures < companion.restarts:
        again = min(SHORTEST * 2.0 ** min(failures, 10), LONGEST)
        failures += 1
    _put(state, index, Standing(failures=failures, again_at=NEVER if again is None else now + again))
    fatal = wanted and again is None and companion.required and (meant or companion.fatal is None)
    return CompanionOver(companion, standing.pid, status, ran=ran, why=why, again=again, failures=failures, fatal=fatal)


def _stop(plan: Plan, state: State, companion: Companion, code: int, now: float) -> list[Effect]:
    """A companion ended that the job cannot be without. Nobody asked for a stop: the exit code says what the outcome is."""
    effects = lifecycle.stop(
        plan, state, lifecycle.default_signal(plan), companion.reason or f"{companion.name} ended", now
    )
    state.stopped = False
    state.ended = code
    return list(effects)


def _time(plan: Plan, state: State, event: Time, now: float) -> Step:
    """A deadline has come; it may be that of a restart."""
    state, effects = _of_the_program(plan, state, event, now)
    if state.phase == RUNNING:
        effects += _due(plan, state, now)
        if now >= state.look_at:
            state.look_at = NEVER
            effects.append(Look(deep=True))
    return state, effects


def _due(plan: Plan, state: State, now: float) -> list[Effect]:
    """Start the next companion whose time to be started again has come. One: of its failure a stop may come."""
    for index, standing in enumerate(state.companions):
        if state.phase == RUNNING and now >= standing.again_at:
            return [StartCompanion(index, plan.companions[index])]
    return []


# After the program.


def _looked(plan: Plan, state: State, event: Looked, now: float) -> Step:
    """A look at the processes. The rules of the program see none of the companions'."""
    running = [standing.pid for standing in state.companions if standing.pid]
    others = targets.without(event.processes, running)
    if state.phase == RUNNING and not event.forward:
        # With `wait_all` the main process has gone. Who is not in the picture at all says nothing.
        over = not others and state.request.hook is None and any(pid in event.processes for pid in running)
        return state, list(lifecycle.wind_down(plan, state, now)) if over else []
    most = now >= state.most_at and event.complete
    program = Looked(others, complete=event.complete, forward=event.forward)
    state, effects = _of_the_program(plan, state, program, now)
    if state.phase == TERMINATING and event.complete and not event.forward:
        turn = not state.main  # of the last one that runs, once the program has gone
        for index in range(len(plan.companions) - 1, -1, -1):
            standing = state.companions[index]
            if standing.pid:
                if turn or most or standing.turn_at is not None:
                    effects += _tell(plan, state, index, event, now, most=most)
                turn = turn and _deaf(event.processes, standing.pid, plan.companions[index].stop_signal)
    return state, effects


def _tell(plan: Plan, state: State, index: int, event: Looked, now: float, *, most: bool) -> list[Effect]:
    """Tell a companion as a program is told: by rules 1 to 4 and 6, with its own signal."""
    standing = state.companions[index]
    turn_at = now if standing.turn_at is None else standing.turn_at
    companion, part = plan.companions[index], state.copy()
    part.main, part.signal, part.began = standing.pid, companion.stop_signal, turn_at
    part.told, part.linger_at, part.most_at = standing.told, standing.linger_at, now if most else NEVER
    # Who has been told as somebody else's, is not told again.
    below = _below(event.processes, standing.pid)
    hidden = Process(standing.pid, name=companion.name, caught=-1)
    # /proc does not show it (hidepid, proc(5)): it is told, not passed over; but who was shown and told has just ended.
    if hidden.identity in part.told or (not below and all(pid != standing.pid for pid, _ in part.told)):
        below = {standing.pid: hidden}
    own = Looked(
        {pid: it for pid, it in below.items() if it.identity not in state.told or it.identity in part.told},
        complete=True,
    )
    effects = telling.looked(plan, part, own, now, scope=AUTO)
    effects += telling.overdue(plan, part, own, turn_at, now)
    state.told = {**state.told, **part.told}
    state.asked = part.asked
    state.look_at = min(state.look_at, part.look_at, part.linger_at)
    _put(
        state,
        index,
        Standing(standing.pid, standing.since, turn_at=turn_at, told=part.told, linger_at=part.linger_at),
    )
    return list(effects)


def _deaf(processes: dict[int, Process], root: int, signal: int) -> bool:
    """Whether nobody of a companion will heed its signal: to wait for it would cost the next one its time."""
    below = _below(processes, root).values()
    return bool(below) and all(process.ignored & ~process.blocked & 1 << (signal - 1) for process in below)


def _below(processes: dict[int, Process], root: int) -> dict[int, Process]:
    others = targets.without(processes, [root])
    return {pid: process for pid, process in processes.items() if pid not in others}


_ACTIONS: dict[type, Callable[..., Step]] = {
    CompanionStarted: _started,
    CompanionFailed: _failed,
    StartFailed: _not_started,
    Reaped: _reaped,
    Looked: _looked,
    Time: _time,
}
