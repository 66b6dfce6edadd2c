"""The course of a training job: which events lead to which deeds and statuses. Pure: no clock, no engine, no files.

`begin` and `step` take the time as `now`, in Unix seconds, and say what is to be done. The names and messages of the
statuses are those of DescribeTrainingJob (SecondaryStatusTransition in the API's reference).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Union

STOP_SECONDS = 120.0
"""Seconds between SIGTERM and SIGKILL: the platform's."""

STARTING, DOWNLOADING, TRAINING, INTERRUPTED = "Starting", "Downloading", "Training", "Interrupted"
STOPPING, UPLOADING, MAX_RUNTIME = "Stopping", "Uploading", "MaxRuntimeExceeded"
COMPLETED, FAILED, STOPPED = "Completed", "Failed", "Stopped"

MESSAGES = {
    STARTING: "Preparing the instances for training",
    DOWNLOADING: "Downloading input data",
    TRAINING: "Training image download completed. Training in progress.",
    INTERRUPTED: "Training job interrupted",
    STOPPING: "Stopping the training job",
    UPLOADING: "Uploading generated training model",
    COMPLETED: "Training job completed",
    FAILED: "Training job failed",
    STOPPED: "Training job stopped",
    MAX_RUNTIME: "Training job runtime exceeded MaxRuntimeInSeconds provided",
}


class Do(enum.Enum):
    """What is to be done, in this order where there are several. TERM and KILL are for every host that runs."""

    LAY_OUT = "lay out the hosts' data, fresh, with the checkpoints of the attempt before; then Prepared"
    START = "start every host; then Started, and HostEnded of each that has ended or could not be started"
    TERM = "send SIGTERM"
    KILL = "send SIGKILL"
    UPLOAD = "pack the artifacts; then Uploaded"


@dataclass(frozen=True)
class Prepared:
    """The data of every host lies in its place."""


@dataclass(frozen=True)
class Started:
    """The hosts have been started, but for those that could not be."""


@dataclass(frozen=True)
class HostEnded:
    """A host has ended, or could not be started."""

    host: str
    code: int


@dataclass(frozen=True)
class DataFailed:
    """The data of a Pipe channel can be had no more: what reads it would wait for ever."""


@dataclass(frozen=True)
class StopAsked:
    """StopTrainingJob: ^C, or a SIGTERM to smentryctl."""


@dataclass(frozen=True)
class KillAsked:
    """Asked again: nobody wants to wait any longer."""


@dataclass(frozen=True)
class Tick:
    """Nothing but that time has passed."""


@dataclass(frozen=True)
class Uploaded:
    """The artifacts are in their place."""


Event = Union[Prepared, Started, HostEnded, DataFailed, StopAsked, KillAsked, Tick, Uploaded]


@dataclass(frozen=True)
class Plan:
    """What is settled before. All times in seconds, and counted while the hosts run, over all attempts."""

    hosts: tuple[str, ...]
    max_runtime: float
    stop_timeout: float = STOP_SECONDS
    stop_after: float | None = None
    interrupt_after: float | None = None


@dataclass(frozen=True)
class Transition:
    """A secondary status, and when it began and ended."""

    status: str
    start: float
    end: float | None = None

    @property
    def message(self) -> str:
        """The StatusMessage."""
        return MESSAGES[self.status]


@dataclass(frozen=True)
class Course:
    """How far a job is. `transitions` is never empty, and only its last one has no end while the job goes on."""

    plan: Plan
    transitions: tuple[Transition, ...]
    reason: str = ""
    """Why the hosts are to end, or have: STOPPED, MAX_RUNTIME, FAILED or INTERRUPTED; '': nothing but themselves."""
    running: frozenset[str] = frozenset()
    codes: Mapping[str, int] = field(default_factory=dict)
    """Exit codes of the hosts that have ended in this attempt, in the order in which they did."""
    attempt: int = 1
    interrupted: bool = False
    trained: float = 0.0
    """Seconds that the hosts of the attempts before have run."""
    since: float | None = None
    """When the hosts of this attempt were started; None: not yet, or they have all ended."""
    kill_at: float | None = None
    failed_at: float | None = None
    failed_host: str | None = None
    """The host whose exit code failed the job; None where none has."""

    @property
    def status(self) -> str:
        """The SecondaryStatus."""
        return self.transitions[-1].status

    @property
    def done(self) -> bool:
        """Whether the job has its last status."""
        return self.status in (COMPLETED, FAILED, STOPPED, MAX_RUNTIME)

    def ran(self, now: float) -> float:
        """Seconds that the hosts have run, over all attempts: what the limits are compared with."""
        return self.trained + (0.0 if self.since is None else now - self.since)

    def due(self) -> float | None:
        """When `step` wants a Tick; None: only something else can happen."""
        times = [at for at, _ in self._limits()]
        return min(times, default=None)

    def _limits(self) -> list[tuple[float, str]]:
        """When what will happen by itself. Of two at the same time the first is what happens."""
        plan = self.plan
        found = [] if self.kill_at is None else [(self.kill_at, "kill")]
        if self.since is None or self.reason not in ("", INTERRUPTED):
            return found
        began = self.since - self.trained
        found.append((began + plan.max_runtime, MAX_RUNTIME))
        if plan.stop_after is not None:
            found.append((began + plan.stop_after, STOPPED))
        if plan.interrupt_after is not None and not self.interrupted:
            found.append((began + plan.interrupt_after, INTERRUPTED))
        return found


