"""What the lifecycle goes by: the plan of a run, and the state it is in. It decides nothing but the exit code.

All times are seconds on one monotonic clock.
"""

from __future__ import annotations

from smentry.pid1 import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from smentry.pid1.companions import Companion, Standing
    from smentry.pid1.hooks import Hook

STARTING, RUNNING, STOPPING, TERMINATING = "starting", "running", "stopping", "terminating"
KILLING, FINISHING, DONE = "killing", "finishing", "done"

AUTO, MAIN, GROUP, ALL = "auto", "main", "group", "all"

NEVER = float("inf")

# How the reserve is spent, in parts of it. So long a kill is waited for:
KILL = 1 / 2
KILL_HOOK = 1 / 8
# And so long before the SIGKILL at the latest …
HOOKS_END = 1 / 2
"""… a program that does not die is left behind, so that hooks may run after it; no hook runs any more, nor is heard;"""
GIVE_UP = 1 / 4
"""… whatever else does not die is left behind;"""
RECORDED = 1 / 8
"""… the record of the stop is in its file, and smentry exits."""


class Plan:
    """What was asked for: who is told, and how the time of a stop is shared out. It does not change.

    `stop_timeout` is how long the platform waits before SIGKILL, `reserve` what of it is kept for the kill, `stopping` and
    `after` what is set aside for the hooks before and after the program's own time, so that `grace` is the program's; `linger`
    what is given to processes that asked for nothing, `max_runtime` (None: no limit) when a stop is requested without a signal;
    all in seconds. `rewrites` maps a signal to the one to pass on, or to 0. `inherited` is the mask of signals blocked before
    anything was started. `hooks` maps an event to its hooks, in their order. `companions` run beside the program, started in
    their order.
    """

    __slots__ = (
        "after", "companions", "grace", "hooks", "inherited", "linger", "max_runtime", "reserve", "rewrites", "scope",
        "stop_signals", "stop_timeout", "stopping", "success", "wait_all",
    )  # fmt: skip

    def __init__(
        self,
        stop_timeout: float = 120.0,
        reserve: float = 5.0,
        *,
        stopping: float = 0.0,
        after: float = 0.0,
        hooks: Sequence[Hook] = (),
        companions: Sequence[Companion] = (),
        linger: float = 10.0,
        scope: str = AUTO,
        stop_signals: frozenset[int] = frozenset((signals.TERM, signals.INT, signals.QUIT)),
        rewrites: Mapping[int, int] | None = None,
        success: frozenset[int] = frozenset(),
        wait_all: bool = False,
        max_runtime: float | None = None,
        inherited: int = 0,
    ) -> None:
        self.stop_timeout = stop_timeout
        self.reserve = reserve
        self.stopping = stopping
        self.after = after
        self.grace = stop_timeout - reserve - stopping - after
        self.hooks: dict[str, tuple[Hook, ...]] = {}
        for hook in hooks:
            self.hooks[hook.event] = (*self.hooks.get(hook.event, ()), hook)
        self.companions = tuple(companions)
        self.linger = linger
        self.scope = scope
        self.stop_signals = stop_signals
        self.rewrites = dict(rewrites or {})
        self.success = success
        self.wait_all = wait_all
        self.max_runtime = max_runtime
        self.inherited = inherited


class Lane:
    """Hooks that run one after another: the one that runs (as process `pid`, 0 until that is known), and those to come. It does
    not change."""

    __slots__ = ("hook", "killed", "pid", "queue", "until")

    def __init__(
        self,
        hook: Hook | None = None,
        pid: int = 0,
        queue: tuple[Hook, ...] = (),
        until: float = NEVER,
        *,
        killed: str = "",
    ) -> None:
        self.hook = hook
        self.pid = pid
        self.queue = queue
        self.until = until  # kill it; once `killed`: leave it behind
        self.killed = killed  # why it was killed


IDLE = Lane()


