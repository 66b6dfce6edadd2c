"""What the lifecycle goes by: the plan of a run, and the state it is in. It decides nothing.

All times are seconds on one monotonic clock.
"""

from __future__ import annotations

from smentry.pid1 import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

STARTING, RUNNING, TERMINATING, KILLING, DONE = "starting", "running", "terminating", "killing", "done"

AUTO, MAIN, GROUP, ALL = "auto", "main", "group", "all"

NEVER = float("inf")


class Plan:
    """What was asked for: who is told, and how the time of a stop is shared out. It does not change.

    `stop_timeout` is how long the platform waits before SIGKILL, `reserve` what of it is kept for the kill, so that
    `grace` is the program's; `linger` what is given to processes that asked for
    nothing, `max_runtime` (None: no limit) when a stop is requested without a signal; all in seconds. `rewrites` maps
    a signal to the one to pass on, or to 0. `inherited` is the mask of signals blocked before anything was started.
    """

    __slots__ = (
        "grace", "inherited", "linger", "max_runtime", "reserve", "rewrites", "scope", "stop_signals",
        "stop_timeout", "success", "wait_all",
    )  # fmt: skip

    def __init__(
        self,
        stop_timeout: float = 120.0,
        reserve: float = 5.0,
        *,
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
        self.grace = stop_timeout - reserve
        self.linger = linger
        self.scope = scope
        self.stop_signals = stop_signals
        self.rewrites = dict(rewrites or {})
        self.success = success
        self.wait_all = wait_all
        self.max_runtime = max_runtime
        self.inherited = inherited


class State:
    """Where things are. `step` never changes the one it is given."""

    __slots__ = (
        "asked", "began", "end_at", "failed", "give_up_at", "gone_at", "group", "group_told", "interrupts", "linger_at",
        "look_at", "main", "main_started", "main_status", "max_at", "most_at", "phase", "reason", "signal", "told",
    )  # fmt: skip

    def __init__(self) -> None:
        self.phase = STARTING
        self.main = 0  # pid of the main process, 0 once it has gone
        self.main_started = 0  # its start, for its identity
        self.main_status: int | None = None  # its wait status, once it has gone (waitpid(2))
        self.failed: int | None = None  # the exit code where it could not be started
        self.reason = ""  # what requested the stop; empty while nothing did
        self.signal = signals.TERM  # what a stop tells
        self.told: dict[tuple[int, int], float] = {}  # identity → when
        self.asked: frozenset[tuple[int, int]] = frozenset()  # who was seen to ask for it: a handler may give itself up
        self.group = 0  # the program's process group
        self.group_told = -NEVER  # when all of it was told by one signal
        self.interrupts = 0
        self.began: float | None = None  # when the stop was requested, or the main process ended by itself
        self.gone_at: float | None = None  # when the main process went
        # Deadlines. `wake` is the only reader that matters: until when may the loop sleep?
        self.max_at = NEVER  # request a stop
        self.look_at = NEVER  # look at the processes again, or kill them again
        self.linger_at = NEVER  # tell those who asked for nothing (rule 4)
        self.most_at = NEVER  # tell everybody (rule 6)
        self.end_at = NEVER  # kill
        self.give_up_at = NEVER  # leave, whatever is left

    def copy(self) -> State:
        """Another state with the same values."""
        other = State.__new__(State)
        for name in State.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    @property
    def wake(self) -> float:
        """Until when the loop may sleep; NEVER while there is nothing to wait for but the kernel."""
        return min(self.max_at, self.look_at, self.linger_at, self.most_at, self.end_at, self.give_up_at)
