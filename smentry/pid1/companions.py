"""What a companion is, and how it stands with one; what can happen to it, and what can be done about it. It decides nothing."""

from __future__ import annotations

from smentry.pid1 import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Union

    from smentry.pid1 import events

RESTARTS = 5
"""Restarts in a row where no limit is given."""

_NEVER = float("inf")


class Companion:
    """A process beside the program: the words `run`, and the `name` in front of what is said of it.

    `stop_signal` is what a stop tells it. `required`: its end, when it is not started again, requests a stop. `restarts` is how
    often in a row it is started again when it has failed, 0: never.

    For smentry itself: `call` is a function to run in the place of a command, which returns an exit code. `fatal` is the only
    exit code that requests a stop, and `reason` is what the stop is then said to be for, in the place of its end.
    """

    __slots__ = ("call", "fatal", "name", "reason", "required", "restarts", "run", "stop_signal")

    def __init__(
        self,
        name: str,
        run: Sequence[str],
        *,
        stop_signal: int = signals.TERM,
        required: bool = True,
        restarts: int = 0,
        call: Callable[[], int] | None = None,
        fatal: int | None = None,
        reason: str = "",
    ) -> None:
        self.name = name
        self.run = list(run)
        self.stop_signal = stop_signal
        self.required = required
        self.restarts = restarts
        self.call = call
        self.fatal = fatal
        self.reason = reason

    def __repr__(self) -> str:
        return f"companion {self.name}"


class Standing:
    """How it stands with a companion: it runs as process `pid` since `since`, or is started again at `again_at`, or neither any
    more. It does not change.

    `failures` is how often in a row it has failed; `turn_at` when its turn to be told came; `told` and `linger_at` are of its
    own processes what they are of the program's in a State.
    """

    __slots__ = ("again_at", "failures", "linger_at", "pid", "since", "told", "turn_at")

    def __init__(
        self,
        pid: int = 0,
        since: float = 0.0,
        failures: int = 0,
        again_at: float = _NEVER,
        *,
        turn_at: float | None = None,
        told: dict[tuple[int, int], float] | None = None,
        linger_at: float = _NEVER,
    ) -> None:
        self.pid = pid
        self.since = since
        self.failures = failures
        self.again_at = again_at
        self.turn_at = turn_at
        self.told = told or {}
        self.linger_at = linger_at


# Events and effects, beside those of the program.


class StartCompanion:
    """Start companion number `index`; answer with CompanionStarted or CompanionFailed."""

    __slots__ = ("companion", "index")

    def __init__(self, index: int, companion: Companion) -> None:
        self.index = index
        self.companion = companion


class CompanionStarted:
    """Companion number `index` runs, as process `pid`."""

    __slots__ = ("index", "pid")

    def __init__(self, index: int, pid: int) -> None:
        self.index = index
        self.pid = pid


class CompanionFailed:
    """Companion number `index` could not be started: `why`, and the exit `code` that says so."""

    __slots__ = ("code", "index", "why")

    def __init__(self, index: int, code: int, why: str) -> None:
        self.index = index
        self.code = code
        self.why = why


class CompanionOver:
    """For those who watch: a companion has ended with this wait status (waitpid(2)) after `ran` seconds, or (None) could not be
    started, which `why` explains. It is started again in `again` seconds for the `failures`-th time, or (None) not; then `fatal`
    says whether the job ends of it."""

    __slots__ = ("again", "companion", "failures", "fatal", "pid", "ran", "status", "why")

    def __init__(
        self,
        companion: Companion,
        pid: int,
        status: int | None,
        *,
        ran: float,
        why: str,
        again: float | None,
        failures: int,
        fatal: bool,
    ) -> None:
        self.companion = companion
        self.pid = pid
        self.status = status
        self.ran = ran
        self.why = why
        self.again = again
        self.failures = failures
        self.fatal = fatal


class NotAgain:
    """For those who watch: a companion that was to be started again will not be."""

    __slots__ = ("companion",)

    def __init__(self, companion: Companion) -> None:
        self.companion = companion


if TYPE_CHECKING:
    Event = Union[events.Event, CompanionStarted, CompanionFailed]
    Effect = Union[events.Effect, StartCompanion, CompanionOver, NotAgain]
