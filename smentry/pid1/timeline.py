"""What happened when, in words and figures. It watches, says it to the log and keeps it for a file; it decides nothing.

Every method takes `now`, seconds on the same monotonic clock as the lifecycle's. `python -m smentry.pid1.timeline FILE` draws
what such a file holds.
"""

from __future__ import annotations

from smentry.pid1 import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from smentry.pid1.companions import Companion, CompanionOver
    from smentry.pid1.events import HookOver
    from smentry.pid1.hooks import Hook
    from smentry.pid1.linux import Process
    from smentry.pid1.recording import Recording
    from smentry.pid1.state import Plan
    from smentry.pid1.stderr import Log

_NAMED = 5
"""So many processes are named in a line; of more, the line says how many of which name."""
_LISTED = 100
"""So many pids at most are in a JSON line, so that it stays one write."""


class Timeline:
    """The record of one run: of the program, and of its stop where there is one."""

    def __init__(self, log: Log, plan: Plan, label: str, *, warn_on_reap: bool, path: str | None = None) -> None:
        self._log = log
        self._plan = plan
        self._recording: Recording | None = None
        if path is not None:
            from smentry.pid1.recording import Recording

            self._recording = Recording(path, plan, label)
        self._hooks: set[int] = set()  # pids of hooks that run
        self._companions: set[int] = set()  # pids of companions that run
        self._hooks_run = 0
        self._hooks_failed = 0
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
        self._record(now, "started", pid=pid, name=self._label)
        if self._recording is not None:
            self._recording.know(pid)
        plan = self._plan
        text = f"{self._label} is pid {pid}; a stop leaves it {plan.grace:g} s of {plan.stop_timeout:g} s"
        if plan.stopping or plan.after:
            text += f", after {plan.stopping:g} s of stopping hooks and before {plan.after:g} s of hooks after it"
        self._log.info(
            "started",
            text,
            pid=pid,
            program=self._label,
            stopping=plan.stopping,
            grace=plan.grace,
            after=plan.after,
            reserve=plan.reserve,
            stop_timeout=plan.stop_timeout,
        )

    def stop_begins(self, reason: str, now: float) -> None:
        """A stop was requested."""
        self._stopping = True
        self._since = now
        self._record(now, "stop", reason=reason)
        limit = self._plan.stop_timeout
        ran = now - (self._started or now)
        came = "" if reason.endswith((" ended", " failed")) else "came "  # a companion, turns
        when = f"{came}after {_seconds(ran)}" if self._started else f"{came}before the program was started"
        self._log.info(
            "stop",
            f"{reason} {when}: stopping, done within {limit:g} s",
            reason=reason,
            after=round(ran, 3),
            stop_timeout=limit,
        )

    def seen(self, processes: Iterable[Process], now: float) -> None:
        """These processes are there."""
        if self._since is None:
            self._since = now
        processes = [process for process in processes if process.pid not in self._hooks]
        alive = {process.pid for process in processes}
        for process in processes:
            self._names.setdefault(process.pid, process.name)
        if self._recording is not None:
            self._recording.saw(processes, now)
        # Who was missing at the last look already, and was not reaped here since, was reaped by its parent.
        missing = {pid for pid in self._told if pid not in alive and pid not in self._ended and pid != self._main}
        gone = sorted(missing & self._missing)
        self._missing = missing
        if self._recording is not None:
            self._recording.missed(alive, self._main, now)
        self._ended.update(gone)
        if gone:
            self._say(
                "ended", f"{self._list(gone)} ended{self._offset(now)}, reaped by its parent", now, pids=gone[:_LISTED]
            )

    def told(self, processes: list[Process], signal: int, why: str, now: float) -> None:
        """These were told the stop."""
        pids = self._know(processes)
        self._told.update(pids)
        if self._recording is not None:
            self._recording.saw(processes, now)
        self._record(now, "told", pids=pids, signal=signals.name(signal), why=why)
        text = f"told {self._list(pids)} {signals.name(signal)}{self._offset(now)}: {why}"
        self._say("told", text, now, pids=pids[:_LISTED], signal=signals.name(signal), why=why)

    def forwarded(self, processes: list[Process], signal: int, now: float) -> None:
        """A signal that is no stop was passed on."""
        pids = [process.pid for process in processes]
        if self._recording is not None and self._since is not None:  # before that, a program may have a million of them
            self._recording.saw(processes, now)
            self._record(now, "forwarded", pids=pids, signal=signals.name(signal))
        names = ", ".join(map(repr, processes[:_NAMED])) or "nobody"
        text = f"passed {signals.name(signal)} on to {names}"
        self._log.debug("forwarded", text, signal=signals.name(signal), pids=pids)

    def continued(self, processes: list[Process], now: float) -> None:
        """These were stopped, and run again."""
        pids = self._know(processes)
        self._record(now, "continued", pids=pids)
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

    def killed_all(self, why: str, now: float) -> list[str]:
        """Everything was sent SIGKILL: those who were seen and have not ended, and perhaps others. Returns their names."""
        self._all_killed = True
        pids = [pid for pid in self._names if pid not in self._ended]
        self._say_killed(pids, why, now)
        return [f"{self._names[pid]} ({pid})" for pid in pids[:_LISTED]]

    def _say_killed(self, pids: list[int], why: str, now: float) -> None:
        pids = [pid for pid in pids if pid not in self._killed]
        if not pids:
            return
        self._killed.update(pids)
        self._record(now, "killed", pids=pids, why=why)
        text = f"killed {self._list(pids)}{self._offset(now)}: {why}"
        self._say("killed", text, now, pids=pids[:_LISTED], why=why)

    def reaped(self, ended: list[tuple[int, int]], now: float) -> None:
        """These children have ended, with these wait statuses."""
        if self._companions:
            ended = [end for end in ended if not self._was_companion(end[0])]
        if self._recording is not None and (self._since is not None or any(pid == self._main for pid, _ in ended)):
            self._recording.forget(pid for pid, _ in ended)
            for how in {status for _, status in ended}:
                pids = [pid for pid, status in ended if status == how and pid not in self._hooks]
                if pids:
                    self._record(now, "ended", pids=pids, status=how)
        for pid, status in ended:
            if pid in self._hooks:
                continue
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

    def _was_companion(self, pid: int) -> bool:
        """Whether this was a companion, of whose end `companion_over` tells."""
        if pid not in self._companions:
            return False
        self._companions.discard(pid)
        if self._recording is not None:
            self._recording.forget((pid,))
        if self._since is None:
            del self._names[pid]
        else:
            self._ended.add(pid)
        return True

    def companion_started(self, companion: Companion, pid: int, now: float) -> None:
        """A companion runs."""
        self._companions.add(pid)
        self._names[pid] = companion.name
        self._ended.discard(pid)  # of another that had this number
        self._record(now, "companion", pid=pid, name=companion.name)
        if self._recording is not None:
            self._recording.know(pid)
        self._say("companion", f"{companion!r} is pid {pid}", now, pid=pid, companion=companion.name)

    def companion_over(self, over: CompanionOver, now: float) -> str:
        """A companion has ended, or could not be started. Returns how, in words."""
        companion = over.companion
        if over.status is None:
            text = f"{companion!r} cannot be started: {over.why}"
        else:
            text = f"{companion!r} ({over.pid}) {_how(over.status)}"
            text += f" after {_seconds(over.ran)}" if self._since is None else self._offset(now)
        happened = text
        say = self._log.info if over.status == 0 or self._since is not None else self._log.warning
        if over.again is not None:
            text += f"; started again in {over.again:g} s ({over.failures} of {companion.restarts})"
        elif over.failures and self._since is None:
            text += (
                f"; {_count(over.failures, 'restart', 'restarts')} in a row did not help, and it is not started again"
            )
        if over.fatal:
            text += "; the job ends, for it is required" if companion.fatal is None else f"; {companion.reason}"
            say = self._log.error
        facts = {"companion": companion.name, "pid": over.pid, "status": over.status, "again": over.again}
        self._record(now, "companion-ended", name=companion.name, pid=over.pid, status=over.status, again=over.again)
        say("companion-ended", text, **facts, fatal=over.fatal)
        return happened

    def companion_not_again(self, companion: Companion, now: float) -> None:
        """A companion that was to be started again will not be."""
        text = f"{companion!r} is not started again: everything ends"
        self._say("companion-over", text, now, companion=companion.name)

    def hook_started(self, hook: Hook, pid: int, seconds: float, now: float) -> None:
        """A hook runs, and has so long."""
        self._hooks.add(pid)
        self._hooks_run += 1
        limit = None if seconds == float("inf") else round(seconds, 3)
        self._record(now, "hook", pid=pid, name=hook.name, on=hook.event, seconds=limit)
        text = f"{hook!r} is pid {pid}{self._offset(now)}" + ("" if limit is None else f", and has {_seconds(seconds)}")
        self._say("hook", text, now, pid=pid, hook=hook.name, on=hook.event, seconds=limit)

    def hook_over(self, over: HookOver, now: float) -> str:
        """A hook has ended, or could not be run. Returns what was said of it."""
        hook = over.hook
        self._hooks.discard(over.pid)
        self._hooks_failed += over.failed
        how, why = over.why if over.status is None else _how(over.status), ""
        if over.killed and over.status is not None:
            how, why = "was killed", f": {over.why}"
        text = f"{hook!r}{f' ({over.pid})' if over.pid else ''} {how}{self._offset(now)}{why}"
        how += why
        facts = {"hook": hook.name, "on": hook.event, "pid": over.pid, "failed": over.failed, "how": how}
        self._record(now, "hook-ended", pid=over.pid, name=hook.name, on=hook.event, failed=over.failed, how=how)
        if not over.failed:
            self._say("hook-ended", text, now, **facts)
        elif hook.required and not self._stopping:
            self._log.error("hook-ended", text, **facts)
        else:
            self._log.warning("hook-ended", text, **facts)
        return text

    def hook_skipped(self, hook: Hook, why: str, now: float) -> None:
        """A hook of an event that has happened is not run."""
        self._record(now, "hook-skipped", name=hook.name, on=hook.event, why=why)
        text = f"{hook!r} is not run: {why}"
        self._log.warning("hook-skipped", text, hook=hook.name, on=hook.event, why=why)

    def left(self, code: int, now: float, *, alone: bool) -> None:
        """smentry leaves with this exit code; not `alone`: there are children left."""
        survivors = [] if alone else [pid for pid in self._names if pid not in self._ended]
        self._record(now, "exit", code=code, left=survivors)
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
            f"{_count(self._orphans, 'orphan', 'orphans')} reaped, {len(self._killed)} killed"
        )
        if self._hooks_run or self._hooks_failed:
            failed = f", {self._hooks_failed} of them failed" if self._hooks_failed else ""
            text += f", {_count(self._hooks_run, 'hook', 'hooks')} run{failed}"
        text += f"; exit code {code}"
        self._log.info(
            "done",
            text,
            seconds=round(took, 3),
            limit=limit,
            ended=ended,
            orphans=self._orphans,
            killed=len(self._killed),
            hooks=self._hooks_run,
            hooks_failed=self._hooks_failed,
            code=code,
        )

    # The file.

    def _record(self, now: float, event: str, **facts: Any) -> None:
        if self._recording is not None:
            self._recording.add(now, event, **facts)

    def save(self, until: float) -> None:
        """Add the record to its file, where one is wanted, and wait for that until `until` at the longest."""
        if self._recording is None:
            return
        path, why = self._recording.path, self._recording.save(until, self._since)
        if why:
            self._log.warning("timeline", f"cannot write the timeline to {path}: {why}", path=path)

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


if __name__ == "__main__":
    import sys

    from smentry.picture.tool import main

    sys.exit(main(sys.argv[1:]))
