"""A kernel of make-believe: processes, signals and a clock, so that millions of stops can be tried in minutes.

It plays the supervisor's part for the lifecycle: it turns what happens into events, carries effects out, and writes down what
the promises are about. The real supervisor and the real kernel have tests of their own.
"""

from __future__ import annotations

import heapq
from typing import Callable

from smentry.pid1 import companions, events, lanes, lifecycle, signals, state, turns
from smentry.pid1.companions import Companion
from smentry.pid1.hooks import EXIT, FAILED, START, STOPPED, STOPPING, SUCCEEDED, Hook
from smentry.pid1.linux import Process

Draw = Callable[[int, int], int]
"""An integer from a range, both ends included: Hypothesis's or random's."""

SELF = 1
STOPS = (signals.TERM, signals.INT, signals.QUIT)
OTHERS = (1, 10, 12, 28, signals.CONT, 34)
ORDER = (START, STOPPING, STOPPED, SUCCEEDED, FAILED, EXIT)
REQUESTS = {10: "SIGUSR1", 12: "SIGUSR2"}


class Actor:
    """One process and what it will do."""

    def __init__(self, world: World, parent: int, draw: Draw, depth: int) -> None:
        self.pid = world.next_pid()
        self.parent = parent
        self.born = world.now
        self.group = self.pid if parent == SELF or draw(0, 4) == 0 else world.actors[parent].group
        self.shell = draw(0, 2) == 0
        self.init = not self.shell and draw(0, 9) == 0
        self.launcher = not self.shell and not self.init and draw(0, 9) == 0
        kind = draw(0, 5)  # default, default, handler, handler, ignores, waits for it with the signal blocked
        self.handles = kind in (2, 3)
        self.ignores = kind == 4
        self.waits = kind == 5 and not self.shell
        self.saves = draw(0, 40) / 4  # seconds from the signal to the end
        self.gives_up = draw(0, 3) == 0  # its handler's first act is to ignore the signal
        self.stubborn = draw(0, 5) == 0  # has a handler, and goes on all the same
        self.code = draw(0, 255) if draw(0, 2) else 0
        self.immortal = draw(0, 60) == 0  # in uninterruptible sleep
        self.stopped = draw(0, 9) == 0
        self.forks_when_told = draw(0, 6) == 0
        self.asked = False  # had a handler when it was told
        self.alive = True
        self.zombie = False
        self.status = 0
        self.ends_by_itself = draw(0, 2) == 0
        self.life = draw(0, 60) / 4
        self.handler_after = draw(0, 12) / 4 if draw(0, 5) == 0 else 0.0
        self.depth = depth
        self.hook: Hook | None = None
        self.of_hook = parent != SELF and world.actors[parent].of_hook
        self.companion: int | None = None  # its number

    def mask(self, wanted: bool) -> int:
        return sum(1 << (number - 1) for number in (*STOPS, 10)) if wanted else 0

    def picture(self, world: World) -> Process:
        ready = world.now >= self.born + self.handler_after
        return Process(
            self.pid,
            parent=self.parent,
            group=self.group,
            started=round(self.born * 100),
            born=self.born,
            state="T" if self.stopped else "S",
            name="shell" if self.shell else "program",
            caught=self.mask(self.handles and ready),
            ignored=self.mask(self.ignores),
            blocked=self.mask(self.waits),
            shell=self.shell,
            init=self.init,
            launcher=self.launcher,
        )


