"""A small Keras model on data made here: a training that is stopped and goes on, as its argument, JSON, says.

`directory` (checkpoints), `result` (a file for what it comes to), `every`, `epochs`, `data` (arrays, dataset or loader),
`optimizer` (arguments of Adam), `execution` (steps per execution), `early` (patience), and what is to happen at which batch
of the whole training, of 7 an epoch: `request_at`: a stop; `wait_at`: it writes the file `ready` in $STATE and waits for
SIGTERM; `kill_at`: it is killed, half through its next save; `validate_at`: a stop in the validation of this epoch.
"""

import hashlib
import json
import os
import signal
import sys

from smentry.training import GracefulStop

if __name__ == "__main__":
    STOP = GracefulStop()  # before the imports that take long

import keras
import numpy

from smentry.training.keras import SaveOnStop

ROWS, BATCH, BATCHES = 104, 16, 7


class Data(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return -(-len(self.x) // BATCH)

    def __getitem__(self, index):
        noise = numpy.random.normal(size=(1, 1)).astype("float32")  # as an augmentation
        return self.x[index * BATCH :][:BATCH] + 0.1 * noise, self.y[index * BATCH :][:BATCH]


def fit_arguments(kind, x, y):
    if kind == "dataset":
        return {"x": Data(x, y)}
    if kind == "loader":
        import torch

        pairs = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
        return {"x": torch.utils.data.DataLoader(pairs, batch_size=BATCH, shuffle=True, num_workers=2)}
    return {"x": x, "y": y, "batch_size": BATCH}


class Happen(keras.callbacks.Callback):
    def __init__(self, stop, asked):
        super().__init__()
        self.stop, self.asked, self.epoch = stop, asked, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch * BATCHES + batch + 1 == self.asked.get("kill_at"):
            write = self.model.save_weights

            def half(path):
                write(path)
                os.truncate(path, os.path.getsize(path) // 2)
                os.kill(os.getpid(), signal.SIGKILL)

            self.model.save_weights = half

    def on_train_batch_begin(self, batch, logs=None):
        at = self.epoch * BATCHES + batch
        if at == self.asked.get("request_at"):
            self.stop.request("the test")
        if at == self.asked.get("wait_at"):
            with open(os.path.join(os.environ["STATE"], "ready"), "x"):
                pass
            assert self.stop.wait(60), "SIGTERM has not come"

    def on_test_batch_begin(self, batch, logs=None):
        if self.epoch == self.asked.get("validate_at"):
            self.stop.request("the test")


def train(asked, stop):
    keras.utils.set_random_seed(5)
    x = numpy.random.normal(size=(ROWS, 8)).astype("float32")
    y = (x[:, :1] * x[:, 1:2] + x[:, 2:3]).astype("float32")
    layers = [keras.layers.Dense(16, "relu"), keras.layers.Dropout(0.3), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam(**{"learning_rate": 0.01, **asked.get("optimizer", {})})
    model.compile(optimizer, "mse", metrics=["mae"], steps_per_execution=asked.get("execution", 1))
    best = asked["directory"] + "-best.weights.h5"
    keeping = [
        keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, factor=0.5),
        keras.callbacks.ModelCheckpoint(best, save_best_only=True, save_weights_only=True),
    ]
    if "early" in asked:
        keeping.append(keras.callbacks.EarlyStopping("val_loss", patience=asked["early"], restore_best_weights=True))
    saver = SaveOnStop(stop, asked["directory"], every=asked.get("every"), keeping=keeping)
    happen = Happen(stop, asked)
    history = model.fit(
        **fit_arguments(asked.get("data"), x, y),
        epochs=asked.get("epochs", 4),
        validation_data=(x[:48] + 0.5, y[:48]),
        validation_batch_size=16,
        verbose=0,
        callbacks=[saver, happen, *keeping],
    )
    return {
        "stopped": saver.stopped,
        "history": {name: [float(value) for value in values] for name, values in history.history.items()},
        "epochs": history.epoch,
        "steps": int(keras.ops.convert_to_numpy(optimizer.iterations)),
        "rate": float(keras.ops.convert_to_numpy(optimizer.learning_rate)),
        "model": digest(model.get_weights()),
        "optimizer": digest([keras.ops.convert_to_numpy(value) for value in optimizer.variables]),
        "best": [callback.best for callback in keeping],
        "draws": [float(numpy.random.random()), float(keras.ops.convert_to_numpy(keras.random.uniform((), seed=1)))],
    }


def digest(arrays):
    return hashlib.sha256(b"".join(numpy.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


if __name__ == "__main__":
    ASKED = json.loads(sys.argv[1])
    RESULT = {**train(ASKED, STOP), "reason": STOP.reason}
    with open(ASKED["result"], "w") as file:
        json.dump(RESULT, file)
