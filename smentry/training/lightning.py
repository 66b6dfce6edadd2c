"""Lightning: a Trainer that saves at a stop, and goes on in the middle of an epoch. It knows no model, and starts nothing."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from smentry.training.checkpoint import save_checkpoint
from smentry.training.pytorch import AgreedStop, randomness, workers
from smentry.training.stop import GracefulStop

if TYPE_CHECKING:
    from typing import Union

    from lightning.pytorch import Callback, LightningModule, Trainer

    Directory = Union[str, os.PathLike[str]]
elif "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:  # two packages of one library
    from pytorch_lightning import Callback
else:
    try:
        from lightning.pytorch import Callback
    except ImportError:
        from pytorch_lightning import Callback

_NAME = "lightning.ckpt"
_NO_MORE = "You're resuming from a checkpoint that ended before the epoch ended and your dataloader is not resumable"
"""What Lightning says of a loader without a `state_dict`, and is not so here."""


class SaveOnStop(Callback):  # type: ignore[misc,unused-ignore]
    """At a stop: the optimizer's step is finished, a checkpoint saved, and `fit()` returns; the next run goes on from there.

        with GracefulStop() as stop:  # before `import lightning`
            saver = SaveOnStop(stop, "/opt/ml/checkpoints")
            trainer = Trainer(max_epochs=10, callbacks=[..., saver])
            trainer.fit(model, ckpt_path=saver.latest_checkpoint())
            trainer.save_checkpoint("/opt/ml/model/model.ckpt", weights_only=True)

    - `stop` is a GracefulStop or, to say how several ranks agree, an `AgreedStop`; all ranks leave after the same batch.
    - `directory`: there checkpoints are saved as `smentry.training.save_checkpoint` does, `keep` of them, on each host: at
      a stop, and at the end of each epoch or, where `every` is given, after so many steps of the optimizer.
    - A stop in the middle of a gradient accumulation waits for its end. A validation that is due then is not done, whatever
      `min_epochs` and `min_steps` say. A stop that comes during a validation is seen at the end of the next step.
    - In each checkpoint of the Trainer, those of ModelCheckpoint included, is where the data and the random numbers of each
      rank were. To go on in mid-epoch the loader is begun as it was then, and what was trained with is passed over. A
      loader with a `state_dict` of its own is left to Lightning.
    - Lightning's own handler of SIGTERM, which ends `fit()` by an exception and saves nothing, is not called. Workers of
      loaders are kept, see `keep_workers`.

    Raises ValueError for an `every` or a `keep` below 1.
    """

    def __init__(
        self, stop: GracefulStop | AgreedStop, directory: Directory, *, every: int | None = None, keep: int | None = 3
    ) -> None:
        for name, value in (("every", every), ("keep", keep)):
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value!r}: expected 1 or more, or None")
        self._stop = stop if isinstance(stop, AgreedStop) else AgreedStop(stop)
        self._directory = os.path.abspath(os.fspath(directory))
        self._every, self._keep = every, keep
        self._trainer: Trainer | None = None
        self._loaders: list[_Loader] = []
        self._has_trained = False
        self._resumed: list[dict[str, Any]] = []  # for each loader, where a checkpoint had it on this rank
        self._from: int | None = None  # the step of the checkpoint that was loaded
        self._signals: GracefulStop | None = None
        self._step = self._saved = 0  # of the optimizer: after the last batch, at the last save
        self._told: tuple[Any, ...] | None = None  # what the Trainer was told by others, while it stops
        self._is_saving = False
        self._is_due = False  # whether a save waits for the end of the epoch
        self._dumped: dict[str, Any] = {}
        self._random: dict[str, Any] | None = None  # before the validation, if there is one

    def latest_checkpoint(self) -> str | None:
        """What `fit(ckpt_path=…)` takes: the newest checkpoint that all hosts have; None where there is none.

        All ranks call it. Several hosts agree on one where `init_process_group` was called before; else each rank looks for
        itself, which on one host is the same. Raises OSError where a checkpoint cannot be read.
        """
        return self._stop.latest_checkpoint(self._directory)

    # -- the data and the random numbers -----------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have what the loaders give to the training counted."""
        self._trainer, self._resumed, self._from = trainer, [], None
        if stage == "fit":
            strategy: Any = trainer.strategy
            vars(strategy).pop("process_dataloader", None)
            process = strategy.process_dataloader
            # What a strategy does to a loader is the one place where Lightning lets somebody have it.
            strategy.process_dataloader = lambda loader: self._count(process(loader))
            warnings.filterwarnings("ignore", message=_NO_MORE)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the strategy and the signals as they were."""
        vars(trainer.strategy).pop("process_dataloader", None)
        self._give_back()

    def _count(self, loader: Any) -> Any:
        assert self._trainer is not None
        workers.keep_workers(loader)
        if not self._trainer.training or (hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")):
            return loader
        if self._has_trained:  # these take the place of others
            self._loaders, self._has_trained = [], False
        self._loaders.append(_Loader(self, len(self._loaders), loader))
        return self._loaders[-1]

    def state_dict(self) -> dict[str, Any]:
        """Where the data and the random numbers of all ranks are. Lightning has all ranks call it for a checkpoint."""
        trainer = self._trainer
        trained = 0 if trainer is None or trainer.is_last_batch else trainer.fit_loop.batch_idx + 1
        return {"ranks": self._stop.gather([loader.place(trained) for loader in self._loaders])}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Have the loaders go on from there, when the training begins."""
        assert self._trainer is not None
        ranks = state_dict["ranks"]
        if len(ranks) == self._trainer.world_size:
            self._resumed = ranks[self._trainer.global_rank]
        else:
            warnings.warn(
                f"the checkpoint is of {len(ranks)} ranks, and there are {self._trainer.world_size}: the data of an epoch"
                " begins at its first batch, and random numbers anew",
                RuntimeWarning,
                stacklevel=2,
            )

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember which it is."""
        self._from = checkpoint["global_step"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise RuntimeError where the ranks go on from different checkpoints: they would wait for each other for ever."""
        steps = self._stop.gather(self._from)
        if len(set(steps)) > 1:
            raise RuntimeError(
                f"the ranks go on from checkpoints of different steps, {', '.join(map(str, steps))}:"
                " call latest_checkpoint() after init_process_group, for then they agree on one"
            )

    def resumed(self, index: int) -> dict[str, Any] | None:
        """Where a loader is to go on; said once."""
        if index >= len(self._resumed):
            return None
        found, self._resumed[index] = self._resumed[index], {}
        return found or None

    @property
    def is_past_first_epoch(self) -> bool:
        """Whether the training is in its second epoch or a later one."""
        return self._trainer is not None and self._trainer.current_epoch > 0

    # -- the stop ----------------------------------------------------------------------------------

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See `on_train_start`."""
        self._take_signals()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take SIGTERM from Lightning, which has a handler for it since a moment ago, and in it waits for other ranks."""
        self._take_signals()
        self._step = self._saved = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After a step of the optimizer: agree on a stop, and save."""
        self._has_trained = True
        self._random = randomness.states() if trainer.enable_validation else None
        if self._told is not None or not self._has_stepped(trainer, pl_module, batch_idx):
            return
        if self._signals is not None and self._signals.requested:
            self._stop.request(str(self._signals.reason))
        is_stopped = self._stop.check()
        if is_stopped or (self._every is not None and trainer.global_step - self._saved >= self._every):
            # From the last batch of an epoch Lightning (2.6) goes on without counting the next one as begun, and what is
            # saved in the middle of that loses its place. From the end of the epoch it does.
            self._is_due = trainer.is_last_batch
            if not self._is_due:
                self._save(trainer)
        if is_stopped:
            loop = trainer.fit_loop
            self._told = (loop.min_epochs, loop.epoch_loop.min_steps, trainer.limit_val_batches)
            loop.min_epochs, loop.epoch_loop.min_steps, trainer.limit_val_batches = 0, 0, 0
            trainer.should_stop = True

    def _has_stepped(self, trainer: Trainer, pl_module: LightningModule, batch_idx: int) -> bool:
        before, self._step = self._step, trainer.global_step
        if trainer.is_last_batch or self._step != before:
            return True
        # Without a loss there is no step, and a loop of one's own may accumulate as it likes.
        return bool(pl_module.automatic_optimization and (batch_idx + 1) % trainer.accumulate_grad_batches == 0)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the training have the random numbers that it has without a validation: at a stop one may be left out."""
        if self._random is not None and not trainer.sanity_checking:
            randomness.restore(self._random)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, where it is not done by steps, or was left to the end of the epoch."""
        if self._is_due or (self._told is None and self._every is None):
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the Trainer have back what it was told, for what comes after."""
        if self._told is not None:
            loop = trainer.fit_loop
            loop.min_epochs, loop.epoch_loop.min_steps, trainer.limit_val_batches = self._told
            self._told = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self._give_back()

    def _take_signals(self) -> None:
        if self._signals is None and threading.current_thread() is threading.main_thread():
            self._signals = GracefulStop(signals=[signal.SIGTERM])  # what it hears, the user's hears too

    def _give_back(self) -> None:
        signals, self._signals = self._signals, None
        if signals is not None:
            signals.close()

    # -- saving ------------------------------------------------------------------------------------

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep what Lightning saves, for the hosts on which it does not."""
        if self._is_saving:
            self._dumped = checkpoint

    def _save(self, trainer: Trainer) -> None:
        """Save on each host. All ranks are in it: each may have a part of the model."""
        self._saved, self._is_saving, self._is_due = trainer.global_step, True, False
        try:
            if self._stop.is_saver:
                write = lambda path: self._write(trainer, path)  # noqa: E731
                save_checkpoint(self._directory, write, keep=self._keep, step=self._saved, name=_NAME)
            else:
                # Rank 0 alone writes it, at its own path.
                trainer.save_checkpoint(os.path.join(self._directory, _NAME))
        finally:
            self._is_saving, self._dumped = False, {}

    def _write(self, trainer: Trainer, path: str) -> None:
        trainer.save_checkpoint(path)
        if not os.path.exists(path):
            trainer.strategy.checkpoint_io.save_checkpoint(self._dumped, path)


class _Loader:
    """A data loader that counts what it gives, and can go on where another one was. For the rest it is that loader."""

    def __init__(self, owner: SaveOnStop, index: int, loader: Any) -> None:
        vars(self).update(_owner=owner, _index=index, _loader=loader, _began=None, _given=0)

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":  # a copy that is being made
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._loader, name, value)

    def __len__(self) -> int:
        return len(self._loader)

    def place(self, trained: int) -> dict[str, Any]:
        """Where it is: how many batches were given, and the random numbers before the first of them and now.

        Of those that were given no more than were `trained` with: one may have been fetched ahead.
        """
        now = randomness.states(randomness.of_loader(self._loader))
        given = min(self._given, trained)
        return {"given": given, "began": self._began if given else now, "now": now}

    def __iter__(self) -> Iterator[Any]:
        # Done at the first item: Lightning asks for the iterator before it has told the sampler the epoch.
        loader, own = self._loader, vars(self)
        generators = randomness.of_loader(loader)
        resumed = self._owner.resumed(self._index)
        if resumed is None:
            own.update(_began=randomness.states(generators), _given=0)
            iterator = workers.begin(loader)
        else:
            if self._owner.is_past_first_epoch and getattr(loader, "persistent_workers", False):
                # Such a loader draws a number when it starts its workers, which was in the first epoch.
                workers.begin(loader)
            own.update(_began=resumed["began"], _given=resumed["given"])
            randomness.restore(resumed["began"], generators)
            iterator = workers.begin(loader)
            for _ in range(resumed["given"]):
                next(iterator, None)
            if resumed["given"]:
                randomness.restore(resumed["now"], generators)
        for item in iterator:
            own["_given"] += 1
            yield item
