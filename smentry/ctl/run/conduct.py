"""The loop of a job: engine, data, clock and signals become events, the course says what follows. It decides nothing."""

from __future__ import annotations

import contextlib
import queue
import signal
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from smentry.ctl import interrupts
from smentry.ctl.data.pipes import feeding
from smentry.ctl.data.tree import lay_out
from smentry.ctl.display.screen import Status
from smentry.ctl.engine.base import Ended, Start
from smentry.ctl.engine.usage import EVERY, Watch
from smentry.ctl.request.job import CHECKPOINTS
from smentry.ctl.run import artifacts, course
from smentry.ctl.run.course import (
    Course,
    DataFailed,
    Do,
    HostEnded,
    KillAsked,
    Plan,
    Prepared,
    Started,
    StopAsked,
    Tick,
    Uploaded,
)
from smentry.errors import NOT_EXECUTABLE, NOT_FOUND, RefusedError
from smentry.sagemaker.layout import BASE, Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from smentry.ctl.data.storage import Storage
    from smentry.ctl.data.tree import HostTree
    from smentry.ctl.display.screen import Display
    from smentry.ctl.engine.base import Container, Engine
    from smentry.ctl.request.job import Job
    from smentry.ctl.run.artifacts import Artifact

_LAYOUT = Layout(BASE)
MODEL_PATH, OUTPUT_PATH, FAILURE_PATH = _LAYOUT.model, f"{_LAYOUT.output}/data", _LAYOUT.failure


@dataclass(frozen=True)
class Setting:
    """What a job is run with."""

    job: Job
    plan: Plan
    engine: Engine
    storage: Storage
    display: Display
    output: Path
    """Where the artifacts go."""
    checkpoints: Path | None = None
    """The stand-in for CheckpointConfig.S3Uri; None: checkpoints are not kept."""
    views: bool = True
    """Whether the engine can mount a user's own directory read-only."""
    gpus: str = ""
    keep: bool = False
    watched: bool = False
    """Whether there is a status line, for which the hosts are asked what they use."""


@dataclass
class Outcome:
    """How a job has ended."""

    course: Course
    ended: dict[str, Ended] = field(default_factory=dict)
    """Of the last attempt."""
    failure: str = ""
    """FailureReason."""
    kept: dict[str, Artifact] = field(default_factory=dict)
    """By MODEL, OUTPUT and CHECKPOINTS of this module."""
    trees: Path | None = None
    """Where the hosts' trees are, if they were to be kept."""


MODEL, OUTPUT, KEPT = "model", "output", "checkpoints"


