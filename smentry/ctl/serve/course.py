"""The course of an endpoint: start, /ping, /invocations, stop. It acts, and keeps what it sees; it judges nothing."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass, field

from smentry.ctl.display.screen import Status
from smentry.ctl.engine.base import Mount, Start
from smentry.ctl.engine.usage import Watch
from smentry.ctl.serve.asking import Request, ask
from smentry.ctl.serve.limits import ANSWER_SECONDS, PING_SECONDS, PORT, STARTUP_SECONDS, STOP_SECONDS
from smentry.ctl.serve.report import Report
from smentry.errors import NOT_EXECUTABLE, NOT_FOUND, RefusedError
from smentry.sagemaker.layout import BASE, Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from smentry.ctl.display.screen import Display
    from smentry.ctl.engine.base import Container, Ended, Engine

HOST = "server"
BETWEEN_TRIES = 0.1
"""Seconds between two attempts at /ping until it answers 200. The platform's are further apart; here somebody waits."""
BETWEEN_PINGS = 1.0
"""Seconds between two pings from then on."""
LOOK = 0.5
"""Seconds between two states of the status line."""
LEAD = 1.0
"""Seconds that a request is ahead of SIGTERM at most; else half of the time that an answer has taken before."""
CRASH = 5.0
"""Seconds for a container to end, which has closed a connection without an answer."""


@dataclass(frozen=True)
class Plan:
    """What is to be started and asked."""

    image: str
    environment: Mapping[str, str] = field(default_factory=dict)
    model: Path | None = None
    """The directory that the container sees as /opt/ml/model."""
    gpus: str = ""
    port: int = PORT
    """Of the container."""
    same_port: bool = False
    """Whether it must be the same on this machine, since the network is shared."""
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    concurrent: int = 1
    startup_limit: float = STARTUP_SECONDS
    stop_timeout: float = STOP_SECONDS
    """Seconds from SIGTERM to SIGKILL."""


class _Ending(threading.Thread):
    """Waits for the container's end, and keeps the status line right until then."""

    def __init__(self, container: Container, display: Display) -> None:
        super().__init__(name="watch", daemon=True)
        self.over = threading.Event()
        self.ended: Ended | None = None
        self.at = 0.0
        self._container, self._display = container, display
        self._phase, self._since, self._limit = "", 0.0, 0.0
        self.start()
        if display.shows_status:
            threading.Thread(target=self._look, name="usage", daemon=True).start()

    def phase(self, name: str, limit: float) -> None:
        """Another phase begins, of at most `limit` seconds."""
        self._phase, self._since, self._limit = name, time.monotonic(), limit

    def run(self) -> None:
        """Wait for the end."""
        try:
            self.ended = self._container.wait()
        finally:
            self.at = time.monotonic()
            self.over.set()

    def _look(self) -> None:
        usage = Watch()
        usage.watch([self._container])
        while not self.over.is_set():
            elapsed = time.monotonic() - self._since
            self._display.status(
                Status(elapsed, self._limit, usage.memory, usage.memory_limit, usage.cpu_percent, self._phase)
            )
            self.over.wait(LOOK)
        usage.close()


def visit(engine: Engine, plan: Plan, display: Display) -> Report:
    """Start the container as hosting does, ask it, stop it, and say what was seen. Raises errors.RefusedError."""
    report = Report(plan.startup_limit, plan.stop_timeout, body_size=len(plan.body or b""))
    start = Start(
        HOST,
        plan.image,
        None,
        ("serve",),
        environment=plan.environment,
        mounts=[Mount(plan.model, Layout(BASE).model, read_only=True)] if plan.model is not None else [],
        gpus=plan.gpus,
        ports={plan.port: plan.port if plan.same_port else 0},
    )
    began = time.monotonic()
    try:
        container = engine.start(start, display.output(HOST))
    except RefusedError as refused:
        if refused.code not in (NOT_EXECUTABLE, NOT_FOUND):
            raise
        display.say(refused.message)
        report.ended, report.code = 0.0, refused.code
        return report
    watch = _Ending(container, display)
    try:
        port = container.ports().get(plan.port)
        if port is not None and _ready(report, plan, port, began, watch, display):
            _ask_and_stop(report, plan, port, container, watch)
    finally:
        display.status(None)
    if port is None:
        watch.over.wait()
    if watch.ended is not None:
        report.ended = watch.at - began
        report.code, report.out_of_memory = watch.ended.code, watch.ended.out_of_memory
        if report.told is not None:
            report.stopped = watch.at - report.told
    return report


def _ready(report: Report, plan: Plan, port: int, began: float, watch: _Ending, display: Display) -> bool:
    """Whether /ping has answered 200 in time, and the container runs."""
    watch.phase("Waiting for /ping", plan.startup_limit)
    said = ""
    while not watch.over.is_set() and time.monotonic() - began < plan.startup_limit:
        answer = ask(port, "GET", "/ping", limit=PING_SECONDS)
        report.pings.append(answer)
        if answer.status == 200:
            report.ready = time.monotonic() - began
            return True
        saw = f"/ping: {answer.status or answer.error}"
        if saw != said and (answer.late or answer.status is not None):
            said = saw
            display.say(f"{saw}; asking again until it answers 200, for {plan.startup_limit:g} s at most")
        watch.over.wait(BETWEEN_TRIES)
    return False


def _ask_and_stop(report: Report, plan: Plan, port: int, container: Container, watch: _Ending) -> None:
    done = threading.Event()

    def ping() -> None:
        while not done.is_set() and not watch.over.is_set():
            answer = ask(port, "GET", "/ping", limit=PING_SECONDS)
            if not done.is_set():  # an answer that comes during the stop may be any
                report.pings.append(answer)
            done.wait(BETWEEN_PINGS)

    pinging = threading.Thread(target=ping, name="ping", daemon=True)
    pinging.start()
    flying: list[Request] = []
    if plan.body is not None:
        watch.phase("Asking /invocations", ANSWER_SECONDS)
        report.asked = [request.result() for request in _send(plan, port)]
        answered = [answer.seconds for answer in report.asked if answer.status is not None]
        if len(answered) < len(report.asked):
            watch.over.wait(CRASH)
        flying = _send(plan, port) if answered and not watch.over.is_set() else []
        for request in flying:
            request.sent.wait()
        for request in flying:
            request.join(min(min(answered) / 2, LEAD) / len(flying))
    if not watch.over.is_set():
        watch.phase("Stopping", plan.stop_timeout)
        flying = [request for request in flying if request.answer is None]
        done.set()
        report.told = time.monotonic()
        container.signal(signal.SIGTERM)
        if not watch.over.wait(plan.stop_timeout):
            report.killed = True
            container.signal(signal.SIGKILL)
            watch.over.wait()
        report.in_flight = [request.result() for request in flying]
    done.set()
    pinging.join()


def _send(plan: Plan, port: int) -> list[Request]:
    return [Request(port, plan.body or b"", plan.headers, ANSWER_SECONDS) for _ in range(plan.concurrent)]
