"""A stop, as the program sees it: that it was requested, why, and how long is left. It ends nothing by itself."""

from __future__ import annotations

import _thread
import os
import signal
import time
from collections.abc import Iterator

from smentry.training import disposition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType, TracebackType
    from typing import TypeVar

    Item = TypeVar("Item")

GRACE = "SMENTRY_GRACE_SECONDS"
"""In it smentry says how many seconds of a stop are the program's."""

_active: tuple[GracefulStop, ...] = ()
"""Those that signals are for, the oldest first. Replaced as a whole: a handler may come at any moment."""
_watches_forks = False


class GracefulStop:
    """A stop request, from the moment of construction on until `close()`: a flag instead of the end of the process.

    As a context manager it closes itself at the end of the block; without `with` it holds until the process ends. A signal
    requests the stop; nothing else happens to the program, which looks at `requested`, or loops over `steps()`.

        with GracefulStop() as stop:
            for batch in stop.steps(batches):
                train(batch)
            save_checkpoint("/opt/ml/checkpoints", model.save)

    - `signals` request a stop: SIGTERM and SIGINT. A second SIGINT raises KeyboardInterrupt, for a person at a keyboard;
      a repeated SIGTERM changes nothing. SIGQUIT is left alone: where smentry's stop signal is QUIT, name it.
    - `limit` is how many seconds a stop leaves the program where smentry does not say so (SMENTRY_GRACE_SECONDS, which
      counts over it). Infinite by default.
    - It is constructed and closed in the main thread, for Python has signal handlers there only: RuntimeError elsewhere.
      Everything else may be used in any thread.
    - Handlers that were there before are not called while it is there, and are back after `close()`, in whatever order
      nested ones are closed. A signal is for all that are open and name it; one that is opened during a stop begins as
      requested.
    - Processes forked from this one are none of its: SIGTERM does to them what it did before, and the first SIGINT, which
      ^C sends to them too, is passed over. Processes that are spawned or executed have neither.

    Raises RuntimeError outside of the main thread, ValueError for a `limit` that is negative or no number, and ValueError
    or OSError for a signal that there is not or that cannot be caught.
    """

    def __init__(
        self, *, signals: Iterable[int] = (signal.SIGTERM, signal.SIGINT), limit: float = float("inf")
    ) -> None:
        if not limit >= 0:
            raise ValueError(f"limit is {limit!r}: expected a number of seconds, 0 or more")
        self._grace = _grace(limit)
        self._requests: list[tuple[str, int, float]] = []  # why, by which signal, when; the first one counts
        self._interrupted = False
        # Locked until a stop is requested. Not an Event: its set() in a handler waits for a lock that the interrupted
        # code itself may hold. The release of a plain lock never waits, and wakes whoever waits in any thread.
        self._latch = _thread.allocate_lock()
        self._latch.acquire()
        self._pid, self._thread = os.getpid(), _thread.get_ident()
        self._closed = False
        self._before: dict[int, disposition.Disposition] = {}
        self._open([int(number) for number in signals])

    def _open(self, numbers: list[int]) -> None:
        global _active, _watches_forks
        if not _watches_forks:
            os.register_at_fork(after_in_child=_after_fork)
            _watches_forks = True
        # First in the list, then the handlers: a signal in between is for it already.
        _active = (*_active, self)
        try:
            for number in numbers:
                if number not in self._before:
                    self._before[number] = disposition.take(number, self._handle)
        except BaseException as error:
            for number, before in self._before.items():
                disposition.restore(number, before)
            _active = tuple(stop for stop in _active if stop is not self)
            self._closed = True
            if isinstance(error, ValueError) and not self._before and not _is_main_thread():
                raise RuntimeError(
                    "a GracefulStop is made in the main thread, for Python has signal handlers there only:"
                    " make it there, and hand it to this thread"
                ) from None
            raise
        for stop in _active:
            if stop is not self and stop._requests and stop._requests[0][1] in self._before:
                self._interrupted = self._interrupted or stop._interrupted
                self._set(stop._requests[0])

    # -- what the program asks ---------------------------------------------------------------------

    @property
    def requested(self) -> bool:
        """Whether a stop was requested. It stays so, also after `close()`."""
        return bool(self._requests)

    @property
    def reason(self) -> str | None:
        """Why: the name of the signal, `SIGTERM`, or what was given to `request()`. None while nothing was requested."""
        return self._requests[0][0] if self._requests else None

    @property
    def seconds_left(self) -> float:
        """How many seconds the program has, 0 when they are over; infinite where nobody has said how many.

        Counted on the monotonic clock from the moment the handler ran. Before a stop: how many one would leave. With
        smentry it is at least as long until it kills, unless it told this process later than the others.
        """
        if not self._requests:
            return self._grace
        return max(0.0, self._requests[0][2] + self._grace - time.monotonic())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until a stop is requested, or `timeout` seconds at the longest; whether one was. In any thread.

        What `time.sleep` is for, in a program that wants to hear of a stop meanwhile.
        """
        seconds = -1.0 if timeout is None or timeout > _thread.TIMEOUT_MAX else max(0.0, timeout)
        try:
            self._latch.acquire(True, seconds)
        finally:
            if self._requests:  # the next one that waits is to have it too
                self._unlatch()
        return self.requested

    def steps(self, iterable: Iterable[Item]) -> Steps[Item]:
        """The items of `iterable`, until a stop is requested: the loop over it ends between two steps.

        No item is taken that is not given out. `complete` of what is returned says whether it came to the end.
        """
        return Steps(self, iterable)

    def request(self, reason: str) -> None:
        """Request a stop of this one alone, not of others that are open. In any thread; the first reason counts."""
        self._set((reason, 0, time.monotonic()))

    # -- how it ends -------------------------------------------------------------------------------

    def close(self) -> None:
        """Let the signals do what they did before. Again it does nothing. Raises RuntimeError outside of the main thread."""
        global _active
        if self._closed:
            return
        if _thread.get_ident() != self._thread:
            raise RuntimeError("a GracefulStop is closed in the main thread, in which it was made")
        self._closed = True
        for number in self._before:
            # Whoever came later and is still there has this one as what was before, and goes past it when closed.
            if signal.getsignal(number) == self._handle:
                disposition.restore(number, self._what_was(number))
        _active = tuple(stop for stop in _active if stop is not self)

    def __enter__(self) -> GracefulStop:
        """Return itself. Raises RuntimeError where it was closed already."""
        if self._closed:
            raise RuntimeError("this GracefulStop was closed: make a new one")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    # -- what happens at a signal ------------------------------------------------------------------

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._closed or self._pid != os.getpid():
            self._pass_on(number, frame)
            return
        if number == signal.SIGINT and self._interrupted:
            raise KeyboardInterrupt
        request = (_name(number), number, time.monotonic())
        for stop in _active:
            if number in stop._before or stop is self:
                stop._interrupted = stop._interrupted or number == signal.SIGINT
                stop._set(request)

    def _set(self, request: tuple[str, int, float]) -> None:
        self._requests.append(request)  # in one step, unlike a look and an assignment
        self._unlatch()

    def _unlatch(self) -> None:
        try:
            self._latch.release()
        except RuntimeError:
            pass  # it is

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        """What a handler does that is not for this process any more, but was put back or inherited by somebody."""
        before = self._what_was(number)
        if before.raw is None and callable(before.handler):
            before.handler(number, frame)
        elif not before.ignores:
            disposition.restore(number, before)
            os.kill(os.getpid(), number)

    def _what_was(self, number: int) -> disposition.Disposition:
        """What the signal did before this one, and before those that are closed."""
        before = self._before[number]
        while True:
            owner = _owner(before.handler)
            if owner is None or not owner._closed:
                return before
            before = owner._before[number]


class Steps(Iterator["Item"]):
    """The items of an iterable until a stop is requested, see `GracefulStop.steps`."""

    def __init__(self, stop: GracefulStop, iterable: Iterable[Item]) -> None:
        iterator = iter(iterable)
        self._stop = stop
        self._iterator: Iterator[Item] | None = iterator
        self._is_own = iterator is not iterable
        self.complete = False
        """Whether the iterable came to its end: False while it goes on, and after a stop."""

    def __iter__(self) -> Steps[Item]:
        """Return itself."""
        return self

    def __next__(self) -> Item:
        """The next item. Raises StopIteration at the end, and from the moment a stop is requested."""
        if self._iterator is None:
            raise StopIteration
        if self._stop.requested:
            self.close()
            raise StopIteration
        try:
            return next(self._iterator)
        except StopIteration:
            self.complete = True
            self._iterator = None
            raise

    def close(self) -> None:
        """End it now, and with it the iterator that was made for it: its `finally` blocks run, a loader's workers end.

        An iterator that was given as such is let go of, not closed: it may be its giver's to go on with.
        """
        iterator, self._iterator = self._iterator, None
        close = getattr(iterator, "close", None) if self._is_own else None
        if close is not None:
            close()


class _PassOver:
    """The handler for SIGINT in a forked process: what ^C sends to everybody at a terminal is first the parent's affair.

    A worker that died of it would take the step with it that the parent is finishing. The second one does what SIGINT did
    before. Not ignored: a program that is executed would inherit that, a handler it does not.
    """

    def __init__(self, before: disposition.Disposition) -> None:
        self._before = before

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        disposition.restore(number, self._before)


def _after_fork() -> None:
    """In a forked process: no signal is for the parent's flags here.

    SIGTERM does what it did. Ignored, it would keep a worker through a delivery to the whole group, but multiprocessing
    ends its workers by it, and would wait for them for ever.
    """
    global _active
    stops, _active = _active, ()
    for stop in stops:
        stop._closed = True
    for number in {number for stop in stops for number in stop._before}:
        owner = _owner(signal.getsignal(number))
        if owner is None:
            continue  # somebody else's: it stays
        before = owner._what_was(number)
        if number == signal.SIGINT and not owner._interrupted and not before.ignores:
            signal.signal(number, _PassOver(before))
        else:
            disposition.restore(number, before)


def _owner(handler: disposition.Handler) -> GracefulStop | None:
    """The GracefulStop whose handler it is."""
    owner = getattr(handler, "__self__", None)
    return owner if isinstance(owner, GracefulStop) else None


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal: only the first and the last have names
        return f"signal {number}"


def _is_main_thread() -> bool:
    import threading

    return threading.current_thread() is threading.main_thread()


def _grace(limit: float) -> float:
    """How many seconds a stop leaves the program: as smentry says, else `limit`."""
    try:
        seconds = float(os.environ.get(GRACE, ""))
    except ValueError:
        return limit
    return seconds if seconds >= 0 else limit
