"""XGBoost: a training that a stop ends between two rounds, and that goes on from there. It launches nothing."""

from __future__ import annotations

import copy
import json
import os
from typing import TYPE_CHECKING, Any

import numpy
import xgboost
from xgboost import collective

from smentry.training.checkpoint import latest_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from typing import Union

    from smentry.training.stop import GracefulStop

    Directory = Union[str, os.PathLike[str]]
    Scores = dict[str, dict[str, list[float]]]

MODEL, STATE = "model.ubj", "state.json"
"""What is in a checkpoint: the model, and how many rounds were done with which scores."""


class SaveOnStop(xgboost.callback.TrainingCallback):  # type: ignore[misc,unused-ignore]
    """At a stop: the round is finished, a checkpoint saved, and `train` returns; at the next start it goes on from there.

        with GracefulStop() as stop:  # before `import xgboost`
            saver = SaveOnStop(stop, "/opt/ml/checkpoints", every=100)
            booster = xgboost.train(params, data, num_boost_round=1000, callbacks=[saver])
            booster.save_model("/opt/ml/model/model.ubj")

    `num_boost_round` stays what it is. At the next start the rounds that were done are not trained again: the other
    callbacks go through them in a moment, with the scores of then. So early stopping, learning rates by round and
    `evals_result` come out as in a training that was not interrupted, wherever in `callbacks` this one is.

    - `directory` is where the checkpoints are, of this training alone: below `/opt/ml/checkpoints`, which the platform keeps.
    - `every`: save after every so many rounds too; None: at a stop and at the end of the training only.
    - `keep`: how many checkpoints are kept.

    With several workers (`xgboost.collective`) all of them have one, with the same `every`: they agree after each round by an
    all-reduce, the first worker saves, and at a start who has the newest checkpoint gives it to all.

    It serves one training: RuntimeError in a second one, or in a copy (a scikit-learn search makes them). Raises ValueError
    from `train` for `xgboost.cv`, which keeps its boosters to itself, and for a checkpoint that is none of this training's;
    OSError where one cannot be read or saved.
    """

    def __init__(
        self, stop: GracefulStop, directory: Directory, *, every: int | None = None, keep: int | None = 3
    ) -> None:
        super().__init__()
        if every is not None and every < 1:
            raise ValueError(f"every is {every!r}: expected a number of rounds, 1 or more, or None")
        self._stop: GracefulStop | None = stop
        self._directory, self._every, self._keep = os.path.abspath(os.fspath(directory)), every, keep
        self._is_used = False
        self._base = 0  # rounds of the model that this training began with (`xgb_model`)
        self._resumed = self._done = self._saved = 0
        self._scores: Scores = {}
        self.stopped = False
        """Whether a stop has ended the training: there are rounds left for the next start."""

    @property
    def rounds_done(self) -> int:
        """How many rounds are done, those of former starts included."""
        return self._done

    # -- what the library calls --------------------------------------------------------------------

    def before_training(self, model: Any) -> Any:
        """Load the last checkpoint, where there is one."""
        if self._is_used:
            raise RuntimeError(
                "this SaveOnStop was used for a training already, or is a copy of one:"
                " make a new one for each training, with a directory of its own"
            )
        if not isinstance(model, xgboost.Booster):
            raise ValueError(
                "xgboost.cv cannot go on after a stop: it keeps the boosters of its folds to itself."
                " Train each fold with xgboost.train and a SaveOnStop of its own, or leave the callback out"
            )
        self._is_used = True
        self._base = model.num_boosted_rounds()
        found = self._newest()
        if found is None:
            return model
        state, raw = found
        if state["base"] != self._base:
            raise ValueError(
                f"the checkpoint in {self._directory} is of a training that began with a model of {state['base']} rounds,"
                f" this one begins with {self._base}: give each training a directory of its own"
            )
        generic = self._load(model, raw)
        self._resumed = self._done = self._saved = state["rounds"]
        self._scores = state["scores"]
        if generic.get("seed_per_iteration") != "1":
            # The state of XGBoost's random numbers is in no checkpoint. With the same seed the samples of the first
            # rounds would be drawn again, after each stop the same ones.
            model.set_param({"seed": int(generic["seed"]) + self._resumed})
        if self._resumed:
            _Replay.begin(model, self._base, self._resumed, self._scores)
        return model

    def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """End the replay when its rounds are over; end the training where a stop was requested before its first round."""
        if isinstance(model, _Replay):
            if epoch < self._resumed:
                model.show(epoch)
                return False
            model.end()
        if epoch == self._resumed and self._agree():
            self.stopped = True
        return self.stopped

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Save and end the training where a stop was requested."""
        if isinstance(model, _Replay):
            return False
        self._done, self._scores = epoch + 1, evals_log
        self.stopped = self._agree()
        if self.stopped or (self._every is not None and self._done % self._every == 0):
            self._save(model)
        return self.stopped

    def after_training(self, model: Any) -> Any:
        """Save what was not saved yet; the model."""
        if isinstance(model, _Replay):
            model = model.end()  # all rounds were done, or fewer are asked for than there are
        elif self._done > self._saved and model.num_boosted_rounds() == self._base + self._done:
            self._save(model)  # not what EarlyStopping(save_best=True) has cut
        return model

    def __getstate__(self) -> dict[str, Any]:
        """For a pickle of the estimator that it was given to: its settings, but it serves no training any more."""
        return {**self.__dict__, "_stop": None, "_is_used": True, "_scores": {}}

    # -- checkpoints -------------------------------------------------------------------------------

    def _agree(self) -> bool:
        """Whether a stop was requested of any of the workers."""
        requested = self._stop is not None and self._stop.requested
        if collective.is_distributed():
            return bool(collective.allreduce(numpy.array([int(requested)]), collective.Op.MAX)[0])
        return requested

    def _save(self, model: Any) -> None:
        self._saved = self._done
        if collective.get_rank() != 0:
            return

        def write(path: str) -> None:
            os.mkdir(path)
            model.save_model(os.path.join(path, MODEL))
            with open(os.path.join(path, STATE), "x", encoding="utf-8") as file:
                json.dump({"base": self._base, "rounds": self._done, "scores": self._scores}, file)

        save_checkpoint(self._directory, write, keep=self._keep, step=self._done, name="xgboost")

    def _load(self, model: Any, raw: bytearray) -> dict[str, str]:
        """Load a model into a booster, which loses its parameters by that, and give it them back; the general ones."""
        config = json.loads(model.save_config())
        model.load_model(raw)
        loaded = json.loads(model.save_config())
        ours, theirs = config["learner"], loaded["learner"]
        for part in ("gradient_booster", "objective"):
            if ours[part]["name"] != theirs[part]["name"]:
                raise ValueError(
                    f"the checkpoint in {self._directory} is of a training with {theirs[part]['name']}, this one is with"
                    f" {ours[part]['name']}: go on with the same, or begin anew in another directory"
                )
        _keep_model(ours, theirs)
        model.load_config(json.dumps(config))
        linear = ours["gradient_booster"].get("updater", {})
        if isinstance(linear, dict) and "linear_train_param" in linear:
            model.set_param(linear["linear_train_param"])  # load_config passes over these
        generic: dict[str, str] = ours["generic_param"]
        return generic

    def _newest(self) -> tuple[dict[str, Any], bytearray] | None:
        """The state and the model of the last checkpoint, of all workers the one that has done most."""
        path = latest_checkpoint(self._directory)
        found = None if path is None else _read(path)
        if not collective.is_distributed():
            return found
        rounds = numpy.zeros(collective.get_world_size(), dtype=numpy.int64)
        rounds[collective.get_rank()] = 0 if found is None else found[0]["rounds"]
        rounds = collective.allreduce(rounds, collective.Op.MAX)
        if not rounds.any():
            return None
        given: tuple[dict[str, Any], bytearray] = collective.broadcast(found, int(rounds.argmax()))
        return given


class _Replay(xgboost.Booster):  # type: ignore[misc,unused-ignore]
    """A booster while the rounds are gone through that it has already: it trains nothing, and has the scores of then.

    `xgboost.train` counts its rounds from 0 whatever the model has, and so do its callbacks: early stopping begins anew
    where it is not shown what was. The class of the very object is changed, as `train` has the parameters in it.
    """

    _at: tuple[int, int, Scores, int]  # rounds before this training, those done in it, their scores, those shown

    @classmethod
    def begin(cls, model: Any, base: int, rounds: int, scores: Scores) -> None:
        """Make a replay of a booster."""
        model._at = (base, rounds, scores, 0)
        model.__class__ = cls

    def show(self, number: int) -> None:
        """Be as after the round of this number, counted from 0."""
        self._at = (*self._at[:3], number + 1)

    def end(self) -> Any:
        """Be a booster as others are; what is left is it, or as many rounds of it as were shown."""
        _, rounds, _, shown = self._at
        model = self._so_far() if shown < rounds else self
        del self._at
        self.__class__ = xgboost.Booster
        return model

    def update(self, *_: Any, **__: Any) -> None:
        """Nothing: it has this round."""

    def eval_set(self, evals: Any, iteration: int = 0, *_: Any, **__: Any) -> str:
        """The scores that it had after this round, as `Booster.eval_set` writes them."""
        scores = self._at[2]
        names = sorted(name for _, name in evals)
        if names != sorted(scores):
            raise ValueError(
                f"the checkpoint has scores of {sorted(scores)}, this training's evals are {names}:"
                " go on with the same, or begin anew in another directory"
            )
        words = [
            f"{data}-{metric}:{values[iteration]!r}"
            for data, metrics in scores.items()
            for metric, values in metrics.items()
        ]
        return "\t".join([f"[{iteration}]", *words])

    def num_boosted_rounds(self) -> int:
        """How many rounds there were after this one."""
        return self._at[0] + self._at[3]

    def save_model(self, fname: Any) -> None:
        """Save the model as it was after this round: a callback that saves does so under its number."""
        self._so_far().save_model(fname)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle the model as it was after this round."""
        return copy.copy, (self._so_far(),)

    def _so_far(self) -> Any:
        """A booster of the rounds until this one."""
        rounds = self.num_boosted_rounds()
        model = self[0:rounds] if rounds else self[...]
        model.set_attr(**self.attributes())
        return model


def _keep_model(ours: dict[str, Any], loaded: dict[str, Any]) -> None:
    """Take into a configuration from the loaded one what belongs to the model."""
    for key, value in ours.items():
        if key in ("learner_model_param", "gbtree_model_param"):
            ours[key] = loaded[key]
        elif isinstance(value, dict) and key in loaded:
            _keep_model(value, loaded[key])


def _read(path: str) -> tuple[dict[str, Any], bytearray]:
    try:
        with open(os.path.join(path, STATE), encoding="utf-8") as file:
            state: dict[str, Any] = json.load(file)
        with open(os.path.join(path, MODEL), "rb") as data:
            return state, bytearray(data.read())
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(
            f"{path} was not saved by smentry.training.xgboost: give each training a directory of its own"
        ) from None
