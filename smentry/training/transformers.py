"""transformers: a Trainer that saves at a stop, and goes on from what is whole. It knows no model, and starts nothing."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from smentry.training.checkpoint import MANIFEST, complete_name, finish
from smentry.training.pytorch import AgreedStop, keep_workers, randomness

if TYPE_CHECKING:
    from typing import Union

    from transformers import TrainerControl, TrainerState, TrainingArguments

    from smentry.training.stop import GracefulStop

    Directory = Union[str, os.PathLike[str]]

_NAME = re.compile(r"checkpoint-(\d+)")
_STATE = "trainer_state.json"
"""What the Trainer writes last into a checkpoint."""


class SaveOnStop(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """At a stop: the optimizer's step is finished, the Trainer saves a checkpoint, and `train()` returns.

        with GracefulStop() as stop:  # before `import transformers`
            saver = SaveOnStop(stop)
            trainer = Trainer(model, args, callbacks=[saver], ...)
            trainer.train(resume_from_checkpoint=saver.latest_checkpoint(args.output_dir))
            trainer.save_model("/opt/ml/model")

    - `stop` is a GracefulStop or, to say how several ranks agree, an `AgreedStop`; all ranks leave after the same step.
    - A stop in the middle of a gradient accumulation waits for its end. An evaluation that is due at the step of the stop
      is not done, and what comes during an evaluation is seen at the end of the next step.
    - Each checkpoint of the Trainer, at a stop or by `save_strategy`, is written to disk and gets a `complete.json` when all
      ranks have written theirs. `latest_checkpoint` goes by it.

    The Trainer raises ValueError at its start where a checkpoint could not be gone on from (`save_only_model`), or where its
    own handler of SIGTERM would take the place of ours (`enable_jit_checkpoint`).
    """

    def __init__(self, stop: GracefulStop | AgreedStop) -> None:
        self._stop = stop if isinstance(stop, AgreedStop) else AgreedStop(stop)
        self._marked: set[int] = set()  # steps that this run will come to again, marked by another one
        self._random: dict[str, Any] | None = None  # before the evaluation, if there is one

    def latest_checkpoint(self, directory: Directory) -> str | None:
        """The last checkpoint of a Trainer's `output_dir` that is complete, on all hosts; None where there is none.

        What `resume_from_checkpoint` takes. All ranks call it, after `TrainingArguments` was made: it is what joins them.
        Where none has a `complete.json`, as it was made without this callback, it is the last one to whose end the Trainer came.
        Raises OSError where a checkpoint cannot be read: to begin anew then would be worse.
        """
        found: dict[int, str] = {}

        def look() -> set[int]:
            there = _checkpoints(directory)
            found.update((step, path) for step, path in there if complete_name(path))
            if not found:
                found.update((step, path) for step, path in there if _has_end(path))
            return set(found)

        common = set.intersection(*self._stop.together(look))
        return found[max(common)] if common else None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Refuse what cannot work; keep the workers of the loader, see `keep_workers`."""
        keep_workers(others.get("train_dataloader"))
        if getattr(args, "enable_jit_checkpoint", False):
            raise ValueError(
                "enable_jit_checkpoint=True installs a handler for SIGTERM in the place of GracefulStop's:"
                " leave it out, SaveOnStop does what it is for"
            )
        if args.save_only_model:
            raise ValueError(
                "save_only_model=True leaves the optimizer out of checkpoints, so that no run can go on from one:"
                " leave it out, or leave SaveOnStop out"
            )
        self._marked = {
            step for step, path in _checkpoints(args.output_dir) if step > state.global_step and complete_name(path)
        }

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Agree on a stop, after each step of the optimizer."""
        if args.should_save and state.global_step in self._marked:
            _unmark(_place(args, state))  # it may be written over now, and is not whole meanwhile
        if self._stop.check():
            control.should_training_stop = True
            control.should_save = True
            control.should_log = True  # the loss since the last time, which a checkpoint does not keep
            control.should_evaluate = False
        self._random = randomness.states() if control.should_evaluate else None

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """What is due at the end of an epoch is not due at a stop in the middle of one."""
        if self._stop.requested:
            control.should_save = control.should_log = control.should_evaluate = False
        self._random = randomness.states() if control.should_evaluate else None

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Let the training have the random numbers that it has without an evaluation: at a stop one may be left out."""
        if self._random is not None:
            randomness.restore(self._random)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """What is evaluated afterwards is none of the training's."""
        self._random = None

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Mark the checkpoint as complete, once every rank has written its part of it."""
        self._stop.gather(None)
        if args.should_save:
            place = _place(args, state)
            if os.path.isdir(place):  # not where a search gives each trial a directory of its own
                _unmark(place)
                finish(place, ".", state.global_step)


def _place(args: TrainingArguments, state: TrainerState) -> str:
    return os.path.join(os.path.abspath(args.output_dir), f"checkpoint-{state.global_step}")


def _checkpoints(directory: Directory) -> list[tuple[int, str]]:
    """The step and the path of every checkpoint of a Trainer, complete or not."""
    directory = os.path.abspath(os.fspath(directory))
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return [(int(match[1]), os.path.join(directory, match[0])) for match in map(_NAME.fullmatch, names) if match]


def _has_end(path: str) -> bool:
    """Whether the Trainer has come to the end of writing it."""
    try:
        with open(os.path.join(path, _STATE), encoding="utf-8") as file:
            json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    return True


def _unmark(place: str) -> None:
    try:
        os.unlink(os.path.join(place, MANIFEST))
    except FileNotFoundError:
        pass
