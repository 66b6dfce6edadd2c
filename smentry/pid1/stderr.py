"""What smentry says, a line at a time on stderr. Only with its last lines it waits for whoever reads there."""

from __future__ import annotations

import _signal  # `signal` itself loads `enum`
import errno
import os
import select
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable, Iterable
    from typing import Any

ERROR, WARNING, INFO, DEBUG, TRACE = "error", "warning", "info", "debug", "trace"
OUTPUT = "output"
"""What a hook wrote: said however quiet smentry is to be."""
_RANK = {ERROR: -1, OUTPUT: -1, WARNING: 0, INFO: 0, DEBUG: 1, TRACE: 2}

_LINE = 4096
"""Bytes of the longest line: a write of at most PIPE_BUF is whole, never mixed with others (pipe(7))."""

_KEPT = 1000
"""Lines that wait for a reader that does not read; what comes after them is counted, and dropped. Of smentry's own, which say how
it ended, as many again are kept."""

LATE = 5.0
"""Seconds that whoever reads stderr may be late when smentry leaves, where no stop leaves less: log drivers pause, and what would
be lost is the end of a traceback, and why the job failed."""
_LOOK = 0.05
"""Seconds between two looks for a signal meanwhile."""
_AFTER = 0.25
"""Seconds that who reads all the time has for the rest, though a stop has come."""


class Patience:
    """For whoever reads stderr: until `until` (time.monotonic(), seconds); not for long once one of `signals` has come, which are
    blocked."""

    __slots__ = ("_signals", "_until")

    def __init__(self, until: float, signals: Iterable[int] = ()) -> None:
        self._until = until
        self._signals = frozenset(signals)

    def left(self) -> float:
        """Seconds to wait before this is asked again; 0 where it is over."""
        now = time.monotonic()
        if self._signals and _signal.sigpending() & self._signals:
            self._until = min(self._until, now + _AFTER)
            self._signals = frozenset()
        return max(0.0, min(_LOOK, self._until - now))


class Log:
    """Lines on stderr, as text or as one JSON object a line.

    `verbosity`: -1 errors only; 0 also warnings and what happens; 1 also signals that come and go; 2 also every orphan.
    A line that cannot be written at once is kept and tried again with the next one, and by `flush`.
    """

    def __init__(self, verbosity: int = 0, *, json: bool = False, descriptor: int = 2) -> None:
        self.verbosity = verbosity
        self.json = json
        self._prefix = f"smentry[{os.getpid()}]: "
        self._descriptor, self._shared = _private(descriptor)
        self._send = _sender(descriptor) if self._shared else None
        self.waiting: list[bytes] = []
        """Lines that could not be written yet."""
        self.turn: LockType | None = None
        """Who writes to the same stderr in another thread has it meanwhile, and sees to it that what waits then is written."""
        self._dropped = 0

    def error(self, event: str, message: str, **facts: Any) -> None:
        """Say what went wrong, what was expected and what to do."""
        self.say(ERROR, event, message, facts)

    def warning(self, event: str, message: str, **facts: Any) -> None:
        """Say what is probably not meant."""
        self.say(WARNING, event, message, facts)

    def info(self, event: str, message: str, **facts: Any) -> None:
        """Say what happens."""
        self.say(INFO, event, message, facts)

    def debug(self, event: str, message: str, **facts: Any) -> None:
        """Say what comes and goes all the time (`-v`)."""
        self.say(DEBUG, event, message, facts)

    def trace(self, event: str, message: str, **facts: Any) -> None:
        """Say what may happen thousands of times (`-vv`)."""
        self.say(TRACE, event, message, facts)

    def say(self, level: str, event: str, message: str, facts: dict[str, Any]) -> None:
        """Write one line, if its level is wanted."""
        if _RANK[level] > self.verbosity:
            return
        if self.json:
            import json  # costs milliseconds, so only where it is asked for

            record = {"time": round(time.time(), 3), "level": level, "event": event, "message": message, **facts}
            text = json.dumps(record, ensure_ascii=False, default=str)
        else:
            text = self._prefix + ("" if level in (INFO, DEBUG, TRACE, OUTPUT) else level + ": ") + one_line(message)
        data = text.encode("utf-8", "replace")
        if len(data) >= _LINE and not self.json:
            data = data[: _LINE - 4] + b"..."
        if len(self.waiting) >= (2 * _KEPT if level in (INFO, WARNING, ERROR) else _KEPT):
            self._dropped += 1
        else:
            self.waiting.append(data + b"\n")
        self.flush()

    def flush(self) -> None:
        """Write what waits, as far as that goes without waiting."""
        turn = self.turn
        if turn is None:
            self._flush()
        elif turn.acquire(blocking=False):
            try:
                self._flush()
            finally:
                turn.release()

    def catch_up(self, patience: Patience) -> None:
        """Write what waits, and wait for the reader as long as `patience` lasts."""
        self.flush()
        while self.waiting:
            left = patience.left()
            if not left:
                return
            turn = self.turn
            if turn is not None and not turn.acquire(timeout=left):
                continue  # who has it waits for the same reader
            try:
                self._flush()
                descriptor = self._descriptor  # none where that has found that nobody reads there
            finally:
                if turn is not None:
                    turn.release()
            if self.waiting:
                poll = select.poll()
                poll.register(descriptor, select.POLLOUT)
                poll.poll(left * 1000)

    def _flush(self) -> None:
        while self.waiting or self._dropped:
            if not self.waiting:
                lost, self._dropped = self._dropped, 0
                self.warning("log", f"{lost} lines were lost: nobody read them", lost=lost)
                continue
            if not self._write(self.waiting[0]):
                return
            del self.waiting[0]

    def _write(self, line: bytes) -> bool:
        """Write one line; False where the reader has no room for it now. What cannot be written is gone."""
        try:
            if self._shared:
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                if not poll.poll(0):
                    return False
            if self._send is not None:
                written = self._send(line)
            else:
                # To a pipe that polls as writable so much goes without waiting (pipe(7)); to one's own, what there is room for.
                written = os.write(self._descriptor, line[:_LINE] if self._shared else line)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EFBIG):
                # Each such write raises a signal too (write(2)); one that is said at every signal would never end.
                self._descriptor, self._shared, self._send = -1, False, None
            return True  # closed, or a full disk: there is nobody to tell
        if written < len(line):
            self.waiting[0] = line[written:]
            return False
        return True


def _private(descriptor: int) -> tuple[int, bool]:
    """A descriptor that never blocks and is nobody else's, and whether that failed and the shared one is used.

    O_NONBLOCK belongs to the open file description, which every process of the container shares; so a pipe or
    terminal is opened anew through /proc (proc(5)) to have a description of one's own.
    """
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            return os.open(f"/proc/self/fd/{descriptor}", flags), False
    except OSError:
        pass
    return descriptor, True


def _sender(descriptor: int) -> Callable[[bytes], int] | None:
    """What writes to a socket without ever waiting, though others may fill it in between (send(2)); None where it is none."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        import _socket  # `socket` loads `selectors` and `enum`

        send = _socket.socket(fileno=os.dup(descriptor)).send
    except (OSError, ImportError):
        return None
    return lambda data: send(data, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)


def one_line(text: str) -> str:
    """`text` with control characters written out, so that a message is always one line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
