"""A stop that all ranks agree on. It knows ranks and steps, neither what a step does nor what is saved."""

from __future__ import annotations

import datetime
import os
import pickle
import signal
import socket
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist

from smentry.training.checkpoint import checkpoints, latest_checkpoint
from smentry.training.pytorch.workers import begin
from smentry.training.stop import GracefulStop

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Union

    Directory = Union[str, os.PathLike[str]]

Item = TypeVar("Item")


class AgreedStop:
    """A stop request on which all ranks agree, so that everyone leaves at the same step.

    A signal reaches each rank at another moment, or one rank alone. Here a rank that was asked to stop says so between two
    steps, by an all-reduce of four numbers, and all see it between the same two steps.

        with AgreedStop() as stop:
            for batch in stop.steps(loader):
                train(batch)
            ...  # every rank is here, after the same step

    - `stop` is the GracefulStop that hears of the signals, where there is one already, as it is made before `import torch`.
      Else one is made (in the main thread) with `signals` and `limit`, and closed by `close()`.
    - `every`: agree at every so many steps, and stop there alone. An agreement costs a few messages between the hosts. Where
      gradients are accumulated over so many batches, it is a multiple of that: none is lost then.
    - `timeout`: how many seconds a rank waits for the others. It has to be longer than the longest that one of them does
      something alone, an evaluation, say: who is slow and who is stuck cannot be told apart. A rank that ends, or whose
      `with` block is left by an exception, is not waited for, or not longer than forked workers of it are there (seconds).

    Without torch.distributed, before `init_process_group` and after `destroy_process_group` each process agrees with itself.
    The first agreement after `init_process_group` makes a group of its own, of gloo on the CPU whatever the job's is: no GPU
    is waited for, and what the job sends is not in between.

    All ranks make one, with the same `every`, and call `check`, `agree`, `steps`, `gather`, `together` and
    `latest_checkpoint` in the same order, as any collective. These raise RuntimeError where another rank is gone, has failed
    or does not come in time.

    Raises ValueError for an `every` or a `timeout` that cannot be, and what GracefulStop raises.
    """

    def __init__(
        self,
        stop: GracefulStop | None = None,
        *,
        every: int = 1,
        timeout: float = 7200.0,
        signals: Iterable[int] = (signal.SIGTERM, signal.SIGINT),
        limit: float = float("inf"),
    ) -> None:
        if every < 1:
            raise ValueError(f"every is {every!r}: expected a number of steps, 1 or more")
        if not 0 < timeout < float("inf"):
            raise ValueError(f"timeout is {timeout!r}: expected a number of seconds, more than 0 and finite")
        self._is_own = stop is None
        self._stop = GracefulStop(signals=signals, limit=limit) if stop is None else stop
        self.every, self._timeout = every, timeout
        self._checks = 0
        self._reason: str | None = None
        self._end = float("inf")  # on the monotonic clock, of the stop that was agreed on
        self._group: Any = None
        self._world: Any = None  # the job's group for which ours was made
        self._savers: list[int] = []  # for each rank the one that saves on its host

    # -- what each rank may ask alone --------------------------------------------------------------

    @property
    def requested(self) -> bool:
        """Whether the ranks have agreed on a stop. It changes in an agreement alone: all ranks read the same."""
        return self._reason is not None

    @property
    def reason(self) -> str | None:
        """Why: `SIGTERM`, or `rank 3 was asked to stop` where this one was not. None while nothing was agreed on."""
        return self._reason

    @property
    def seconds_left(self) -> float:
        """How many seconds are left, of all ranks the one that has the least, as of the agreement; before it, of this one."""
        return min(self._stop.seconds_left, max(0.0, self._end - time.monotonic()))

    @property
    def is_asked(self) -> bool:
        """Whether this rank was asked to stop, agreed on or not. Not to be left a loop by: the others may not know yet."""
        return self._stop.requested

    def request(self, reason: str) -> None:
        """Request a stop on this rank, in any thread; the others hear of it in the next agreement."""
        self._stop.request(reason)

    def close(self) -> None:
        """Leave the group, and close the GracefulStop that was made here. Not a collective: others that wait get an error."""
        group, self._group, self._world = self._group, None, None
        if group is not None and dist.is_initialized():
            try:
                dist.destroy_process_group(group)
            except (ValueError, RuntimeError):
                pass  # gone with the job's
        if self._is_own:
            self._stop.close()

    def __enter__(self) -> AgreedStop:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    # -- what all ranks do together ----------------------------------------------------------------

    def check(self) -> bool:
        """Whether to stop, for a loop of one's own: called by all ranks once per step, it agrees at every `every`th call."""
        self._checks += 1
        if self._checks % self.every == 0:
            self._agree()
        return self.requested

    def agree(self) -> bool:
        """Agree now, whatever `every` says; whether to stop."""
        self._agree()
        return self.requested

    def steps(self, iterable: Iterable[Item]) -> AgreedSteps[Item]:
        """The items of each rank's `iterable` until all agree on a stop, or one of them has no more: all get as many.

        Where each rank's data has a length, the least of them is agreed on first, and no item is taken that is not given out.
        Where one has none (an IterableDataset) there is an agreement at each step whatever `every` says, and a rank
        that has more than another takes an item that it does not give out. `complete` of what is returned says
        whether the data of a rank came to its end. The workers of a DataLoader are kept, see `keep_workers`.
        """
        iterator = begin(iterable)
        return AgreedSteps(self, iterator, length_of(iterable), is_own=iterator is not iterable)

    def gather(self, value: Any) -> list[Any]:
        """The `value` of every rank, in the order of the ranks; of this one alone where there are no others. It is pickled."""
        group = self._join()
        if group is None:
            return [value]
        pickled = pickle.dumps(value)  # not all_gather_object(), which needs NumPy
        sizes = [torch.zeros(1, dtype=torch.int64, device="cpu") for _ in range(dist.get_world_size(group))]
        with _waiting(self._timeout):
            dist.all_gather(sizes, torch.tensor([len(pickled)], dtype=torch.int64, device="cpu"), group=group)
            longest = max(int(size) for size in sizes)
            mine = torch.frombuffer(bytearray(pickled.ljust(longest, b"\0")), dtype=torch.uint8)
            values = [torch.empty(longest, dtype=torch.uint8, device="cpu") for _ in sizes]
            dist.all_gather(values, mine, group=group)
        return [pickle.loads(bytes(each.tolist())) for each in values]  # what comes after its end is not looked at

    def together(self, act: Callable[[], Item]) -> list[Item]:
        """What `act()` returns on every rank. Raises what it raises on this one, RuntimeError where it fails on another one."""
        result: Any = None
        failed: Exception | None = None
        try:
            result = act()
        except Exception as error:
            failed = error
        told = None if failed is None else f"{type(failed).__name__}: {failed}"
        found = self.gather((result, told))
        if failed is not None:
            raise failed
        for rank, (_, told) in enumerate(found):
            if told is not None:
                raise RuntimeError(f"rank {rank} failed: {told}")
        return [result for result, _ in found]

    @property
    def is_saver(self) -> bool:
        """Whether this rank saves for its host: its first one, by LOCAL_RANK where the launcher sets it, else by host name."""
        return self.saver == self.rank

    @property
    def saver(self) -> int:
        """The rank that saves for this rank's host."""
        return 0 if self._join() is None else self._savers[self.rank]

    @property
    def rank(self) -> int:
        """The number of this process among all; 0 where there are no others."""
        group = self._join()
        return 0 if group is None else dist.get_rank(group)

    def latest_checkpoint(self, directory: Directory) -> str | None:
        """The newest checkpoint that all hosts have: its path on each rank's own host; None where there is none.

        Of several ranks it is by the `step` that `save_checkpoint` was told, without which none is looked at; alone it is
        `smentry.training.latest_checkpoint`. Raises OSError where a checkpoint cannot be read.
        """
        return self.newest(directory, set())

    def newest(self, directory: Directory, without: set[int]) -> str | None:
        """The same, of other steps than those."""
        if self._join() is None:
            return latest_checkpoint(directory)
        paths: dict[int, str] = {}

        def look() -> list[int]:
            for path, step in checkpoints(directory):
                if step is not None:
                    paths.pop(step, None)  # of a step the last one saved counts, and its place
                    paths[step] = path
            return list(paths)

        found = self.together(look)
        common = [step for step in found[0] if step not in without and all(step in steps for steps in found)]
        if not common and any(found):
            warnings.warn(
                f"no checkpoint in {os.fspath(directory)} is of a step that all hosts have, so there is none to go on from:"
                " some hosts have lost theirs, or keep fewer than two",
                RuntimeWarning,
                stacklevel=2,
            )
        return paths[common[-1]] if common else None

    # -- the agreement -----------------------------------------------------------------------------

    def _agree(self, *, asks: bool = True, ended: bool = False, length: float = 0) -> tuple[bool, float]:
        """Exchange what there is; whether the data of a rank has ended, and the least length."""
        group = self._join()
        local = asks and self._stop.requested
        if group is None:
            if local and self._reason is None:
                self._reason = self._stop.reason
            return ended, length
        rank, size = dist.get_rank(group), dist.get_world_size(group)
        # The greatest of each: the first rank that was asked, whether one has ended, the least time, the least length.
        mine = [float(size - rank if local else 0), float(ended), -self._stop.seconds_left, -length]
        numbers = torch.tensor(mine, dtype=torch.float64, device="cpu")
        with _waiting(self._timeout):
            dist.all_reduce(numbers, op=dist.ReduceOp.MAX, group=group)
        asked, any_ended, left, least = numbers.tolist()
        if asked and self._reason is None:
            self._reason = (self._stop.reason if local else None) or f"rank {size - int(asked)} was asked to stop"
        if asked:
            self._end = min(self._end, time.monotonic() - left)
        return bool(any_ended), -least

    def _join(self) -> Any:
        """The group of ours, made the first time there is somebody to agree with; None for one process."""
        if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
            return None
        if self._group is None or self._world is not dist.group.WORLD:
            with _waiting(self._timeout):
                self._group = dist.new_group(backend="gloo", timeout=datetime.timedelta(seconds=self._timeout))
            self._world = dist.group.WORLD
            self._savers = _savers(self.gather((os.environ.get("LOCAL_RANK"), socket.gethostname())))
        return self._group