class World:
    """The processes below smentry, a clock, and what is to come."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.now = 1000.0
        self.actors: dict[int, Actor] = {}
        self._pids = 1
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        # What the promises are about.
        self.told: dict[int, list[float]] = {}
        self.killed_at: dict[int, float] = {}
        self.steps = 0

    def next_pid(self) -> int:
        self._pids += 1
        return self._pids

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._agenda, (when, self._order, what))

    def spawn(self, parent: int, depth: int) -> Actor:
        actor = Actor(self, parent, self.draw, depth)
        self.actors[actor.pid] = actor
        if actor.ends_by_itself:
            self.at(self.now + actor.life, lambda: self.end(actor, actor.code << 8))
        if depth < 3 and len(self.actors) < 8:
            for _ in range(self.draw(0, 2)):
                delay = self.draw(0, 8) / 4

                def fork() -> None:
                    if actor.alive and actor.pid not in self.killed_at and len(self.actors) < 12:
                        self.spawn(actor.pid, actor.depth + 1)

                if delay:
                    self.at(self.now + delay, fork)
                else:
                    fork()
        return actor

    def end(self, actor: Actor, status: int) -> None:
        """It ends; its children become orphans, which come to smentry, as does its own end if it is smentry's child."""
        if not actor.alive:
            return
        actor.alive = False
        actor.status = status
        for other in self.actors.values():
            if other.parent == actor.pid:
                other.parent = SELF
        if actor.parent == SELF:
            actor.zombie = True
        elif self.actors[actor.parent].shell and not any(
            other.alive and other.parent == actor.parent for other in self.actors.values()
        ):
            shell = self.actors[actor.parent]
            if shell.pid in self.killed_at:
                pass  # in uninterruptible sleep, with its death pending: it runs nothing any more
            elif self.draw(0, 2) == 0 and len(self.actors) < 12:
                self.spawn(shell.pid, shell.depth + 1)  # its next line
            else:
                self.end(shell, status)

    def deliver(self, pid: int, number: int) -> None:
        actor = self.actors[pid]
        if not actor.alive:
            return
        if number == signals.KILL:
            self.killed_at.setdefault(pid, self.now)
            if not actor.immortal:
                self.end(actor, signals.KILL)
        elif number == signals.CONT:
            actor.stopped = False
        elif number in STOPS and not actor.ignores:
            picture = actor.picture(self)
            if actor.waits or picture.caught:
                if actor.gives_up:
                    actor.handles, actor.waits, actor.ignores = False, False, True
                if actor.forks_when_told and len(self.actors) < 12:
                    self.spawn(actor.pid, actor.depth + 1)
                if not actor.stubborn:
                    self._when_running(actor, actor.saves, actor.code << 8)
            elif not actor.immortal:
                self._when_running(actor, 0.0, number)

    def _when_running(self, actor: Actor, seconds: float, status: int) -> None:
        """A stopped process does nothing, dying of a signal included, until it is continued (signal(7))."""

        def finish() -> None:
            if actor.stopped and actor.alive:
                self.at(self.now + 0.5, finish)
            else:
                self.end(actor, status)

        if seconds == 0.0 and not actor.stopped:
            self.end(actor, status)
        else:
            self.at(self.now + seconds, finish)

    def next_event(self) -> float:
        return self._agenda[0][0] if self._agenda else state.NEVER

    def happen(self) -> None:
        """What is due happens."""
        while self._agenda and self._agenda[0][0] <= self.now:
            heapq.heappop(self._agenda)[2]()

    def pictures(self) -> dict[int, Process]:
        return {pid: actor.picture(self) for pid, actor in self.actors.items() if actor.alive}

    def alive(self) -> list[Actor]:
        return [actor for actor in self.actors.values() if actor.alive]

    def companion_of(self, actor: Actor) -> int | None:
        """The number of the companion that this is, or that it is below of."""
        while actor.parent != SELF:
            actor = self.actors[actor.parent]
        return actor.companion