class State:
    """Where things are. `step` never changes the one it is given."""

    __slots__ = (
        "again_at", "asked", "began", "companions", "end_at", "ended", "failed", "finished_at", "give_up_at", "gone_at",
        "group", "group_told", "interrupts", "launched", "left", "life", "limit", "linger_at", "look_at", "main", "main_started",
        "main_status", "max_at", "most_at", "phase", "reason", "request", "requested", "sigkill_at", "signal", "stopped",
        "told",
    )  # fmt: skip

    def __init__(self) -> None:
        self.phase = STARTING
        self.main = 0  # pid of the main process, 0 once it has gone
        self.main_started = 0  # its start, for its identity
        self.main_status: int | None = None  # its wait status, once it has gone (waitpid(2))
        self.failed: int | None = None  # the exit code where it could not be started
        self.companions: tuple[Standing, ...] = ()  # of each of the plan, once they are started
        self.ended = 0  # the exit code of a companion whose end requested the stop
        self.left = False  # whether smentry had children when it last reaped
        self.reason = ""  # what requested the stop; empty while nothing did
        self.stopped = False  # the stop came while the program ran, or before
        self.signal = signals.TERM  # what a stop tells
        self.told: dict[tuple[int, int], float] = {}  # identity → when
        self.asked: frozenset[tuple[int, int]] = frozenset()  # who was seen to ask for it: a handler may give itself up
        self.launched: frozenset[tuple[int, int]] = frozenset()  # launchers that were seen with ranks
        self.group = 0  # the program's process group
        self.group_told = -NEVER  # when all of it was told by one signal
        self.interrupts = 0
        self.began: float | None = None  # when the stop was requested, or the main process ended by itself
        self.gone_at: float | None = None  # when the main process went
        self.life = IDLE  # hooks of the run's own events
        self.request = IDLE  # hooks that a signal asked for
        self.requested: tuple[str, ...] = ()  # signals that asked again meanwhile
        self.finished_at: float | None = None  # since when nothing is left of the program that could be waited for
        # Deadlines. `wake` is the only reader that matters: until when may the loop sleep?
        self.max_at = NEVER  # request a stop
        self.again_at = NEVER  # start a companion again
        self.look_at = NEVER  # look at the processes again, or kill them again
        self.linger_at = NEVER  # tell those who asked for nothing (rule 4)
        self.most_at = NEVER  # tell everybody (rule 6)
        self.end_at = NEVER  # kill
        self.give_up_at = NEVER  # of those killed, leave behind whoever is left
        # And two that only bound others.
        self.limit = NEVER  # no hook of `life` runs longer
        self.sigkill_at = NEVER  # when the platform's SIGKILL comes, once a stop was requested

    def copy(self) -> State:
        """Another state with the same values."""
        other = State.__new__(State)
        for name in State.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    @property
    def wake(self) -> float:
        """Until when the loop may sleep; NEVER while there is nothing to wait for but the kernel."""
        return min(
            self.max_at, self.again_at, self.look_at, self.linger_at, self.most_at, self.end_at, self.give_up_at,
            self.life.until, self.request.until,
        )  # fmt: skip


def exit_code(plan: Plan, state: State) -> int:
    """The exit code: the program's own, 128+N if it died of signal N, 0 where `success` says so; in the place of 0 that of
    the companion whose end requested the stop.

    A main process that could not even be killed counts as killed.
    """
    if state.failed is not None:
        return state.failed
    status = signals.KILL if state.main_status is None else state.main_status
    code = code_of(status)
    return state.ended if code in plan.success or code == 0 else code


def code_of(status: int) -> int:
    """The exit code that a wait status stands for, 128+N where it died of signal N."""
    # The encoding of waitpid(2): the low 7 bits are the signal, the next byte is the exit code.
    return 128 + (status & 0x7F) if status & 0x7F else status >> 8 & 0xFF