class AgreedSteps(Iterator[Item]):
    """The items of a rank's data until all ranks stop, see `AgreedStop.steps`."""

    def __init__(self, stop: AgreedStop, iterator: Iterator[Item], length: int | None, *, is_own: bool) -> None:
        self._stop = stop
        self._iterator: Iterator[Item] | None = iterator
        self._is_own = is_own
        self._length = length
        self._given = 0
        least = stop._agree(length=_UNKNOWN if length is None else length)[1]
        self._is_alone = stop._join() is None
        self._bound = None if least == _UNKNOWN or self._is_alone else least
        self.complete = False
        """Whether the data of a rank came to its end: False while it goes on, and after a stop."""

    def __iter__(self) -> AgreedSteps[Item]:
        """Return itself."""
        return self

    def __next__(self) -> Item:
        """The next item. Raises StopIteration at the end of a rank's data and at an agreed stop, on all ranks at once."""
        iterator = self._iterator
        if iterator is None:
            raise StopIteration
        item = self._looked_for(iterator) if self._bound is None else self._counted(iterator, self._bound)
        if item is _NOTHING:
            self.close()
            raise StopIteration
        self._given += 1
        return item  # type: ignore[no-any-return]

    def _counted(self, iterator: Iterator[Item], bound: float) -> Any:
        """The next item where all know how many there are."""
        if self._given == bound:
            self.complete = True
            if self._length == bound:
                next(iterator, None)  # its own end is for it to see: progress bars, workers that persist
            return _NOTHING
        if self._given and self._given % self._stop.every == 0:
            self._stop.agree()
        if self._stop.requested:
            return _NOTHING
        item = next(iterator, _NOTHING)
        if item is _NOTHING:
            raise RuntimeError(
                f"the data has ended after {self._given} items, and its len() is {self._length}: the other ranks go by"
                " that, so make it right; data without a len() is agreed on at each step"
            )
        return item

    def _looked_for(self, iterator: Iterator[Item]) -> Any:
        """The next item where only the data itself tells whether there is one."""
        stop, asks = self._stop, self._given % self._stop.every == 0
        if stop.requested or (self._is_alone and asks and stop.agree()):
            return _NOTHING
        item = next(iterator, _NOTHING)
        if self._is_alone:
            self.complete = item is _NOTHING
            return item
        self.complete = stop._agree(asks=asks, ended=item is _NOTHING)[0]
        return _NOTHING if self.complete or stop.requested else item

    def close(self) -> None:
        """End it on this rank, and with it the iterator that was made for it: a loader's workers end."""
        iterator, self._iterator = self._iterator, None
        close = getattr(iterator, "close", None) if self._is_own else None
        if close is not None:
            close()