class Run:
    """One whole life of smentry in such a world."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.world = World(draw)
        stop_timeout = (1.2, 3.0, 12.0, 30.0, 120.0)[draw(0, 4)]
        reserve = min(5.0, stop_timeout / 10)
        hooks = self.some_hooks(stop_timeout) if stop_timeout > 2 and draw(0, 2) else []
        total = {event: sum(hook.timeout for hook in hooks if hook.event == event) for event in ORDER}
        self.plan = state.Plan(
            stop_timeout,
            reserve,
            stopping=total[STOPPING],
            after=max(total[STOPPED], total[SUCCEEDED], total[FAILED]) + total[EXIT],
            hooks=hooks,
            companions=self.some_companions(),
            linger=(0.2, 2.0, 10.0)[draw(0, 2)],
            scope=(state.AUTO, state.AUTO, state.MAIN, state.GROUP, state.ALL)[draw(0, 4)],
            success=frozenset({143} if draw(0, 3) == 0 else ()),
            wait_all=draw(0, 3) == 0,
            max_runtime=draw(1, 20) / 2 if draw(0, 3) == 0 else None,
            rewrites=({}, {}, {15: 2}, {2: 0}, {15: 10}, {10: 15})[draw(0, 5)],
        )
        self.lag = (0.0, self.plan.reserve / 100)[draw(0, 1)]  # what a turn of the loop takes
        self.state = state.State()
        self.step: Callable[..., tuple[state.State, list[companions.Effect]]] = (
            turns.step if self.plan.companions else lifecycle.step
        )
        self.code: int | None = None
        self.main: Actor | None = None
        self.main_ended_by_itself = False
        self.stop_began: float | None = None
        self.second_interrupt = False
        self.interrupts = 0
        self.sabotaged = False  # a hook has killed the program
        # What becomes of hooks: of each, when it was run, was over, or was reported as not run.
        self.hooks_run: list[tuple[float, Hook]] = []
        self.hooks_over: list[events.HookOver] = []
        self.hooks_skipped: list[tuple[float, Hook]] = []
        self.requested: dict[str, float] = {}  # signal → when it last came while there were hooks for it
        self.start_code: int | None = None  # of a job that failed before its program was started
        # What becomes of companions: of each, when it was started, and what was said of its ends.
        self.companions_started: list[tuple[float, int]] = []
        self.companions_over: list[tuple[float, companions.CompanionOver]] = []
        self.companions_told: set[int] = set()
        self.nearly_over = False  # rule 6 has come: no more turns
        self.missed: companions.CompanionOver | None = None  # whose end requested the stop

    def some_hooks(self, stop_timeout: float) -> list[Hook]:
        """Hooks at random events, which leave the program its time."""
        hooks = []
        for number in range(self.draw(0, 6)):
            event = (*ORDER, *REQUESTS.values())[self.draw(0, 7)]
            timeout = stop_timeout * self.draw(1, 9) / 100
            if event == START and self.draw(0, 1):
                timeout = state.NEVER
            required = event == START and self.draw(0, 1) == 1
            hooks.append(Hook(event, str(number), timeout=timeout, required=required))
        return hooks

    def some_companions(self) -> list[Companion]:
        """Companions of every kind; mostly none."""
        return [
            Companion(
                str(number),
                ["companion"],
                stop_signal=(signals.TERM, signals.QUIT, signals.INT)[self.draw(0, 2)],
                required=self.draw(0, 1) == 1,
                restarts=(0, 1, 5)[self.draw(0, 2)],
            )
            for number in range(max(0, self.draw(0, 6) - 3))
        ]

    def live(self, limit: int = 5000) -> Run:
        """Run to the end; more than `limit` turns are a hang."""
        self.handle(events.Begin())
        for _ in range(self.draw(0, 4)):
            number = (*STOPS, signals.TERM, *OTHERS)[self.draw(0, 9)]
            self.world.at(self.world.now + self.draw(0, 80) / 8, lambda number=number: self.signal(number))  # type: ignore[misc]
        # The one stop that certainly comes, for some programs never end.
        self.world.at(self.world.now + 25, lambda: self.signal(signals.TERM if self.plan.rewrites.get(2) == 0 else 2))
        self.world.at(self.world.now + 26, lambda: self.signal(signals.QUIT))
        while self.code is None:
            self.world.steps += 1
            assert self.world.steps < limit, "a hang: the loop turns and nothing comes of it"
            self.turn()
        return self

    def turn(self) -> None:
        world = self.world
        wake = min(self.state.wake, world.next_event())
        assert wake != state.NEVER, "a hang: nothing will ever happen again"
        world.now = max(world.now, wake) + self.lag
        world.happen()
        self.reap()
        if self.code is None and world.now >= self.state.wake:
            self.handle(events.Time())
            assert self.code is not None or self.state.wake > world.now, "awake for nothing: the loop would spin"
            self.reap()

    def signal(self, number: int) -> None:
        if self.code is not None:
            return
        before = self.state.reason
        if REQUESTS.get(number) in self.plan.hooks:
            self.requested[REQUESTS[number]] = self.world.now
        if number == signals.INT and self.plan.rewrites.get(2) != 0:
            self.interrupts += 1
            self.second_interrupt = self.second_interrupt or (self.interrupts > 1 and bool(before))
        self.handle(events.Signal(number))

    def reap(self) -> None:
        zombies = [actor for actor in self.world.actors.values() if actor.zombie]
        for actor in zombies:
            actor.zombie = False
            if actor is self.main:
                self.main_ended_by_itself = not self.state.reason
        left = bool(self.world.alive())
        if zombies or not left:
            self.handle(events.Reaped([(actor.pid, actor.status) for actor in zombies], left=left))

    def handle(self, event: companions.Event) -> None:
        if self.code is not None:
            return
        before = self.state.copy()
        untouched = [getattr(before, name) for name in state.State.__slots__]
        had = self.state
        if isinstance(event, events.Looked) and event.complete and had.phase == state.TERMINATING:
            self.nearly_over = self.nearly_over or self.world.now >= had.most_at
        self.state, effects = self.step(self.plan, self.state, event, self.world.now)
        assert [getattr(had, name) for name in state.State.__slots__] == untouched, "step changed its argument"
        for effect in effects:
            self.act(effect)

    def run_hook(self, effect: events.RunHook) -> None:
        """A hook is a process that may do anything: end well or badly, never, not even when killed, or do harm."""
        world, hook = self.world, effect.hook
        assert effect.seconds > 0
        running = [actor for actor in world.alive() if actor.hook is not None and not actor.immortal]
        if effect.lane == lanes.LIFE:
            assert all(actor.hook is not None and actor.hook.event in REQUESTS.values() for actor in running), "at once"
        else:
            assert all(actor.hook is not None and actor.hook.event in ORDER for actor in running), (
                "two requests at once"
            )
        if hook.event in ORDER[2:]:
            assert all(actor.immortal or actor.of_hook for actor in world.alive()), "the program is not gone"
        self.hooks_run.append((world.now, hook))
        if self.draw(0, 15) == 0:
            self.handle(events.HookFailed(effect.lane, "no process"))
            return
        actor = world.spawn(SELF, 3)
        actor.of_hook = True
        actor.hook = hook
        actor.ends_by_itself = True
        actor.code = self.draw(0, 2) // 2
        kind = self.draw(0, 7)
        if kind < 5:
            world.at(world.now + self.draw(0, 20) / 8, lambda: world.end(actor, actor.code << 8))
        elif kind == 5 and self.main is not None and self.main.alive:
            self.sabotaged = True
            world.deliver(self.main.pid, signals.KILL)
        if self.draw(0, 4) == 0 and len(world.actors) < 20:
            child = world.spawn(actor.pid if self.draw(0, 1) else SELF, 3)  # or a daemon
            child.of_hook = True
        self.handle(events.HookStarted(effect.lane, actor.pid))

    def start_companion(self, effect: companions.StartCompanion) -> None:
        """A companion is a process like the program, in front of it."""
        world = self.world
        assert self.state.phase in (state.STARTING, state.RUNNING), "started when everything is to end"
        assert not any(actor.companion == effect.index for actor in world.alive()), "it runs already"
        self.companions_started.append((world.now, effect.index))
        if self.draw(0, 9) == 0:
            self.handle(companions.CompanionFailed(effect.index, 127, "no such file"))
            return
        actor = world.spawn(SELF, 2)
        actor.companion = effect.index
        actor.immortal = False
        self.handle(companions.CompanionStarted(effect.index, actor.pid))

    def tell(self, effect: events.Tell, pids: list[int]) -> None:
        """Write down who was told, by which signal, and hold it against the order in which companions are."""
        for pid in pids:
            actor = self.world.actors[pid]
            number = self.world.companion_of(actor)
            self.world.told.setdefault(pid, []).append(self.world.now)
            if number is None:
                # It would kill its ranks, on all hosts, while they save.
                assert not (
                    actor.launcher and self.plan.scope == state.AUTO and self.main is not None and self.main.alive
                )
                continue
            first = number not in self.companions_told
            self.companions_told.add(number)
            assert effect.signal == self.plan.companions[number].stop_signal
            if not self.nearly_over:
                assert self.main is None or not self.main.alive, "told before the program had gone"
                later = [other for other in self.world.alive() if (other.companion or 0) > number]
                assert not first or all(other.ignores for other in later), "told before its turn"

    def act(self, effect: companions.Effect) -> None:
        world = self.world
        if isinstance(effect, events.Start):
            assert self.main is None
            assert {number for _, number in self.companions_started} == set(range(len(self.plan.companions)))
            if self.draw(0, 30) == 0:
                self.start_code = 127
                self.handle(events.StartFailed(127))
                return
            self.main = world.spawn(SELF, 0)
            self.handle(events.Started(self.main.pid, round(self.main.born * 100)))
        elif isinstance(effect, events.Look):
            pictures = world.pictures()
            if not effect.deep:
                assert self.main is not None
                pictures = {self.main.pid: self.main.picture(world)}
            self.handle(events.Looked(pictures, complete=effect.deep, forward=effect.forward))
        elif isinstance(effect, events.Tell):
            if effect.group:
                assert self.main is not None
                if self.draw(0, 1):  # one more is forked between the look and the signal
                    world.spawn(self.main.pid, 3).group = self.main.group
                pids = [actor.pid for actor in world.alive() if actor.group == self.main.group]
            else:
                pids = [process.pid for process in effect.processes]
            self.tell(effect, pids)
            for pid in pids:
                stopped = world.actors[pid].stopped
                picture = world.actors[pid].picture(world)
                world.actors[pid].asked = bool(picture.caught or picture.blocked)
                world.deliver(pid, effect.signal)
                if stopped:
                    world.deliver(pid, signals.CONT)
        elif isinstance(effect, events.Forward):
            for process in effect.processes:
                world.deliver(process.pid, effect.signal)
        elif isinstance(effect, events.Continue):
            for process in effect.processes:
                world.deliver(process.pid, signals.CONT)
        elif isinstance(effect, events.Kill):
            # To look once more at nine tenths of the time, there has to be some left. Then everybody has had its turn.
            in_time = min(self.plan.linger, self.plan.grace) / 10 > 3 * self.lag
            if effect.why == "the program's time is over" and in_time:
                running = {actor.companion for actor in world.alive() if actor.companion is not None}
                assert running <= self.companions_told, "killed, and never told"
            victims = list(world.alive()) if effect.everything else [world.actors[p.pid] for p in effect.processes]
            for actor in victims:
                world.deliver(actor.pid, signals.KILL)
        elif isinstance(effect, events.RunHook):
            self.run_hook(effect)
        elif isinstance(effect, events.TellHook):
            if self.start_code is None:
                self.start_code = 128 + effect.signal
            world.deliver(effect.pid, effect.signal)
        elif isinstance(effect, events.KillHook):
            for actor in list(world.alive()):
                if effect.pid in (actor.pid, actor.parent):
                    world.deliver(actor.pid, signals.KILL)
        elif isinstance(effect, events.HookOver):
            self.hooks_over.append(effect)
            if effect.hook.required and effect.failed and self.start_code is None and not self.state.reason:
                unknown = effect.killed or effect.status is None or effect.status & 0x7F
                self.start_code = 1 if unknown else (effect.status or 0) >> 8
        elif isinstance(effect, events.SkipHook):
            self.hooks_skipped.append((world.now, effect.hook))
        elif isinstance(effect, events.StopBegins):
            self.stop_began = world.now
            if effect.reason.endswith(" ended"):
                (self.missed,) = [over for _, over in self.companions_over if over.fatal]
                assert effect.reason == f"{self.missed.companion.name} ended"
        elif isinstance(effect, companions.StartCompanion):
            self.start_companion(effect)
        elif isinstance(effect, companions.CompanionOver):
            self.companions_over.append((world.now, effect))
            if effect.fatal and self.main is None:
                self.start_code = 127
        elif isinstance(effect, events.Exit):
            self.code = effect.code


def expected_code(run: Run) -> int:
    """The exit code that the documentation promises, worked out from what became of the main process."""
    if run.main is None:
        assert run.start_code is not None
        return run.start_code
    status = run.main.status if not run.main.alive else signals.KILL
    code = 128 + status if 0 < status < 128 else status >> 8
    if code not in run.plan.success and code != 0:
        return code
    if run.missed is None:
        return 0
    status = 127 << 8 if run.missed.status is None else run.missed.status
    return 128 + status if 0 < status < 128 else status >> 8