Step = tuple[Course, tuple[Do, ...]]


def begin(plan: Plan, created: float, now: float) -> Step:
    """The job was created (and the image looked for) at `created`; from `now` on its data is laid out."""
    course = Course(plan, (Transition(STARTING, created),))
    return _to(course, DOWNLOADING, now), (Do.LAY_OUT,)


def step(course: Course, event: Event, now: float) -> Step:
    """What an event, and the time that has passed, lead to. What cannot happen in a status changes nothing."""
    if course.done:
        return course, ()
    if isinstance(event, Prepared) and course.status == DOWNLOADING:
        running = frozenset(course.plan.hosts)
        return replace(_to(course, TRAINING, now), running=running, codes={}), (Do.START,)
    if isinstance(event, Started) and course.running and course.since is None:
        return replace(course, since=now), ()
    if isinstance(event, Uploaded) and course.status == UPLOADING:
        return _to(course, course.reason or COMPLETED, now, end=now), ()
    if isinstance(event, HostEnded) and event.host in course.running:
        return _host_ended(course, event, now)
    if isinstance(event, DataFailed) and course.running and not course.reason:
        return _fail(course, now)
    if isinstance(event, StopAsked):
        return _stop(course, STOPPED, now)
    if isinstance(event, KillAsked):
        stopped, deeds = _stop(course, STOPPED, now)
        return replace(stopped, kill_at=None), (*deeds, Do.KILL) if stopped.running else deeds
    return _time(course, now)


def _time(course: Course, now: float) -> Step:
    passed = [(at, what) for at, what in course._limits() if at <= now]
    if not passed:
        return course, ()
    _, what = min(passed, key=lambda limit: limit[0])
    if what == "kill":
        return replace(course, kill_at=None), (Do.KILL,)
    return _stop(course, what, now)


def _stop(course: Course, reason: str, now: float) -> Step:
    """Tell every host, unless it has been told. The first reason stays, but an interruption is less than a stop."""
    if course.status == UPLOADING or course.reason not in ("", INTERRUPTED):
        return course, ()
    status = INTERRUPTED if reason == INTERRUPTED else STOPPING
    told = course.reason == INTERRUPTED and bool(course.running)
    course = replace(_to(course, status, now), reason=reason, interrupted=course.interrupted or reason == INTERRUPTED)
    if not course.running:
        return _ended(course, now)
    if told:
        return course, ()
    return replace(course, kill_at=now + course.plan.stop_timeout), (Do.TERM,)


def _host_ended(course: Course, event: HostEnded, now: float) -> Step:
    course = replace(course, running=course.running - {event.host}, codes={**course.codes, event.host: event.code})
    deeds: tuple[Do, ...] = ()
    if event.code and not course.reason:
        course, deeds = _fail(replace(course, failed_host=event.host), now)
    return (course, deeds) if course.running else _ended(course, now)


def _fail(course: Course, now: float) -> Step:
    """The job has failed: the hosts that still run are told."""
    return replace(course, reason=FAILED, failed_at=now, kill_at=now + course.plan.stop_timeout), (Do.TERM,)


def _ended(course: Course, now: float) -> Step:
    """No host runs any more, or has been started."""
    course = replace(course, kill_at=None, trained=course.ran(now), since=None)
    if course.reason == INTERRUPTED:
        anew = replace(_to(_to(course, STARTING, now), DOWNLOADING, now), reason="", attempt=course.attempt + 1)
        return anew, (Do.LAY_OUT,)
    return _to(course, UPLOADING, now), (Do.UPLOAD,)


def _to(course: Course, status: str, now: float, *, end: float | None = None) -> Course:
    *before, last = course.transitions
    return replace(course, transitions=(*before, replace(last, end=now), Transition(status, now, end)))
