"""The watch of the other hosts beside the program: how it is started, told of the program's end, and asked what it has found.

What is here runs in the init, but for `_watch`, which is the watch's own process. A defect of either must not harm the job.
"""

from __future__ import annotations

import _signal  # `signal` itself loads `enum`
import marshal  # both sides are one interpreter; and it is loaded already
import os
import time

from smentry.hosts.roster import STOP_THE_JOB
from smentry.pid1 import signals
from smentry.pid1.companions import RESTARTS, Companion
from smentry.pid1.state import code_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from smentry.hosts.roster import Roster
    from smentry.hosts.watching import Answer, End
    from smentry.job import Job
    from smentry.pid1.report import Report
    from smentry.pid1.stderr import Log

_HOLD = 8.0
"""Seconds that a host whose program failed waits at most for what the others say."""
_PART = 0.8
"""The part of `linger` that it may take: at its end the watch is killed like all that is left."""
_TAIL = 48 << 10
"""Bytes of stderr that the watch is given: with the rest they fit in a pipe (pipe(7)), so that nobody waits for it."""
_DESCRIPTORS = 1024
_ENDS_WITHIN, _LOOK = 2.0, 0.05
"""Seconds beyond that in which it has to end, and between two looks whether it has."""
LINGER = 2.0
"""Seconds that what is left at the end has at least: killed at once, the watch could not take leave, and its host were missed."""


class HostWatch:
    """The watch of the `roster`, beside `job`; `success` are exit codes, `stops` signals that request a stop. Raises OSError
    where there can be no pipes to it."""

    def __init__(
        self, roster: Roster, job: Job, linger: float, success: frozenset[int], stops: frozenset[int], log: Log
    ) -> None:
        self._roster = roster
        self._job = job
        self._hold = min(_HOLD, _PART * min(linger, job.grace))
        self._success = success
        self._stops = stops
        self._log = log
        self._told = False
        self._news = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)  # to the watch
        self._words = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)  # from it

    @property
    def companion(self) -> Companion:
        """The watch, as something that runs beside the program."""
        companion = Companion("watch", [], restarts=RESTARTS)
        companion.call = self._watch
        companion.fatal = STOP_THE_JOB
        companion.reason = "another host failed"
        return companion

    def ended(self, report: Report) -> None:
        """The main process has ended, or will not be started: the watch is told, and tells the others. Never raises."""
        self._told = True
        try:
            os.write(self._news[1], _facts(report, succeeded=self._is_success(report)))
        except Exception as error:
            self._log.warning("watch", f"the other hosts are not told of the program's end: {error}")

    def _is_success(self, report: Report) -> bool:
        code = code_of(report.status or 0)
        return report.status is not None and not report.companion and (code == 0 or code in self._success)

    def tell(self, report: Report) -> None:
        """Put into the report of a run that is over what the watch has found out. Never raises."""
        words = self._read_words()
        if words is None and self._is_unheard(report):
            self._tell_alone(report)
            words = self._read_words()
        if words is None:
            return  # it was killed, or had nothing to say
        first, left = words
        report.elsewhere = first
        report.left = [f"{host} {'had ended well' if end == 'succeeded' else 'had been stopped'}" for host, end in left]

    def _read_words(self) -> tuple[str, list[tuple[str, str]]] | None:
        try:
            first, left = marshal.loads(os.read(self._words[0], 1 << 16))
        except (OSError, ValueError, EOFError, TypeError):
            return None
        return first, left

    def _is_unheard(self, report: Report) -> bool:
        """Whether the watch never ran, as start hooks failed, or was not there (killed) when the program ended."""
        if not self._told:
            return not report.pid and not report.reason
        import select

        poll = select.poll()
        poll.register(self._news[0], select.POLLIN)
        return bool(poll.poll(0))

    def _tell_alone(self, report: Report) -> None:
        """The watch comes now, to say to the others how the program ended, as long as no stop is requested."""
        try:
            if not self._told:
                self.ended(report)
            until = min(time.monotonic() + self._hold + _ENDS_WITHIN, report.sigkill_at - _ENDS_WITHIN)
            pid = os.fork()
            if pid == 0:
                try:
                    self._watch()
                finally:
                    os._exit(0)
            while os.waitpid(pid, os.WNOHANG) == (0, 0):
                if time.monotonic() > until or _signal.sigpending() & self._stops:
                    os.kill(pid, signals.KILL)
                    break
                time.sleep(_LOOK)
        except Exception as error:
            self._log.warning("watch", f"the other hosts are not told of the program's end: {error}")

    def _watch(self) -> int:
        """In the watch's own process: its exit code."""
        import contextlib
        import signal

        # Its end follows from that of the program; and a connection that breaks is an error like any other (write(2), EPIPE).
        for name in ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "PIPE"):
            signal.signal(signal.Signals[f"SIG{name}"], signal.SIG_IGN)
        from smentry.pid1.stderr import Log

        news, words = self._news[0], self._words[1]
        _close_all_but(news, words)
        log = Log(self._log.verbosity, json=self._log.json)

        def say(level: str, text: str) -> None:
            log.say(level, "watch", f"watch: {text}", {})

        try:
            from smentry.hosts.watching import Watch

            program = _Program(self._job.environment)
            answer = Watch(self._roster, news, program.hear, self._hold, say).run()
            with contextlib.suppress(OSError):  # the init was killed: there is nobody to tell
                os.write(words, marshal.dumps(_words(answer)))
            return answer.code
        except BaseException as defect:
            log.warning("watch", f"watch: smentry has a defect: {defect!r}; the other hosts are not watched any more")
            return 0
        finally:
            log.flush()


