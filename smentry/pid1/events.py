"""What can happen to smentry, and what it can do about it: the words that lifecycle and supervisor exchange."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    from smentry.pid1.hooks import Hook
    from smentry.pid1.linux import Process

# Events: what has happened.


class Begin:
    """smentry is set up; nothing runs yet."""


class Started:
    """The program runs as process `pid`, which started at `started` (linux.started)."""

    __slots__ = ("pid", "started")

    def __init__(self, pid: int, started: int) -> None:
        self.pid = pid
        self.started = started


class StartFailed:
    """The program cannot be run; `code` is the exit code that says so."""

    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        self.code = code


class Signal:
    """A signal came from outside."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class Reaped:
    """Children have ended: (pid, wait status) of each. `left` says whether there are any more."""

    __slots__ = ("ended", "left")

    def __init__(self, ended: list[tuple[int, int]], *, left: bool) -> None:
        self.ended = ended
        self.left = left


class Looked:
    """The processes as they are now: below smentry all of them, or (`complete` false) the main process alone.
    `forward` is the signal to pass on that was the cause, 0 for a stop's own look."""

    __slots__ = ("complete", "forward", "processes")

    def __init__(self, processes: dict[int, Process], *, complete: bool, forward: int = 0) -> None:
        self.processes = processes
        self.complete = complete
        self.forward = forward


class HookStarted:
    """The hook that was to run in `lane` runs, as process `pid`."""

    __slots__ = ("lane", "pid")

    def __init__(self, lane: str, pid: int) -> None:
        self.lane = lane
        self.pid = pid


class HookFailed:
    """The hook that was to run in `lane` could not be started."""

    __slots__ = ("lane", "why")

    def __init__(self, lane: str, why: str) -> None:
        self.lane = lane
        self.why = why


class Time:
    """A deadline has come."""


# Effects: what is to be done about it.


class Start:
    """Start the program; answer with Started or StartFailed."""


class Look:
    """Look at the processes; answer with Looked. `deep`: all of them, else the main process alone, which is quick."""

    __slots__ = ("deep", "forward")

    def __init__(self, *, deep: bool, forward: int = 0) -> None:
        self.deep = deep
        self.forward = forward


class Tell:
    """Tell `processes` the stop, by `signal`, and continue those that are stopped. `group`: by one signal to the
    main process's group, which reaches them all at the same moment."""

    __slots__ = ("group", "processes", "signal", "why")

    def __init__(self, processes: list[Process], signal: int, why: str, *, group: bool = False) -> None:
        self.processes = processes
        self.signal = signal
        self.why = why
        self.group = group


class Forward:
    """Pass a signal on that is no stop. `again`: should it come again soon, it may go the same way without a look."""

    __slots__ = ("again", "group", "processes", "signal")

    def __init__(self, processes: list[Process], signal: int, *, group: bool = False, again: bool = False) -> None:
        self.processes = processes
        self.signal = signal
        self.group = group
        self.again = again


class Continue:
    """Continue processes that are stopped."""

    __slots__ = ("processes",)

    def __init__(self, processes: list[Process]) -> None:
        self.processes = processes


class Kill:
    """SIGKILL: `processes`, or `everything` that there is, without a list."""

    __slots__ = ("everything", "processes", "why")

    def __init__(self, processes: list[Process], why: str, *, everything: bool) -> None:
        self.processes = processes
        self.why = why
        self.everything = everything


class RunHook:
    """Run a hook, which has so many seconds; answer with HookStarted or HookFailed for `lane`."""

    __slots__ = ("hook", "lane", "seconds")

    def __init__(self, hook: Hook, lane: str, seconds: float) -> None:
        self.hook = hook
        self.lane = lane
        self.seconds = seconds


class TellHook:
    """Send a signal to the process group of a running hook."""

    __slots__ = ("hook", "pid", "signal")

    def __init__(self, hook: Hook, pid: int, signal: int) -> None:
        self.hook = hook
        self.pid = pid
        self.signal = signal


class KillHook:
    """SIGKILL: a running hook, with everything that it has started."""

    __slots__ = ("hook", "pid", "why")

    def __init__(self, hook: Hook, pid: int, why: str) -> None:
        self.hook = hook
        self.pid = pid
        self.why = why


class HookOver:
    """For those who watch: a hook has ended with this wait status (waitpid(2)), or never will (None). `why` says what was wrong
    where that is not all: it could not be started, or it was `killed`."""

    __slots__ = ("hook", "killed", "pid", "status", "why")

    def __init__(self, hook: Hook, pid: int, status: int | None, *, killed: bool, why: str) -> None:
        self.hook = hook
        self.pid = pid
        self.status = status
        self.killed = killed
        self.why = why

    @property
    def failed(self) -> bool:
        """Whether it did not do what it was to do."""
        return self.killed or self.status != 0


class SkipHook:
    """For those who watch: a hook of an event that has happened is not run, and why."""

    __slots__ = ("hook", "why")

    def __init__(self, hook: Hook, why: str) -> None:
        self.hook = hook
        self.why = why


class StopBegins:
    """For those who watch: a stop was requested because of `reason`."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Exit:
    """Leave with this exit code."""

    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        self.code = code


if TYPE_CHECKING:
    Event = Union[Begin, Started, StartFailed, Signal, Reaped, Looked, HookStarted, HookFailed, Time]
    Effect = Union[
        Start, Look, Tell, Forward, Continue, Kill, RunHook, TellHook, KillHook, HookOver, SkipHook, StopBegins, Exit
    ]
