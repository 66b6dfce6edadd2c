"""What a hook is. It knows commands, signals and copies, and neither when one runs nor what has been configured."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

START, STOPPING, STOPPED, SUCCEEDED, FAILED, EXIT = "start", "stopping", "stopped", "succeeded", "failed", "exit"
EVENTS = (START, STOPPING, STOPPED, SUCCEEDED, FAILED, EXIT)
"""In the order in which they can happen; a signal's name (`SIGUSR2`) is an event too, any time while the program runs."""

TIMEOUT = 10.0
"""Seconds that a hook has where no timeout is given; at `start`, where no platform waits, there is no limit then."""

SETTLED = 1.0
"""Seconds before the program's end at which a match of `newest` must have been left alone, where nothing else is given."""


class Copy:
    """What a copy hook copies: `source` (a path) or `newest` (a pattern, of which the newest match is taken) to `to`.

    `settled` (seconds) and `complete` (a name that the match must hold) choose among the matches of `newest`.
    """

    __slots__ = ("complete", "newest", "settled", "source", "to")

    def __init__(
        self, to: str, *, source: str = "", newest: str = "", settled: float = SETTLED, complete: str = ""
    ) -> None:
        self.to = to
        self.source = source
        self.newest = newest
        self.settled = settled
        self.complete = complete


class Hook:
    """One thing to do at one event: `run` a command, send a `signal`, `copy`, or, for smentry itself, `call` a function.

    `event` is one of EVENTS or a signal's name; `name` is in front of everything that is said of the hook; `timeout` is
    seconds, infinite where there is no limit; `required` means that the job fails with it (`start` only); `wait_for` is
    the pattern that a signal's effect is waited for with, empty where it is not. `call` is given what says a line, and returns
    an exit code. `own`: it is done as smentry's own user, also where the program runs as another.
    """

    __slots__ = ("call", "copy", "event", "name", "own", "required", "run", "signal", "timeout", "wait_for")

    def __init__(
        self,
        event: str,
        name: str,
        *,
        run: Sequence[str] = (),
        signal: int = 0,
        wait_for: str = "",
        copy: Copy | None = None,
        call: Callable[[Callable[[str], None]], int] | None = None,
        timeout: float = TIMEOUT,
        required: bool = False,
        own: bool = False,
    ) -> None:
        self.event = event
        self.name = name
        self.run = list(run)
        self.signal = signal
        self.wait_for = wait_for
        self.copy = copy
        self.call = call
        self.timeout = timeout
        self.required = required
        self.own = own

    def __repr__(self) -> str:
        return f"{self.event} hook {self.name}"


def variables(
    hook: Hook, *, reason: str, main: int, code: int | None, seconds: float, stop_at: float | None
) -> dict[str, str]:
    """What a hook finds in its environment beside what the program gets. `stop_at` is the Unix time of the SIGKILL."""
    found = {"SMENTRY_EVENT": hook.event}
    if reason:
        found["SMENTRY_REASON"] = reason
    if main:
        found["SMENTRY_PID"] = str(main)
    if code is not None:
        found["SMENTRY_EXIT_CODE"] = str(code)
    if seconds != float("inf"):
        found["SMENTRY_SECONDS_LEFT"] = f"{seconds:.3f}"
    if stop_at is not None:
        found["SMENTRY_STOP_AT"] = f"{stop_at:.3f}"
    return found