class _Program:
    """The program's end, as the watch hears of it; `environment` is the program's."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._data = b""

    def hear(self, data: bytes) -> End | None:
        """How the program ended, once all of that has come."""
        self._data += data
        size = int.from_bytes(self._data[:_SIZE], "little")
        if len(self._data) < _SIZE or len(self._data) < _SIZE + size:
            return None
        from smentry import outcome
        from smentry.hosts import ledger
        from smentry.hosts.watching import End

        ended_at, succeeded, report = _report(marshal.loads(self._data[_SIZE:]))
        if report.reason and not report.companion:
            return End(ledger.STOPPED, ended_at)
        if succeeded:
            return End(ledger.SUCCEEDED, ended_at)
        try:
            found = outcome.explained(report, self._environment)
        except Exception as defect:  # that it failed counts more than why
            return End(ledger.FAILED, ended_at, f"{report.label} failed ({outcome.describe(defect)})")
        return End(ledger.FAILED, ended_at, found.line, derived=found.derived)


# -- what goes through the pipes -------------------------------------------------------------------

_SIZE = 4
_TOLD = ("label", "pid", "status", "lasted", "reason", "companion", "refusal")
_EVIDENCE = ("memory_limit", "memory_peak", "oom_kills", "shm_free", "shm_size")


def _facts(report: Report, *, succeeded: bool) -> bytes:
    """What the watch needs of the report to say how the program ended."""
    evidence = None if report.evidence is None else [getattr(report.evidence, name) for name in _EVIDENCE]
    deaths = [(death.pid, death.status) for death in report.deaths]
    told = [getattr(report, name) for name in _TOLD]
    # Whatever room there is in the pipe (pipe(7), pipe-user-pages-soft), that it ended without a failure gets through.
    tail = b"" if succeeded or (report.reason and not report.companion) else report.tail[-_TAIL:]
    data = marshal.dumps((time.monotonic(), succeeded, told, deaths, evidence, tail))
    return len(data).to_bytes(_SIZE, "little") + data


def _report(facts: Any) -> tuple[float, bool, Report]:
    """When the program ended, whether well, and the report as far as it is known so early."""
    from smentry.pid1.evidence import Evidence
    from smentry.pid1.report import Death, Report

    at, succeeded, told, deaths, evidence, tail = facts
    report = Report(told[0])
    for name, value in zip(_TOLD, told):
        setattr(report, name, value)
    report.tail = tail
    report.deaths = [Death(*death) for death in deaths]
    if evidence is not None:
        report.evidence = Evidence()
        for name, value in zip(_EVIDENCE, evidence):
            setattr(report.evidence, name, value)
    return at, succeeded, report


def _words(answer: Answer) -> tuple[str, list[tuple[str, str]]]:
    """The failure that came first, in words, empty where that was the host's own; and who had ended before without one."""
    first = answer.first
    if first is None:
        return "", answer.left
    return f"{first.host} {first.text}" if first.lost else f"{first.host} failed first: {first.text}", answer.left


def _close_all_but(*kept: int) -> None:
    """What exec would close: a copy of the tap's end would keep the program from seeing that nobody reads its stderr."""
    start = 3
    for descriptor in sorted(kept):
        if start < descriptor:
            os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, _DESCRIPTORS)
