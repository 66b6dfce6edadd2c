"""Who is told now, and who is sent a signal that is passed on: rules 2 to 6, on each look at the processes. Pure, as the
lifecycle is, whose part it is; rule 1 itself is in targets.
"""

from __future__ import annotations

from smentry.pid1 import signals, targets
from smentry.pid1.events import Continue, Forward, Kill, Look, Looked, Tell
from smentry.pid1.state import ALL, AUTO, GROUP, MAIN, NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from smentry.pid1.events import Effect
    from smentry.pid1.linux import Process
    from smentry.pid1.state import Plan, State

LOOK_AGAIN = 1.0
"""Seconds between two looks at the processes while a stop goes on."""
TICK = 0.02
"""Seconds within which the start of a process is not known: it is counted in clock ticks (proc(5))."""


def forward(plan: Plan, state: State, event: Looked, now: float) -> list[Effect]:
    """Pass on a signal that is no stop."""
    event = _without_hooks(state, event)
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


def looked(plan: Plan, state: State, event: Looked, now: float, scope: str = "") -> list[Effect]:
    """Tell whoever is to be told now; by the plan's scope, where none is given."""
    if event.forward:
        return forward(plan, state, event, now)
    event = _without_hooks(state, event)
    state.look_at = now + LOOK_AGAIN
    state.asked |= {process.identity for process in event.processes.values() if _asks(plan, state, process)}
    parents = {process.parent for process in event.processes.values()}
    state.launched |= {p.identity for p in event.processes.values() if p.launcher and p.pid in parents}
    if now >= state.most_at and event.complete:
        state.most_at = state.linger_at = NEVER
        # Workers without a handler have nothing to save, and may be needed alive for that to the last moment.
        free = {process.pid for process in _free(plan, state, event)}
        last = [process for process in _untold(state, event) if process.pid in free or _asks(plan, state, process)]
        last = _free_of_ranks(state, event, last, torchrun=False)
        return _tell(state, last, "nearly all of the time is used", now)
    if not state.main:
        return _after_main(plan, state, event, now)
    scope = scope or plan.scope
    if scope == AUTO:
        return _auto(plan, state, event, now)
    stopped = _stopped(process for process in event.processes.values() if process.identity in state.told)
    if state.told or state.main not in event.processes:
        return stopped
    if scope == ALL:
        return _tell(state, _untold(state, event), "the scope is all", now)
    if scope == GROUP:
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
            holding = _free_of_ranks(state, event, found.holding)
            effects += _tell(state, holding, "a shell that asked for it waits for it", now)
    else:
        effects = _tell(state, _free_of_ranks(state, event, found.everybody), "nobody asked for it", now)
    if not event.complete:
        # The one that matters has been told, at once. Now there is time to see who else is there.
        return [*effects, Look(deep=True)]
    effects += _stopped(found.everybody)
    # A shell that was told does not count: it may wait for just those who come next. But while mpirun or its daemon is there, so
    # are ranks that save, perhaps on another host.
    if _waiting(state, event) or any(
        process.identity in state.told and not process.shell for process in event.processes.values()
    ):
        state.linger_at = NEVER
    elif state.linger_at == NEVER:
        state.linger_at = now + plan.linger
    elif now >= state.linger_at:
        bystanders = [
            process
            for process in _free_of_ranks(state, event, _free(plan, state, event))
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
    effects += _stopped(process for process in event.processes.values() if process.identity in state.told)
    return effects + overdue(plan, state, event, since, now)


def overdue(plan: Plan, state: State, event: Looked, since: float, now: float) -> list[Effect]:
    """Kill those told who did not ask and have had `linger`, which they have from `since` on at the earliest."""
    victims = []
    for process in event.processes.values():
        if process.identity not in state.told or process.identity in state.asked:
            continue
        until = max(since, state.told[process.identity]) + plan.linger
        if now >= until:
            victims.append(process)
        else:
            state.look_at = min(state.look_at, until)
    return [Kill(victims, f"told {plan.linger:g} s ago, and has no handler", everything=False)] if victims else []


def _without_hooks(state: State, event: Looked) -> Looked:
    """The picture without the processes of hooks: they are not of the program, and not told."""
    roots = {lane.pid for lane in (state.life, state.request) if lane.pid}
    if not roots:
        return event
    others = targets.without(event.processes, roots)
    return Looked(others, complete=event.complete, forward=event.forward)


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
        # It would kill its ranks; when they have gone it goes by itself.
        and not (process.launcher and process.pid in parents)
    ]


def _free_of_ranks(state: State, event: Looked, processes: list[Process], *, torchrun: bool = True) -> list[Process]:
    """Those of these who do not wait for ranks, or have asked; with `torchrun` also not for those of a torchrun elsewhere."""
    waiting = _waiting(state, event, torchrun=torchrun)
    return [process for process in processes if process.pid not in waiting or process.identity in state.asked]


def _free(plan: Plan, state: State, event: Looked) -> list[Process]:
    """Who was not told yet, and is not left to somebody above who asked."""
    found = targets.reach(event.processes, 0, state.signal, inherited=plan.inherited, asked=state.asked)
    return _untold(state, event, found.everybody)


def _waiting(state: State, event: Looked, *, torchrun: bool = True) -> set[int]:
    """Who waits for ranks of the program: nobody any more when its main process has gone."""
    if not state.main or any(standing.pid == state.main for standing in state.companions):
        return set()
    return targets.waiting_for_ranks(event.processes, state.launched if torchrun else ())


def _asks(plan: Plan, state: State, process: Process) -> bool:
    return targets.asks(process, state.signal, plan.inherited)


def _members(state: State, event: Looked) -> list[Process]:
    return [process for process in event.processes.values() if process.group == state.group]
