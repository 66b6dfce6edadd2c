"""The record of a run, and the file it is added to at the end. It knows times and facts, not what is said of them."""

from __future__ import annotations

import os
import select
import time

from smentry.pid1 import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from smentry.pid1.linux import Process
    from smentry.pid1.state import Plan


class Recording:
    """What happened when, and which processes are in it already: those that are there, and have been seen."""

    def __init__(self, path: str, plan: Plan, label: str) -> None:
        self.path = path
        self._plan = plan
        self._label = label
        self._records: list[tuple[float, str, dict[str, Any]]] = []
        self._known: set[int] = set()  # pids

    def add(self, now: float, event: str, **facts: Any) -> None:
        """Something happened."""
        self._records.append((now, event, facts))

    def know(self, pid: int) -> None:
        """This process is in the record."""
        self._known.add(pid)

    def saw(self, processes: Iterable[Process], now: float) -> None:
        """These are there; who is not in the record yet is added."""
        new = [process for process in processes if process.pid not in self._known]
        self._known.update(process.pid for process in new)
        if new:
            seen = [{"pid": process.pid, "name": process.name, "born": process.born} for process in new]
            self.add(now, "seen", processes=seen)

    def missed(self, alive: set[int], main: int, now: float) -> None:
        """These are there. Who was and is not any more, and was not reaped here, was reaped by its parent; `main` never is."""
        gone = sorted(self._known - alive - {main})
        self._known.difference_update(gone)
        if gone:
            self.add(now, "ended", pids=gone)

    def forget(self, pids: Iterable[int]) -> None:
        """These have been reaped: a number may come again."""
        self._known.difference_update(pids)

    def save(self, until: float, since: float | None) -> str:
        """Add the record to its file, and wait for that until `until` at the longest; returns what went wrong. Its time 0 is
        `since`, or the end of the run.

        A file system may be full, or never answer: a child writes, and is left behind where it does not come to an end.
        """
        if not self._records:
            return ""
        try:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            pid = os.fork()
        except OSError as error:
            return error.strerror or str(error)
        if pid == 0:
            try:
                self._write(self._records[-1][0] if since is None else since)
            except OSError as error:
                os.write(writer, (error.strerror or str(error)).encode())
            except BaseException as error:
                os.write(writer, repr(error).encode())
            finally:
                os._exit(0)
        os.close(writer)
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        why = "the file system has not answered"
        if poll.poll(max(0.0, until - time.monotonic()) * 1000):
            why = os.read(reader, 4096).decode("utf-8", "replace")
            os.waitpid(pid, 0)
        else:
            os.kill(pid, signals.KILL)
            poll.poll(100)  # until its end of the pipe is closed
            os.waitpid(pid, os.WNOHANG)
        return why

    def _write(self, origin: float) -> None:
        import json

        now = time.monotonic()
        plan = self._plan
        run = {
            "version": 1, "time": time.time() - (now - origin), "program": self._label, "stop_timeout": plan.stop_timeout,
            "stopping": plan.stopping, "grace": plan.grace, "after": plan.after, "reserve": plan.reserve, "linger": plan.linger,
        }  # fmt: skip
        lines = [{"t": round(self._records[0][0] - origin, 6), "event": "run", **run}]
        for when, event, facts in self._records:
            for process in facts.get("processes", ()):
                process["since"] = round(process.pop("born") - origin, 3)
            lines.append({"t": round(when - origin, 6), "event": event, **facts})
        data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
