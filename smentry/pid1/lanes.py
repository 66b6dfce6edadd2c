"""Hooks one after another. A lane runs those of an event in their order, each in its own time. Pure, like the lifecycle,
which has two of them: `life` for the events of a run, and `request` for the hooks that a signal asked for, beside it.
"""

from __future__ import annotations

from smentry.pid1.events import HookOver, KillHook, RunHook, SkipHook
from smentry.pid1.state import IDLE, KILL_HOOK, NEVER, RUNNING, Lane

TYPE_CHECKING = False
if TYPE_CHECKING:
    from smentry.pid1.events import Effect, HookFailed, HookStarted, Reaped
    from smentry.pid1.hooks import Hook
    from smentry.pid1.state import Plan, State

LIFE, REQUEST = "life", "request"
LANES = (LIFE, REQUEST)

UNKILLED = "was killed, and the kernel has not let it die"


def run(state: State, name: str, queue: tuple[Hook, ...], now: float) -> list[Effect]:
    """Begin with the first of these hooks."""
    setattr(state, name, Lane(queue=queue))
    return _advance(state, name, now)


def request(plan: Plan, state: State, event: str, now: float) -> list[Effect]:
    """A signal asks for its hooks. While they run, one more run is remembered for all that ask meanwhile: whoever asked
    finds a run that began after that."""
    if state.request.hook is None:
        return run(state, REQUEST, plan.hooks[event], now)
    if event not in state.requested:
        state.requested = (*state.requested, event)
    return []


def skip(plan: Plan, state: State, name: str, why: str) -> list[Effect]:
    """What a lane was still to run will not be run."""
    lane: Lane = getattr(state, name)
    left = lane.queue
    if name == REQUEST:
        left += tuple([hook for event in state.requested for hook in plan.hooks[event]])
        state.requested = ()
    if lane.queue:
        setattr(state, name, Lane(lane.hook, lane.pid, (), lane.until, killed=lane.killed))
    return [SkipHook(hook, why) for hook in left]


def started(state: State, event: HookStarted) -> None:
    """A hook runs."""
    lane: Lane = getattr(state, event.lane)
    setattr(state, event.lane, Lane(lane.hook, event.pid, lane.queue, lane.until))
    state.left = True


def failed(plan: Plan, state: State, event: HookFailed, now: float) -> list[Effect]:
    """A hook could not even be started."""
    return _over(plan, state, event.lane, None, event.why, now)


def ended(plan: Plan, state: State, event: Reaped, now: float) -> list[Effect]:
    """Hooks among the children that have ended, and what runs next."""
    effects: list[Effect] = []
    for name in LANES:
        pid = getattr(state, name).pid
        for ended, status in event.ended if pid else ():
            if ended == pid:
                effects += _over(plan, state, name, status, "", now)
                break
    return effects


def overdue(plan: Plan, state: State, now: float) -> list[Effect]:
    """Hooks that have had their time, and what runs next."""
    effects: list[Effect] = []
    for name in LANES:
        lane: Lane = getattr(state, name)
        if lane.hook is None or now < lane.until:
            continue
        if lane.killed:
            effects += _over(plan, state, name, None, UNKILLED, now)
        else:
            effects += kill(plan, state, name, now, "its time was over")
    return effects


def kill(plan: Plan, state: State, name: str, now: float, why: str) -> list[Effect]:
    """Kill the running hook of a lane."""
    lane: Lane = getattr(state, name)
    if lane.hook is None or lane.killed:  # to kill it again would only put off giving it up
        return []
    until = now + plan.reserve * KILL_HOOK
    setattr(state, name, Lane(lane.hook, lane.pid, lane.queue, until, killed=why))
    return [KillHook(lane.hook, lane.pid, why)]


def doom(state: State, why: str) -> None:
    """Everything is being killed, hooks too: nothing is to be done about them but to see them end."""
    for name in LANES:
        lane: Lane = getattr(state, name)
        if lane.hook is not None:
            setattr(state, name, Lane(lane.hook, lane.pid, lane.queue, killed=lane.killed or why))


def hurry(state: State, until: float) -> None:
    """No hook may run longer than `until`."""
    for name in LANES:
        lane: Lane = getattr(state, name)
        if lane.hook is not None and lane.until > until:
            setattr(state, name, Lane(lane.hook, lane.pid, lane.queue, until, killed=lane.killed))


def _over(plan: Plan, state: State, name: str, status: int | None, why: str, now: float) -> list[Effect]:
    lane: Lane = getattr(state, name)
    assert lane.hook is not None
    over = HookOver(lane.hook, lane.pid, status, killed=bool(lane.killed), why=why or lane.killed)
    effects: list[Effect] = [over]
    setattr(state, name, Lane(queue=lane.queue))
    if name == REQUEST:
        if state.phase != RUNNING:
            effects += skip(plan, state, name, "the program is ending")
        elif not lane.queue and state.requested:
            event, state.requested = state.requested[0], state.requested[1:]
            return effects + run(state, name, plan.hooks[event], now)
    elif over.failed and lane.hook.required and not state.reason:
        state.failed = _code(None if lane.killed else status)
        effects += skip(plan, state, name, f"{lane.hook!r} failed")
    return effects + _advance(state, name, now)


def _advance(state: State, name: str, now: float) -> list[Effect]:
    """Start the next hook of a lane that runs none."""
    queue = getattr(state, name).queue
    limit = state.limit if name == LIFE else NEVER
    effects: list[Effect] = []
    while queue:
        hook, queue = queue[0], queue[1:]
        until = min(now + hook.timeout, limit)
        if until > now:
            setattr(state, name, Lane(hook, 0, queue, until))
            return [*effects, RunHook(hook, name, until - now)]
        effects.append(SkipHook(hook, "no time is left for it"))
    setattr(state, name, IDLE)
    return effects


def _code(status: int | None) -> int:
    """The exit code of a job whose start hook failed: the hook's own, 1 where it has none or was killed for its time."""
    if status is None or status & 0x7F:
        return 1
    return status >> 8 & 0xFF or 1
