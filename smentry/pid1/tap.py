"""What the program writes to stderr: passed on unchanged and at once, its end remembered. It knows bytes, and no text.

The program's stderr is a pipe, and one thread carries what comes out of it to the real stderr, for which it waits as the
program would: a reader that does not read stops the program, and nothing else of smentry.
"""

from __future__ import annotations

import _thread  # `threading` costs milliseconds
import errno
import os
import select
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from smentry.pid1.stderr import Log, Patience

KEPT = 1 << 16
"""Bytes of the end that are remembered."""

_ROOM = 1 << 16
"""Bytes that are read at once: all that the pipe holds (pipe(7)), so that what a program wrote at once is not torn. A program may
make the pipe larger."""
_GETPIPE_SZ = 1032
"""fcntl(2); Python has it since 3.10."""
_STACK = 1 << 18
"""Bytes of the thread's stack."""
_GONE = (errno.EPIPE, errno.ECONNRESET)
"""Nobody reads there any more: a pipe, a socket."""


class Tap:
    """A pipe in the place of the stderr on `descriptor`. Raises OSError where there can be none.

    `log` writes there too. Whoever does has its turn, so that no line gets into another (one in JSON may be longer than a write).
    """

    def __init__(self, log: Log, descriptor: int = 2) -> None:
        self._log = log
        self._turn = _thread.allocate_lock()
        self._real = descriptor
        self._buffer = bytearray(_ROOM)
        self._tail = memoryview(bytearray(KEPT))
        self._seen = 0  # bytes so far
        self._running = False
        self._over = False  # nothing is passed on any more
        self._busy = False  # something has perhaps been read, and not been passed on yet
        self._waiter: _thread.LockType | None = None  # to be released once everything has been passed on
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC)
        try:
            # So that others than the user who made the pipe can open /dev/stderr too.
            os.fchmod(self._writer, 0o622)
        except OSError:
            pass

    def streams(self) -> dict[int, int]:
        """What the program gets: a descriptor, and what takes its place. stdout too, where both go to the same pipe or file, or
        what is written to the one would overtake what is written to the other."""
        return {1: self._writer, 2: self._writer} if _are_one(1, self._real) else {2: self._writer}

    def run(self) -> None:
        """Begin to pass on, where that has not begun. Raises RuntimeError where there can be no thread."""
        if self._running:
            return
        _permit_forks()
        before = _thread.stack_size(_STACK)
        try:
            _thread.start_new_thread(self._carry, ())
        finally:
            _thread.stack_size(before)
        self._running = True
        self._log.turn = self._turn

    def catch_up(self, patience: Patience) -> bool:
        """Wait until all that was written so far has been passed on, as long as `patience` lasts; whether it has been."""
        if not self._running or self._over:
            return True
        waiter = _thread.allocate_lock()
        waiter.acquire()
        self._waiter = waiter
        try:
            # In this order: what is not in the pipe any more was read, and `_busy` had been set before that.
            if not self._holds_something() and not self._busy:
                return True
            while left := patience.left():
                if waiter.acquire(timeout=left):
                    return True
            return waiter.acquire(blocking=False)
        finally:
            self._waiter = None

    def close(self, patience: Patience) -> bytes:
        """Wait like `catch_up`, and return the end of all that was written. What could not be passed on by then is lost to
        whoever reads stderr, and is in the end all the same."""
        if not self.catch_up(patience):
            import fcntl

            try:
                os.set_blocking(self._reader, False)
                # No more than it holds: who is left may go on writing.
                for _ in range(1 + fcntl.fcntl(self._reader, _GETPIPE_SZ) // _ROOM):
                    self._keep(memoryview(os.read(self._reader, _ROOM)))
            except OSError:
                pass  # that was all, or the reader of stderr has gone
        return self.end()

    def end(self) -> bytes:
        """The end of all that has been read."""
        end = self._seen % KEPT
        return bytes(self._tail[:end]) if self._seen < KEPT else bytes(self._tail[end:]) + bytes(self._tail[:end])

    def _holds_something(self) -> bool:
        return bool(_poll(self._reader, select.POLLIN).poll(0))

    # In the thread.

    def _carry(self) -> None:
        poll = _poll(self._reader, select.POLLIN)
        buffer = memoryview(self._buffer)
        answered = None
        owed = False  # lines wait for a turn already
        try:
            while True:
                waiter = self._waiter
                if waiter is not None and waiter is not answered and not self._holds_something():
                    answered = waiter
                    waiter.release()
                poll.poll()
                self._busy = True
                size = os.readv(self._reader, [buffer])
                self._keep(buffer[:size])  # first: whether anybody reads it or not
                with self._turn:
                    self._pass_on(buffer[:size])
                # What smentry had to say meanwhile comes after what the program had written by then, which the next turn reads,
                # and before what the program goes on to write.
                if not self._log.waiting:
                    owed = False
                elif not owed and self._holds_something():
                    owed = True
                else:
                    _poll(self._real, select.POLLOUT).poll()
                    self._log.flush()
                    owed = False
                self._busy = False
        except OSError:
            pass  # nobody reads stderr any more
        finally:
            # Now the program gets at its next write what it would have got without a tap: SIGPIPE, and EPIPE (write(2)).
            self._over = True
            os.close(self._reader)
            waiter = self._waiter
            if waiter is not None and waiter is not answered:
                waiter.release()

    def _keep(self, data: memoryview) -> None:
        """Remember this, at most KEPT bytes."""
        at = self._seen % KEPT
        first = min(len(data), KEPT - at)
        self._tail[at : at + first] = data[:first]
        self._tail[: len(data) - first] = data[first:]
        self._seen += len(data)

    def _pass_on(self, data: memoryview) -> None:
        """Write to the real stderr. Raises OSError where nobody reads it any more."""
        while data:
            try:
                data = data[os.write(self._real, data) :]
            except BlockingIOError:  # somebody who has stderr too has set O_NONBLOCK (fcntl(2))
                _poll(self._real, select.POLLOUT).poll()
            except OSError as error:
                if error.errno in _GONE:
                    raise
                return  # a full disk, or a limit: what follows may find room again


def _poll(descriptor: int, event: int) -> select.poll:
    poll = select.poll()
    poll.register(descriptor, event)
    return poll


def _are_one(one: int, other: int) -> bool:
    """Whether two descriptors lead to the same pipe, socket or file."""
    try:
        first, second = os.fstat(one), os.fstat(other)
    except OSError:
        return False
    return os.path.samestat(first, second) and not stat.S_ISCHR(first.st_mode)


def _permit_forks() -> None:
    """Since Python 3.12 a fork beside a thread is worth a DeprecationWarning, as the child might wait for a lock that the thread
    had. This thread takes none; and a user's PYTHONWARNINGS=error would make the warning an error of smentry's."""
    import _warnings

    _warnings.filters.insert(0, ("ignore", None, DeprecationWarning, None, 0))
