"""What happened when, in words and figures. It watches, and says it to the log; it decides nothing.

Every method takes `now`, seconds on the same monotonic clock as the lifecycle's.
"""

from __future__ import annotations

from smentry.pid1 import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from smentry.pid1.linux import Process
    from smentry.pid1.state import Plan
    from smentry.pid1.stderr import Log

_NAMED = 5
"""So many processes are named in a line; of more, the line says how many of which name."""
_LISTED = 100
"""So many pids at most are in a JSON line, so that it stays one write."""


class Timeline:
    """The record of one run: of the program, and of its stop where there is one."""

    def __init__(self, log: Log, plan: Plan, label: str, *, warn_on_reap: bool) -> None:
        self._log = log
        self._plan = plan
        self._label = label
        self._warn_on_reap = warn_on_reap
        self._main = 0
        self._started = 0.0
        self._stopping = False  # a stop was requested
        self._since: float | None = None  # when the stop, or the end after the main process, began
        self._names: dict[int, str] = {}  # pid → name, of everything seen since then
        self._told: set[int] = set()
        self._ended: set[int] = set()
        self._missing: set[int] = set()
        self._killed: set[int] = set()
        self._all_killed = False
        self._orphans = 0

    def started(self, pid: int, now: float) -> None:
        """The program runs."""
        self._main = pid
        self._started = now
        self._names[pid] = self._label
        plan = self._plan
        self._log.info(
            "started",
            f"{self._label} is pid {pid}; a stop leaves it {plan.grace:g} s of {plan.stop_timeout:g} s",
            pid=pid,
            program=self._label,
            grace=plan.grace,
            stop_timeout=plan.stop_timeout,
        )

    def stop_begins(self, reason: str, now: float) -> None:
        """A stop was requested."""
        self._stopping = True
        self._since = now
        limit = self._plan.stop_timeout
        self._log.info(
            "stop",
            f"{reason} came after {_seconds(now - self._started)}: stopping, done within {limit:g} s",
            reason=reason,
            after=round(now - self._started, 3),
            stop_timeout=limit,
        )

    def seen(self, processes: Iterable[Process], now: float) -> None:
        """These processes are there."""
        if self._since is None:
            self._since = now
        alive = set()
        for process in processes:
            alive.add(process.pid)
            self._names.setdefault(process.pid, process.name)
        # Who was missing at the last look already, and was not reaped here since, was reaped by its parent.
        missing = {pid for pid in self._told if pid not in alive and pid not in self._ended and pid != self._main}
        gone = sorted(missing & self._missing)
        self._missing = missing
        self._ended.update(gone)
        if gone:
            self._say(
                "ended", f"{self._list(gone)} ended{self._offset(now)}, reaped by its parent", now, pids=gone[:_LISTED]
            )

    def told(self, processes: list[Process], signal: int, why: str, now: float) -> None:
        """These were told the stop."""
        pids = self._know(processes)
        self._told.update(pids)
        text = f"told {self._list(pids)} {signals.name(signal)}{self._offset(now)}: {why}"
        self._say("told", text, now, pids=pids[:_LISTED], signal=signals.name(signal), why=why)

    def forwarded(self, processes: list[Process], signal: int) -> None:
        """A signal that is no stop was passed on."""
        pids = [process.pid for process in processes]
        names = ", ".join(map(repr, processes[:_NAMED])) or "nobody"
        text = f"passed {signals.name(signal)} on to {names}"
        self._log.debug("forwarded", text, signal=signals.name(signal), pids=pids)

    def continued(self, processes: list[Process], now: float) -> None:
        """These were stopped, and run again."""
        pids = self._know(processes)
        self._say(
            "continued", f"continued {self._list(pids)}, which was stopped{self._offset(now)}", now, pids=pids[:_LISTED]
        )

    def suspended(self, signal: int) -> None:
        """The main process was stopped by a signal, as by ^Z."""
        text = f"{self._label} ({self._main}) was stopped by {signals.name(signal)}; SIGCONT or a stop lets it go on"
        self._log.info("suspended", text, pid=self._main, signal=signals.name(signal))

    def killed(self, processes: list[Process], why: str, now: float) -> None:
        """These were sent SIGKILL."""
        self._say_killed(self._know(processes), why, now)

    def killed_all(self, why: str, now: float) -> None:
        """Everything was sent SIGKILL: those who were seen and have not ended, and perhaps others."""
        self._all_killed = True
        self._say_killed([pid for pid in self._names if pid not in self._ended], why, now)

    def _say_killed(self, pids: list[int], why: str, now: float) -> None:
        pids = [pid for pid in pids if pid not in self._killed]
        if not pids:
            return
        self._killed.update(pids)
        text = f"killed {self._list(pids)}{self._offset(now)}: {why}"
        self._say("killed", text, now, pids=pids[:_LISTED], why=why)

    def reaped(self, ended: list[tuple[int, int]], now: float) -> None:
        """These children have ended, with these wait statuses."""
        for pid, status in ended:
            if pid == self._main:
                self._main_ended(status, now)
                continue
            self._orphans += self._since is not None
            say = self._log.warning if self._warn_on_reap else self._log.trace
            say("reaped", f"reaped the orphan with pid {pid}: it {_how(status)}", pid=pid)
            if self._since is None:
                continue
            killed = self._all_killed and status & 0x7F == signals.KILL
            if pid in self._names and len(ended) <= _NAMED and not killed:
                text = f"{self._names[pid]} ({pid}) {_how(status)}{self._offset(now)}"
                self._say("ended", text, now, pid=pid, status=status)
            self._names.setdefault(pid, "")
            self._ended.add(pid)
            if killed:
                self._killed.add(pid)

    def _main_ended(self, status: int, now: float) -> None:
        self._ended.add(self._main)
        ran = now - self._started
        text = f"{self._label} ({self._main}) {_how(status)} after {_seconds(ran)}"
        if self._since is not None and self._stopping:
            text = f"{self._label} ({self._main}) {_how(status)}{self._offset(now)}"
        self._log.info("ended", text, pid=self._main, status=status, ran=round(ran, 3))

    def left(self, code: int, now: float, *, alone: bool) -> None:
        """smentry leaves with this exit code; not `alone`: there are children left."""
        survivors = [] if alone else [pid for pid in self._names if pid not in self._ended]
        if not alone:
            who = self._list(survivors) if survivors else "processes"
            text = f"killed {who}, which the kernel has not let die yet; leaving without waiting for it"
            self._log.error("survived", text, pids=survivors[:_LISTED])
        if self._since is None:
            return
        limit = self._plan.stop_timeout if self._stopping else self._plan.linger
        took = now - self._since
        ended = len(self._names) - len(survivors)
        text = (
            f"done in {_seconds(took)} of {limit:g} s: {_count(ended, 'process', 'processes')} ended, "
            f"{_count(self._orphans, 'orphan', 'orphans')} reaped, {len(self._killed)} killed; exit code {code}"
        )
        self._log.info(
            "done",
            text,
            seconds=round(took, 3),
            limit=limit,
            ended=ended,
            orphans=self._orphans,
            killed=len(self._killed),
            code=code,
        )

    def _know(self, processes: list[Process]) -> list[int]:
        for process in processes:
            self._names.setdefault(process.pid, process.name)
        return [process.pid for process in processes]

    def _list(self, pids: list[int]) -> str:
        if len(pids) <= _NAMED:
            return ", ".join(f"{self._names[pid]} ({pid})" for pid in pids)
        counts: dict[str, int] = {}
        for pid in pids:
            counts[self._names[pid]] = counts.get(self._names[pid], 0) + 1
        kinds = sorted(counts, key=lambda name: -counts[name])
        listed = ", ".join(f"{counts[name]} × {name}" for name in kinds[:_NAMED])
        return f"{len(pids)} processes ({listed}{', …' if len(kinds) > _NAMED else ''})"

    def _offset(self, now: float) -> str:
        return "" if self._since is None else f" after {_seconds(now - self._since)}"

    def _say(self, event: str, text: str, now: float, **facts: object) -> None:
        after = 0.0 if self._since is None else now - self._since
        self._log.info(event, text, after=round(after, 3), **facts)


def _seconds(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.2f} s"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:.0f} s"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _how(status: int) -> str:
    """How a process ended, from its wait status (waitpid(2))."""
    signal = status & 0x7F
    if signal:
        return f"died of {signals.name(signal)}"
    return f"ended with exit code {status >> 8 & 0xFF}"
