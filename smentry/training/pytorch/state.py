"""What a run needs to go on where it was: saved by each host, loaded by each rank. It knows no model and no loop."""

from __future__ import annotations

import copy
import os
import pickle
import re
import warnings
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from smentry.training.checkpoint import save_checkpoint
from smentry.training.pytorch import randomness
from smentry.training.pytorch.agreement import AgreedSteps, AgreedStop, length_of
from smentry.training.pytorch.workers import begin

if TYPE_CHECKING:
    from smentry.training.pytorch.agreement import Directory

Item = TypeVar("Item")


class TrainingState:
    """A run that goes on where it was, in mid-epoch too: its parts, its place in the data, its random numbers.

        with AgreedStop() as stop:
            state = TrainingState("/opt/ml/checkpoints", stop, model=model, optimizer=optimizer, scheduler=scheduler)
            state.load()
            while state.epoch < EPOCHS and not stop.requested:
                sampler.set_epoch(state.epoch)
                for batch in state.steps(loader):
                    train(batch)
                state.save()

    - `parts` have `state_dict()` and `load_state_dict()`. What is wrapped for several ranks (DDP) is given as what it wraps:
      `model.module`. The state dicts are of whole tensors, each rank's the same as that of the others.
    - The first rank of each host saves, with the random numbers of all ranks; `keep` and `name` are `save_checkpoint`'s.
    - Of Python, NumPy (where it is loaded), PyTorch and its current CUDA device the random numbers are kept, and those of the
      generators that the loader or its sampler was given.

    All ranks make one and call `load`, `steps` and `save` in the same order.
    """

    def __init__(
        self,
        directory: Directory,
        stop: AgreedStop,
        /,
        *,
        keep: int | None = 3,
        name: str = "checkpoint.pt",
        **parts: Any,
    ) -> None:
        self.epoch = 0
        """How many epochs are complete: the number of this one, from 0 on."""
        self.batch = 0
        """How many batches of this epoch were given out by `steps`."""
        self.step = 0
        """How many batches were given out in all epochs."""
        self._directory, self._stop, self._parts = directory, stop, parts
        self._keep, self._name = keep, name
        self._loader: object = None
        self._began: dict[str, Any] | None = None  # the random numbers, where this epoch began
        # Where they were at the save or the stop: what is drawn until a loader goes on from there does not count.
        self._loaded: dict[str, Any] | None = None

    def load(self) -> bool:
        """Go on from the newest checkpoint that all hosts have; False where there is none, and nothing is changed.

        With another number of ranks than saved it, random numbers begin anew (RuntimeWarning), and `batch` is what comes next to
        the same place in the data. Raises OSError where it cannot be read, ValueError where it is damaged or not of these
        parts, and what `load_state_dict` raises.
        """
        stop = self._stop
        refused: set[int] = set()
        while True:
            path = stop.newest(self._directory, refused)
            if path is None:
                return False
            reader = _Reader(path)
            saves = stop.together(reader.read)
            content = reader.content
            if len(set(saves)) == 1:
                break
            refused.add(content["step"])  # of the same step, but one of them from before the run went back
        if content["parts"].keys() != self._parts.keys():
            raise ValueError(f"{path} has {_names(content['parts'])}: expected the parts {_names(self._parts)}")
        for name, part in self._parts.items():
            part.load_state_dict(content["parts"][name])
        self.epoch, self.batch, self.step = content["epoch"], content["batch"], content["step"]
        ranks = content["ranks"]
        if len(ranks) == len(saves):
            own = ranks[stop.rank]
            self._began, self._loaded = own["began"], own["now"]
            randomness.restore(own["now"])
        else:
            warnings.warn(
                f"{path} is of {len(ranks)} ranks, these are {len(saves)}: random numbers begin anew",
                RuntimeWarning,
                stacklevel=2,
            )
            self._began = self._loaded = None
            self.batch = self.batch * len(ranks) // len(saves)
        return True

    def save(self) -> str:
        """Save on each host; its path there. Every rank returns when all hosts have saved.

        Call it after a step or an epoch. Raises what `save_checkpoint` and the parts raise on this rank, RuntimeError where
        another rank could not save, and ValueError for tensors of which each rank has a part, and for what `load` would not take.
        """
        stop = self._stop
        now = self._loaded or randomness.states(randomness.of_loader(self._loader))
        ranks = stop.gather((os.urandom(8).hex(), {"began": self._began, "now": now}))
        content = {
            "save": ranks[0][0],  # the same on all hosts
            "epoch": self.epoch,
            "batch": self.batch,
            "step": self.step,
            "ranks": [state for _, state in ranks],
            "parts": {name: _whole(part.state_dict(), name) for name, part in self._parts.items()},
        }

        def write() -> str | None:
            if not stop.is_saver:
                return None
            return save_checkpoint(
                self._directory,
                lambda path: _write(content, path),
                keep=self._keep,
                step=self.step,
                name=self._name,
            )

        paths = stop.together(write)
        return str(paths[stop.saver])

    def steps(self, loader: Iterable[Item], *, skip: bool = True) -> Generator[Item, None, None]:
        """The batches of this epoch that are left, as `AgreedStop.steps` gives them out, and counted.

        In mid-epoch the first `batch` ones are taken from the loader and passed over, with the random numbers with which the
        epoch began: what follows is what would have followed. That takes the loader's time for them; with `skip=False` none is
        passed over, for a loader that begins at `batch` itself.
        """
        steps = self._begin(loader, skip)
        for item in steps:
            self.batch += 1
            self.step += 1
            yield item
        if steps.complete:
            self.epoch += 1
            self.batch = 0
        elif not self.batch and self._began is not None:
            randomness.restore(self._began, randomness.of_loader(loader))  # nothing was given out: nothing was drawn
        if not steps.complete:
            self._loaded = randomness.states(randomness.of_loader(loader))

    def _begin(self, loader: Iterable[Item], skip: bool) -> AgreedSteps[Item]:
        generators = randomness.of_loader(loader)
        now, self._loaded = self._loaded or randomness.states(generators), None
        if self.epoch and self._loader is not loader and getattr(loader, "persistent_workers", False):
            begin(loader)  # such a loader draws a number when it starts its workers, which was in an earlier epoch
        self._loader = loader
        if not self.batch or self._began is None:
            self._began = now
        randomness.restore(self._began if skip else now, generators)
        iterator = begin(loader)
        length = length_of(loader)
        if self.batch and skip:
            for _ in range(self.batch):
                if self._stop.is_asked or next(iterator, self) is self:
                    break
            length = None if length is None else max(0, length - self.batch)
        if self.batch:
            randomness.restore(now, generators)
        return AgreedSteps(self._stop, iterator, length, is_own=iterator is not loader)