_NOTHING: Any = object()
_UNKNOWN = -1.0
"""The length of what has none, less than any."""


def length_of(iterable: Iterable[Item]) -> int | None:
    """How many items there will be; None where nobody knows, or it is an estimate."""
    if isinstance(getattr(iterable, "dataset", None), torch.utils.data.IterableDataset):
        return None
    try:
        return len(iterable)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return None


def _savers(ranks: list[tuple[str | None, str]]) -> list[int]:
    """For each rank the rank that saves on its host, by what LOCAL_RANK and the host's name are on each."""
    if all(local is not None for local, _ in ranks):  # launchers count the ranks of a host one after another
        first = [number if local == "0" else 0 for number, (local, _) in enumerate(ranks)]
        return [max(first[: number + 1]) for number in range(len(ranks))]
    hosts = [host for _, host in ranks]
    return [hosts.index(host) for host in hosts]


@contextmanager
def _waiting(timeout: float) -> Iterator[None]:
    """Say what it is that went wrong between the ranks."""
    began = time.monotonic()
    try:
        yield
    except RuntimeError as error:
        late = f"another rank did not come within {timeout:g} s (timeout), is it stuck?"
        gone = "another rank has ended or failed: see what it said first."
        raise RuntimeError(
            f"cannot agree with the other ranks: {late if time.monotonic() - began > 0.95 * timeout else gone} {error}"
        ) from error
