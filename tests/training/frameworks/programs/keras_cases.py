"""Many trainings in one process, each uninterrupted and stopped: prints as JSON what they come to.

Its arguments are a directory, and the trainings as JSON, by name: as those of `keras_fit.py`, with `stops`, a list of what is
to happen until each.
"""

import json
import os
import sys

import keras
from keras_fit import train

from smentry.training import GracefulStop, save_checkpoint
from smentry.training.keras import SaveOnStop

PLACE = sys.argv[1]


def run(asked, directory):
    with GracefulStop() as stop:
        return train({**asked, "directory": f"{PLACE}/{directory}"}, stop)


def error(act):
    try:
        act()
    except Exception as caught:
        return f"{type(caught).__name__}: {caught}"
    return None


def refused():
    with GracefulStop() as stop:
        x, y = keras.ops.ones((32, 8)), keras.ops.ones((32, 1))

        def fit(saver, *others, rows=32, **more):
            layers = [keras.Input((8,)), keras.layers.Dropout(0.1), keras.layers.Dense(1)]
            model = keras.Sequential(layers[: more.pop("layers", 3) - 1] + layers[-1:])
            model.compile("adam", "mse", metrics=more.pop("metrics", None))
            model.fit(x[:rows], y[:rows], batch_size=8, epochs=2, verbose=0, callbacks=[saver, *others], **more)

        ask = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: batch == 2 and stop.request("it"))
        used = SaveOnStop(stop, f"{PLACE}/used")
        fit(used)
        fit(SaveOnStop(stop, f"{PLACE}/part"), ask)
    with GracefulStop() as stop:
        save_checkpoint(f"{PLACE}/foreign", os.mkdir)
        new = lambda name: SaveOnStop(stop, f"{PLACE}/{name}")  # noqa: E731
        return {
            "again": error(lambda: fit(used)),
            "not ours": error(lambda: fit(new("foreign"))),
            "metrics": error(lambda: fit(new("part"), metrics=["mae"])),
            "layers": error(lambda: fit(new("part"), layers=2)),
            "fewer batches": error(lambda: fit(new("part"), rows=16)),
            "every": error(lambda: SaveOnStop(stop, PLACE, every=0)),
        }


if __name__ == "__main__":
    CASES = json.loads(sys.argv[2])
    WHOLE = {}
    FOUND = {}
    for number, (name, case) in enumerate(CASES.items()):
        asked = {key: value for key, value in case.items() if key != "stops"}
        key = json.dumps(asked)
        if key not in WHOLE:
            WHOLE[key] = run(asked, f"{number}-whole")
        parts = [run({**asked, **stop}, f"{number}-parts") for stop in [*case["stops"], {}]]
        over = run(asked, f"{number}-parts") if name == "arrays" else None
        FOUND[name] = {"whole": WHOLE[key], "parts": parts, "over": over}
    print(json.dumps({"cases": FOUND, "refused": refused()}))