class _Reader:
    """Reads a checkpoint, and tells the others no more of it than which save it is of."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.content: dict[str, Any] = {}

    def read(self) -> str:
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
        except (IsADirectoryError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{self.path} was not saved by a TrainingState, or is damaged: give it a directory of its own, or remove"
                f" {os.path.dirname(self.path)} to go on from the one before"
            ) from error
        if not isinstance(content, dict) or not content.keys() >= {"save", "parts", "ranks", "epoch", "batch", "step"}:
            raise ValueError(f"{self.path} was not saved by a TrainingState: give it a directory of its own")
        self.content = content
        return str(content["save"])


def _write(content: dict[str, Any], path: str) -> None:
    """Save it as a file that can be loaded again: what cannot would be found out when there is nothing else any more."""
    try:
        with open(path, "xb") as file:
            torch.save(content, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None  # in its place torch speaks of an "unexpected pos" where the disk is full
        raise
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        raise ValueError(
            f"the state_dict() of a part has {found[1] if found else 'something'} in it, which torch.load(weights_only=True)"
            " does not take: expected tensors, numbers, text and containers of them, or what"
            " torch.serialization.add_safe_globals() was told of"
        ) from error


def _whole(value: Any, name: str) -> Any:
    """A state dict with numbers in the place of NumPy's, which are not loaded again; unless other ranks have parts of it."""
    if isinstance(value, dict):
        found = {key: _whole(each, f"{name}.{key}") for key, each in value.items()}
        if any(found[key] is not each for key, each in value.items()):
            value = copy.copy(value)  # of its own type, and with what is attached to it
            for key, each in found.items():
                value[key] = each
    elif type(value) in (list, tuple):
        value = type(value)(_whole(each, name) for each in value)
    elif isinstance(value, torch.Tensor):
        if type(value).__name__ in ("DTensor", "ShardedTensor"):
            raise ValueError(
                f"{name} is sharded over ranks: expected whole tensors, as get_model_state_dict() and"
                " get_optimizer_state_dict() give with StateDictOptions(full_state_dict=True)"
            )
    elif type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()
    return value


def _names(parts: dict[str, Any]) -> str:
    return ", ".join(sorted(parts)) or "no parts"