class Asking:
    """SIGINT, SIGTERM and SIGHUP. While the block runs each becomes an event, so that nothing is left half made; the first asks
    for a stop, each further one for the end at once. Inside of `raising` each raises KeyboardInterrupt instead."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[course.Event | RefusedError] = queue.SimpleQueue()
        self._asked = False
        self._raising = False
        self._raised = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Asking:
        interrupts.check()
        for number in self.SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                self._before[number] = signal.signal(number, self._caught)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _caught(self, number: int, frame: object) -> None:
        if self._raising:
            self._raising = False  # so that one more does not end what is done about it
            self._raised = True
            raise interrupts.Interrupt
        self.events.put(KillAsked() if self._asked else StopAsked())
        self._asked = True

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        """For what may take long and leaves nothing outside of what is removed in the end."""
        self._raising, self._raised = True, False
        try:
            yield
        finally:
            self._raising = False
        if self._raised:  # in a destructor, where it is thrown away
            raise interrupts.Interrupt


def conduct(setting: Setting, asking: Asking, created: float) -> Outcome:
    """Run the job to its end and remove everything but what is kept. `created`: Unix time.

    Raises RefusedError where the user can put something right, with the code 1 once hosts were started; KeyboardInterrupt
    where one is sent before the hosts are started or after they have ended.
    """
    scratch = Path(tempfile.mkdtemp(prefix=f"smentryctl-{setting.job.name}-"))
    conductor = _Conductor(setting, asking, scratch)
    try:
        return conductor.run(created)
    except RefusedError as refused:
        code = 1 if conductor.started else refused.code
        raise RefusedError(refused.message, code, refused.details) from None
    finally:
        conductor.close()


class _Conductor:
    def __init__(self, setting: Setting, asking: Asking, scratch: Path) -> None:
        self._setting = setting
        self._asking = asking
        self._events = asking.events
        self._scratch = scratch
        self._offset = time.time() - time.monotonic()
        self._trees: list[HostTree] = []
        self._containers: dict[str, Container] = {}
        self._feeding = contextlib.ExitStack()
        self._usage = Watch()
        self._outcome: Outcome | None = None
        self._ended: dict[str, Ended] = {}
        self._data_failed = ""
        self.started = False
        """Whether any host ever was."""
        self._lost = False  # whether artifacts that there may be could not be kept

    def now(self) -> float:
        """Unix time that never goes back."""
        return self._offset + time.monotonic()

    def run(self, created: float) -> Outcome:
        """Everything from the data to the artifacts."""
        state, deeds = course.begin(self._setting.plan, created, self.now())
        self._outcome = Outcome(state, self._ended)
        while True:
            for deed in deeds:
                self._do(deed, state)
            if state.done:
                self._outcome.course = state
                return self._outcome
            before = state.status
            state, deeds = course.step(state, self._next(state), self.now())
            self._outcome.course = state
            if state.status != before:
                self._tell(state)

    def close(self) -> None:
        """Remove containers, and the hosts' trees unless they are to be kept."""
        setting = self._setting
        setting.display.status(None)
        self._usage.close()
        self._feeding.close()
        try:
            setting.engine.close()
        finally:
            if self._lost:
                setting.display.say(f"what the hosts have left is kept in {self._scratch}")
            elif setting.keep and self._outcome is not None and self._trees:
                self._outcome.trees = self._scratch
            else:
                setting.engine.remove(self._scratch)

    # -- what is waited for ------------------------------------------------------------------------

    def _next(self, state: Course) -> course.Event:
        due = state.due()
        while True:
            self._show(state)
            left = float("inf") if due is None else due - self.now()
            wait = min(left, EVERY if self._setting.watched else left)
            try:
                event = self._events.get(timeout=None if wait == float("inf") else max(wait, 0.0))
            except queue.Empty:
                if due is not None and self.now() >= due:
                    return Tick()
                continue
            if isinstance(event, RefusedError):
                raise event
            return event

    def _show(self, state: Course) -> None:
        if self._setting.watched:
            usage = self._usage
            ran, limit = state.ran(self.now()), self._setting.plan.max_runtime
            if state.kill_at is not None:  # what counts now is the time until SIGKILL
                limit = self._setting.plan.stop_timeout
                ran = max(self.now() - state.kill_at + limit, 0.0)
            self._setting.display.status(
                Status(ran, limit, usage.memory, usage.memory_limit, usage.cpu_percent, state.status)
            )

    def _tell(self, state: Course) -> None:
        """Say what the hosts are told, and why."""
        plan, say = self._setting.plan, self._setting.display.say
        if state.status in (course.STOPPING, course.INTERRUPTED) and state.running:
            why = {
                course.STOPPED: "asked to stop",
                course.MAX_RUNTIME: f"MaxRuntimeInSeconds ({plan.max_runtime:g}) has passed",
                course.INTERRUPTED: "a spot interruption",
            }[state.reason]
            at_once = "" if state.status == course.INTERRUPTED else ", or at once with ^C"
            say(f"{why}: SIGTERM; SIGKILL in {plan.stop_timeout:g} s{at_once}")

    # -- what is done ------------------------------------------------------------------------------

    def _do(self, deed: Do, state: Course) -> None:
        if deed is Do.LAY_OUT:
            self._lay_out(state.attempt)
        elif deed is Do.START:
            self._start()
        elif deed is Do.UPLOAD:
            self._lost = self.started
            with self._asking.raising():
                self._upload(state)
            self._lost = False
            self._events.put(Uploaded())
        else:
            number = signal.SIGTERM if deed is Do.TERM else signal.SIGKILL
            if number == signal.SIGTERM and state.reason == course.FAILED and state.running:
                why = f"{state.failed_host} has failed" if state.failed_host else "its data cannot be had"
                left = ", ".join(sorted(state.running))
                self._setting.display.say(f"{why}: SIGTERM to {left}; SIGKILL in {self._setting.plan.stop_timeout:g} s")
            if number == signal.SIGKILL and state.running:
                self._setting.display.say(f"SIGKILL to {', '.join(sorted(state.running))}")
            for host in state.running & self._containers.keys():
                self._containers[host].signal(number)

    def _lay_out(self, attempt: int) -> None:
        setting = self._setting
        self._feeding.close()
        kept = setting.checkpoints
        try:
            with self._asking.raising():
                if attempt > 1:
                    self._keep_checkpoints()
                restored = kept is not None and kept.is_dir() and any(kept.iterdir())
                if restored:
                    setting.display.say(f"checkpoints restored from {kept}")
                self._trees = lay_out(
                    setting.job,
                    setting.storage,
                    self._scratch / f"attempt-{attempt}",
                    kept if restored else None,
                    views=setting.views,
                )
                if attempt == 1:
                    for line in dict.fromkeys(setting.storage.left_out):
                        setting.display.say(f"left out, as an upload does: {line}")
        except KeyboardInterrupt:
            if attempt == 1:
                raise
            self._events.put(StopAsked())
            return
        self._containers.clear()
        self._ended.clear()
        self._events.put(Prepared())

    def _start(self) -> None:
        setting = self._setting
        feeds = [feed for tree in self._trees for feed in tree.feeds]
        self._feeding.enter_context(feeding(feeds, self._data_has_failed))
        entrypoint, arguments = setting.job.command
        for tree in self._trees:
            start = Start(
                tree.host, setting.job.image, entrypoint, arguments, tree.environment, tree.mounts, setting.gpus
            )
            try:
                container = setting.engine.start(start, setting.display.output(tree.host))
            except RefusedError as refused:
                if refused.code not in (NOT_FOUND, NOT_EXECUTABLE):
                    raise
                setting.display.say(refused.message)
                self._ended[tree.host] = Ended(refused.code)
                self._events.put(HostEnded(tree.host, refused.code))
                continue
            self._containers[tree.host] = container
            self.started = True
            threading.Thread(target=self._wait, args=(container,), name=f"wait {tree.host}", daemon=True).start()
        self._events.put(Started())
        if setting.watched:
            self._usage.watch(self._containers.values())

    def _wait(self, container: Container) -> None:
        try:
            ended = container.wait()
        except RefusedError as refused:
            self._events.put(refused)
            return
        self._setting.display.ended(container.name)
        self._ended[container.name] = ended
        self._events.put(HostEnded(container.name, ended.code))

    def _data_has_failed(self, line: str) -> None:
        self._data_failed = self._data_failed or line
        self._setting.display.say(line)
        self._events.put(DataFailed())

    def _upload(self, state: Course) -> None:
        assert self._outcome is not None
        self._feeding.close()
        kept = self._outcome.kept
        output = self._setting.output
        failed = state.reason == course.FAILED
        for name in (artifacts.MODEL, artifacts.OUTPUT):  # another job's, which would be taken for this one's
            artifacts.set_aside(output / name)
        model = None if failed else self._model()
        with self._archives(OUTPUT_PATH) as streams:
            packed = artifacts.pack(streams, output / artifacts.OUTPUT)
        for what, artifact in ((MODEL, model), (OUTPUT, packed), (KEPT, self._keep_checkpoints())):
            if artifact is not None:
                kept[what] = artifact
        if failed:
            self._outcome.failure = self._reason(state)

    def _model(self) -> Artifact | None:
        asked: Any = self._setting.job.request.get("OutputDataConfig", {})
        with self._archives(MODEL_PATH) as streams:
            if asked.get("CompressionType") == "NONE":
                return artifacts.unpack(streams, self._setting.output / artifacts.UNCOMPRESSED)
            return artifacts.pack(streams, self._setting.output / artifacts.MODEL)

    def _keep_checkpoints(self) -> Artifact | None:
        """The platform does so all the time; here it is done when the hosts have ended."""
        directory = self._setting.checkpoints
        if directory is None:
            return None
        with self._archives(self._setting.job.checkpoint_path or CHECKPOINTS) as streams:
            return artifacts.unpack(streams, directory)

    @contextlib.contextmanager
    def _archives(self, path: str) -> Iterator[Iterator[Iterable[bytes]]]:
        """What is at a path, of each host in order; closed at the end, whatever has been read of it."""
        there = [self._containers[host] for host in self._setting.plan.hosts if host in self._containers]
        with contextlib.ExitStack() as closing:
            archives = (self._setting.engine.archive(container, path) for container in there)
            yield (closing.enter_context(contextlib.closing(archive)) for archive in archives)

    def _reason(self, state: Course) -> str:
        host = state.failed_host
        if host is None:
            return f"ClientError: Data download failed: {self._data_failed}"
        text = ""
        if host in self._containers:
            with contextlib.closing(self._setting.engine.archive(self._containers[host], FAILURE_PATH)) as archive:
                text = artifacts.failure(archive)
        return artifacts.reason(text, state.codes[host], self._ended[host].out_of_memory)
