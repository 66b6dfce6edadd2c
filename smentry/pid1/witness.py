"""Who gathers what a run's report says, while it goes on. It changes nothing of the run but where stderr goes."""

from __future__ import annotations

import time

from smentry.pid1.report import Death, HookFailure, Report
from smentry.pid1.state import GIVE_UP
from smentry.pid1.stderr import LATE, Patience

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smentry.pid1.companions import CompanionOver
    from smentry.pid1.events import HookOver
    from smentry.pid1.evidence import Baseline
    from smentry.pid1.state import Plan, State
    from smentry.pid1.stderr import Log
    from smentry.pid1.tap import Tap

_KEPT = 20
"""So many failed hooks, deaths and victims are kept."""
_LAST_WORDS = 0.1
"""Seconds that what the program wrote to stderr may take, before it is said that the program has ended."""


class Witness:
    """What is seen of a run. `report` is whole once `leave` was called.

    `ended`, where it is given, is called once the main process has ended, or cannot be started and something runs beside it
    already, with what is known of that by then.
    """

    def __init__(self, plan: Plan, log: Log, label: str, ended: Callable[[Report], None] | None = None) -> None:
        self.report = Report(label)
        self._ended = ended
        self._plan = plan
        self._log = log
        self._began = 0.0  # when the program was started
        self._baseline: Baseline | None = None
        self._tap: Tap | None = None
        self._last_words = b""  # of a program beside which others go on to write

    def come(self, *, evidence: bool, tap: bool) -> None:
        """Before anything is started: `evidence` is wanted, or a `tap` for stderr."""
        if evidence:
            from smentry.pid1.evidence import Baseline

            self._baseline = Baseline()
        if tap:
            from smentry.pid1.tap import Tap

            try:
                self._tap = Tap(self._log)
            except OSError as error:
                self._log.warning(
                    "tap", f"cannot listen to stderr: {error.strerror}; a failure will say less about its reason"
                )

    def streams(self) -> Mapping[int, int]:
        """What takes the place of the descriptors of a program that is started now; from now on somebody listens."""
        if self._tap is None:
            return {}
        try:
            self._tap.run()
        except RuntimeError as error:  # no thread could be made
            self._log.warning("tap", f"cannot listen to stderr: {error}; a failure will say less about its reason")
            self._tap = None
            return {}
        return self._tap.streams()

    def started(self, label: str, pid: int, now: float) -> None:
        """The program runs."""
        self.report.label = label
        self.report.pid = pid
        self._began = now

    def refused(self, why: str, reason: str) -> None:
        """The program cannot be started; `reason` is that of a stop request, empty where there is none."""
        self.report.refusal = why
        self.report.reason = reason
        if self._ended is not None:
            self._ended(self.report)

    def reaped(self, ended: list[tuple[int, int]], state: State) -> None:
        """Children have ended, and nobody has heard of it yet; `state` is that before."""
        if state.began is None:
            own = (state.main, state.life.pid, state.request.pid, *(standing.pid for standing in state.companions))
            deaths = [Death(pid, status) for pid, status in ended if status & 0x7F and pid not in own]
            self.report.deaths += deaths[: _KEPT - len(self.report.deaths)]
        statuses = [status for pid, status in ended if pid == state.main] if state.main else []
        if statuses:
            if self._baseline is not None:
                self.report.evidence = self._baseline.evidence()
            if self._tap is not None:
                until = time.monotonic() + min(_LAST_WORDS, self._plan.reserve / 10)
                if self._tap.catch_up(Patience(until)) and self._plan.companions:
                    self._last_words = self._tap.end()
            if self._ended is not None:
                self._say_how(statuses[0], state)

    def _say_how(self, status: int, state: State) -> None:
        """The main process has ended, and somebody wants to know it now."""
        assert self._ended is not None
        self.report.status = status
        self.report.lasted = time.monotonic() - self._began
        self.report.reason = state.reason
        self.report.tail = b"" if self._tap is None else self._tap.end()
        self._ended(self.report)

    def killed(self, why: str, victims: list[str], state: State) -> None:
        """Everything is being killed; the first time says why."""
        if not self.report.killed:
            self.report.killed = why
            self.report.killed_main = state.main != 0
            self.report.victims = victims[:_KEPT]

    def hook_over(self, over: HookOver, text: str, lines: list[str], state: State) -> None:
        """A hook has ended. `text` is what was said of it, `lines` the last that it wrote."""
        hook = over.hook
        if over.failed and hook.required and not state.reason:
            self.report.refusal = self.report.refusal or f"{text}; the program was not started"
        if over.failed and len(self.report.hooks) < _KEPT:
            status = None if over.killed else over.status
            failure = HookFailure(hook.event, hook.name, text, lines, required=hook.required, status=status)
            self.report.hooks.append(failure)

    def companion_over(self, over: CompanionOver, text: str) -> None:
        """A companion has ended; `text` says how."""
        if over.fatal and self.report.pid:
            self.report.companion = text
        elif over.fatal:
            self.report.refusal = f"{text}; the program was not started"
            if self._ended is not None:
                self._ended(self.report)

    def drain(self, state: State) -> None:
        """smentry leaves: what was written to stderr is passed on, as far as that goes in the time there is."""
        if self._tap is not None:
            now = time.monotonic()
            left = state.sigkill_at - self._plan.reserve * GIVE_UP - now
            until = now + min(LATE, left / 2)  # the other half is for who says why the program failed
            tail = self._tap.close(Patience(until, self._plan.stop_signals))
            self.report.tail = self._last_words or tail

    def leave(self, code: int, state: State) -> Report:
        """Everything is over; what was seen of it."""
        report, plan = self.report, self._plan
        gone_at = state.gone_at or time.monotonic()
        report.code = code
        report.status = state.main_status
        report.grace = plan.grace
        report.reason = state.reason
        report.sigkill_at = state.sigkill_at
        if report.pid:
            report.lasted = report.lasted or gone_at - self._began  # other hosts may know it already
            report.stopping = max(0.0, gone_at - (state.sigkill_at - plan.stop_timeout)) if state.reason else 0.0
        if report.evidence is None and self._baseline is not None:
            report.evidence = self._baseline.evidence()
        return report
