"""Keras 3: a `fit` that a stop ends between two batches, and that goes on from there. It knows no backend."""

from __future__ import annotations

import json
import math
import os
import random
import sys
from typing import TYPE_CHECKING, Any

import keras
import numpy

from smentry.training.checkpoint import latest_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Union

    from smentry.training.stop import GracefulStop

    Directory = Union[str, os.PathLike[str]]
    Arrays = dict[str, Any]

WEIGHTS, ARRAYS, STATE = "model.weights.h5", "state.npz", "state.json"
"""What is in a checkpoint: the model with its optimizer; metrics and states of random numbers; where in the training it is."""

_KEPT = ("wait", "best", "best_epoch", "best_weights", "cooldown_counter")
"""What Keras' callbacks that wait for something better know, and forget at the start of a `fit`."""


class SaveOnStop(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
    """At a stop: the batch is finished, a checkpoint saved, and `fit` returns; at the next start it goes on from there.

        with GracefulStop() as stop:  # before `import keras`
            early = keras.callbacks.EarlyStopping(patience=3)
            saver = SaveOnStop(stop, "/opt/ml/checkpoints", keeping=[early])
            model.fit(x, y, epochs=20, callbacks=[saver, early])
            model.save("/opt/ml/model/model.keras")

    `epochs` stays what it is, and the history is that of the whole training. What was trained of an epoch is not trained
    again: the batches that were done are read, in the same order, and passed over. A checkpoint has the weights, the
    optimizer, the metrics, and the states of the random numbers of Python, numpy and PyTorch.

    - `stop` is the GracefulStop that hears of the signals.
    - `directory` is where the checkpoints are, of this training alone: below `/opt/ml/checkpoints`, which the platform keeps.
    - `every`: save after every so many batches of an epoch too (calls of the train function, where `steps_per_execution` is
      more than 1). There is a checkpoint after each epoch, whatever it is.
    - `keep`: how many checkpoints are kept; None: all.
    - `keeping`: callbacks whose state is kept as well: EarlyStopping, ReduceLROnPlateau, ModelCheckpoint.

    It is the first of `callbacks`. A stop in the middle of an epoch ends the epoch there, and its validation: what that would
    have come to is NaN for the other callbacks, so that none takes it for the best. The model is built before `fit`,
    or by it. `fit` runs in one process.

    It serves one `fit`: RuntimeError in a second one. Raises from `fit` ValueError for a checkpoint that is none of this
    training's, and OSError where one cannot be read or saved.
    """

    def __init__(
        self,
        stop: GracefulStop,
        directory: Directory,
        *,
        every: int | None = None,
        keep: int | None = 3,
        keeping: Iterable[Any] = (),
    ) -> None:
        super().__init__()
        if every is not None and every < 1:
            raise ValueError(f"every is {every!r}: expected a number of batches, 1 or more, or None")
        self._stop, self._every, self._keep, self._keeping = stop, every, keep, list(keeping)
        self._directory = os.path.abspath(os.fspath(directory))
        self._fit: Any = None  # the model, while it is in `fit`
        self._is_used = False
        self._resumed: dict[str, Any] | None = None  # what is still to be given back of a checkpoint
        self._arrays: Arrays = {}
        self._train: Callable[..., Any] | None = None  # the model's train function, while another one is in its place
        self._to_pass = 0  # batches of this epoch that are still to be passed over
        self._has_passed = False
        self._is_validating = False  # whether the checkpoint is of a validation, and this one has not begun
        self._epoch = self._batch = 0  # where the training is: in this epoch, so many batches of it done
        self._is_new = False  # whether that is further than the last checkpoint
        self._begun: Arrays = {}  # the random numbers at the start of the epoch
        self._trained: Arrays | None = None  # the metrics and random numbers after training, during a validation
        self.stopped = False
        """Whether a stop has ended the training: there is some left for the next start."""

    # -- what Keras calls, in this order -----------------------------------------------------------

    def on_train_begin(self, logs: Any = None) -> None:
        """Load the last checkpoint, where there is one."""
        if self._is_used:
            raise RuntimeError(
                "this SaveOnStop was used for a fit already: make a new one for each, with a directory of its own"
            )
        self._is_used = True
        model = self._fit = self.model
        path = latest_checkpoint(self._directory)
        if path is None:
            return
        self._resumed, self._arrays = _read(path)
        if not model.built:
            raise ValueError("the model is not built, so no checkpoint can be loaded: call it on a batch before fit")
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        model.load_weights(os.path.join(path, WEIGHTS))
        _set(_seeds(model), _series(self._arrays, "seed"), "other random layers")
        self._epoch, self._batch = self._resumed["epoch"], self._resumed["batch"]
        if self._resumed["is_over"]:
            self._epoch = max(self._epoch, self.params["epochs"])
        model._initial_epoch = self._epoch  # as keras.callbacks.BackupAndRestore does
        model.history.history.update(self._resumed["history"])

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Save the end of the epoch before, when every other callback has seen it."""
        if self._resumed is not None:
            self._go_on(epoch, self._resumed)
            return
        if self._is_new:
            self._save(epoch, 0)
        self._epoch, self._batch = epoch, 0
        self._begun = _random_numbers()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save and end the training where a stop was requested."""
        if self._to_pass:
            if not self._has_passed:
                raise RuntimeError(
                    "this version of Keras trains without model.train_function: no batch can be passed over,"
                    " so a training that was stopped in the middle of an epoch cannot go on"
                )
            self._to_pass -= 1
        else:
            self._batch += 1
            self._is_new = True
        if self._stop.requested:
            self._end()
        elif self._is_new and self._every is not None and self._batch % self._every == 0:
            self._save(self._epoch, self._batch)

    def on_test_begin(self, logs: Any = None) -> None:
        """Keep what the training has come to, over a validation."""
        if self._fit is not None:
            if self._is_validating:
                self._is_validating = False
                _set_random_numbers(self._arrays, "now")
            self._trained = self._now()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Cut a validation short."""
        if self._fit is not None and self._stop.requested:
            self._end()
            self._fit.stop_evaluating = True

    def on_test_end(self, logs: Any = None) -> None:
        """A validation that has come to its end counts."""
        self._trained = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Let nobody take what was cut short for a result."""
        if self.stopped:
            for name in logs or ():
                if name.startswith("val_"):
                    logs[name] = math.nan
        elif self._to_pass:
            raise ValueError(
                f"the data of epoch {epoch} has {self._to_pass} batches fewer than were trained before the stop:"
                " go on with the same, or begin anew in another directory"
            )

    def on_train_end(self, logs: Any = None) -> None:
        """Save the end, unless it is in the middle of an epoch."""
        model = self._fit
        model._initial_epoch = None
        if self._train is not None:
            model.train_function = self._train
        if self._resumed is not None:  # no epoch was left
            self._give_back(self._resumed)
        elif self._is_new and not self.stopped:
            self._save(self._epoch + 1, 0, is_over=model.stop_training)
        self._fit = None

    # -- going on ----------------------------------------------------------------------------------

    def _go_on(self, epoch: int, resumed: dict[str, Any]) -> None:
        """At the start of the first epoch: be where the checkpoint was."""
        if epoch != self._epoch:
            raise RuntimeError(
                f"the checkpoint is of epoch {self._epoch}, but this fit begins with {epoch}: leave its initial_epoch out"
            )
        model, self._is_validating = self._fit, resumed["is_validating"]
        model._initial_epoch = None
        self._give_back(resumed)
        if not self._batch:
            _set_random_numbers(self._arrays, "now")
            self._begun = _random_numbers()
            return
        _set(_metrics(model), _series(self._arrays, "metric"), "other metrics")
        # As they were when this epoch began: the data is to come in the same order.
        _set_random_numbers(self._arrays, "begun")
        self._begun = _random_numbers()
        self._to_pass = self._batch
        self._pass_over(model.get_metrics_result())

    def _give_back(self, state: dict[str, Any]) -> None:
        """What the history and the callbacks have forgotten at the start."""
        self._resumed = None
        self._fit.history.epoch[:] = state["epochs"]
        for number, (callback, kept) in enumerate(zip(self._keeping, state["keeping"])):
            for name, value in kept.items():
                setattr(callback, name, value)
            for name in _KEPT:
                if f"keeping-{number}-{name}-0" in self._arrays:
                    setattr(callback, name, _series(self._arrays, f"keeping-{number}-{name}"))

    def _pass_over(self, results: dict[str, Any]) -> None:
        """Let the model's train function take its batches and do nothing, until those are over that were done.

        `fit` calls it once for each batch, or group of `steps_per_execution`: with the data on PyTorch, with an iterator
        that it takes them from on TensorFlow, with the state before that on JAX, where it returns the state too.
        """
        model = self._fit
        train = self._train = model.train_function

        def pass_over(*arguments: Any) -> Any:
            *state, data = arguments
            if hasattr(data, "__next__"):
                for taken in range(model.steps_per_execution):
                    try:
                        next(data)
                    except StopIteration:
                        if not taken:
                            raise
                        break
            self._has_passed = True
            if self._to_pass == 1:
                model.train_function, self._train = train, None
                if not self._is_validating:  # the end of an epoch's data may draw too
                    _set_random_numbers(self._arrays, "now")
            return (results, *state) if state else results

        model.train_function = pass_over

    # -- saving ------------------------------------------------------------------------------------

    def _end(self) -> None:
        """End the training here, with a checkpoint."""
        self._fit.stop_training = True
        self.stopped = True
        if self._is_new:
            self._save(self._epoch, self._batch)

    def _now(self) -> Arrays:
        model = self.model  # on JAX the training's state gets into the model by this
        found = {f"metric-{number}": keras.ops.convert_to_numpy(value) for number, value in enumerate(_metrics(model))}
        found.update(
            {f"seed-{number}": keras.ops.convert_to_numpy(value) for number, value in enumerate(_seeds(model))}
        )
        return {**found, **{f"now-{name}": value for name, value in _random_numbers().items()}}

    def _save(self, epoch: int, batch: int, *, is_over: bool = False) -> None:
        model = self.model
        self._is_new = False
        arrays = dict(self._trained or self._now())
        if batch:
            arrays.update({f"begun-{name}": value for name, value in self._begun.items()})
        keeping = []
        for number, callback in enumerate(self._keeping):
            kept = {name: getattr(callback, name) for name in _KEPT if hasattr(callback, name)}
            lists = {name: kept.pop(name) for name in list(kept) if isinstance(kept[name], list)}
            for name, values in lists.items():
                arrays.update({f"keeping-{number}-{name}-{each}": value for each, value in enumerate(values)})
            keeping.append({name: _number(value) for name, value in kept.items()})
        history = model.history
        state = {
            "epoch": epoch,
            "batch": batch,
            "is_over": is_over,
            "is_validating": self._trained is not None,
            "epochs": list(history.epoch),
            "history": {name: [_number(value) for value in values] for name, values in history.history.items()},
            "keeping": keeping,
        }

        def write(path: str) -> None:
            os.mkdir(path)
            model.save_weights(os.path.join(path, WEIGHTS))
            numpy.savez(os.path.join(path, ARRAYS), **arrays)
            with open(os.path.join(path, STATE), "x", encoding="utf-8") as file:
                json.dump(state, file)

        step = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
        save_checkpoint(self._directory, write, keep=self._keep, step=step, name="keras")


def _read(path: str) -> tuple[dict[str, Any], Arrays]:
    try:
        with open(os.path.join(path, STATE), encoding="utf-8") as file:
            state: dict[str, Any] = json.load(file)
        with numpy.load(os.path.join(path, ARRAYS), allow_pickle=False) as arrays:
            return state, dict(arrays)
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(
            f"{path} was not saved by smentry.training.keras: give each training a directory of its own"
        ) from None


def _series(arrays: Arrays, name: str) -> list[Any]:
    """A list of arrays, as it was saved."""
    found: list[Any] = []
    while f"{name}-{len(found)}" in arrays:
        found.append(arrays[f"{name}-{len(found)}"])
    return found


def _number(value: Any) -> Any:
    """A number as JSON has it: of numpy, of a backend, or a plain one."""
    return value if value is None or isinstance(value, (bool, int, float)) else float(keras.ops.convert_to_numpy(value))


def _metrics(model: Any) -> list[Any]:
    return [value for metric in model.metrics for value in metric.variables]


def _seeds(model: Any) -> list[Any]:
    """The states of the layers that draw random numbers, which Keras does not save as weights."""
    weights = {id(value) for value in model.non_trainable_weights}
    weights.update(id(value) for value in _metrics(model))
    return [value for value in model.non_trainable_variables if id(value) not in weights]


def _set(variables: list[Any], values: list[Any], what: str) -> None:
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
        raise ValueError(f"the checkpoint is of a model with {what}: go on with the same, or begin anew")
    for variable, value in zip(variables, values):
        variable.assign(value)


# -- random numbers --------------------------------------------------------------------------------


def _random_numbers() -> Arrays:
    """The states of what draws the order of data: Python's, numpy's and, where it is loaded, PyTorch's."""
    version, words, gauss = random.getstate()
    _, key, position, has_gauss, cached = numpy.random.get_state()
    found: Arrays = {
        "python": numpy.array(words, dtype=numpy.int64),
        "python-gauss": numpy.array([version, math.nan if gauss is None else gauss]),
        "numpy": numpy.array(key),
        "numpy-gauss": numpy.array([position, has_gauss, cached], dtype=numpy.float64),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch"] = torch.get_rng_state().numpy().copy()
    return found


def _set_random_numbers(arrays: Arrays, when: str) -> None:
    version, gauss = arrays[f"{when}-python-gauss"].tolist()
    words = tuple(arrays[f"{when}-python"].tolist())
    random.setstate((int(version), words, None if math.isnan(gauss) else gauss))
    position, has_gauss, cached = arrays[f"{when}-numpy-gauss"].tolist()
    numpy.random.set_state(("MT19937", arrays[f"{when}-numpy"], int(position), int(has_gauss), cached))
    torch = sys.modules.get("torch")
    if torch is not None and f"{when}-torch" in arrays:
        torch.set_rng_state(torch.from_numpy(arrays[f"{when}-torch"].copy()))
