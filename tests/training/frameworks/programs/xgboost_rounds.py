"""Boosted trees on data made here: a training that is stopped and goes on, as its argument, JSON, says.

`directory` (checkpoints), `result` (a file for what it comes to), `every`, `rounds`, `parameters`, `early` (rounds of early
stopping), `rates` (learning rates by round), `evals` (false: none), and what is to happen: `wait_at`: round at which it
writes the file `ready` in $STATE and waits for SIGTERM; `kill_at`: round at which it is killed, half through its save;
`workers` and `rank`, with `tracker` (host and port): one of several workers, which has a part of the data.
"""

import contextlib
import hashlib
import json
import os
import signal
import sys

from smentry.training import GracefulStop

if __name__ == "__main__":
    STOP = GracefulStop()  # before the imports that take long

import numpy
import xgboost
from xgboost import collective

from smentry.training.xgboost import SaveOnStop

ROWS = 600


def data(rank=0, workers=1):
    random = numpy.random.default_rng(7)
    x = random.normal(size=(ROWS, 8)).astype("float32")
    y = x[:, 0] * x[:, 1] + x[:, 2] + random.normal(size=ROWS) * 0.3
    train = numpy.arange(ROWS) % 3 != 0
    mine = numpy.arange(ROWS) % workers == rank
    return xgboost.DMatrix(x[train & mine], y[train & mine]), xgboost.DMatrix(x[~train & mine], y[~train & mine])


class Seen(xgboost.callback.TrainingCallback):
    """What another callback sees: the rounds, and how many the model has at each."""

    def __init__(self):
        self.rounds = []

    def after_iteration(self, model, epoch, evals_log):
        self.rounds.append([epoch, model.num_boosted_rounds()])
        return False


class Happen(xgboost.callback.TrainingCallback):
    def __init__(self, saver, stop, asked):
        self.saver, self.stop, self.asked = saver, stop, asked

    def before_iteration(self, model, epoch, evals_log):
        if epoch < self.saver.rounds_done:
            return False
        if epoch == self.asked.get("request_at"):
            self.stop.request("the test")
        if epoch == self.asked.get("wait_at"):
            with open(os.path.join(os.environ["STATE"], "ready"), "x"):
                pass
            assert self.stop.wait(60), "SIGTERM has not come"
        if epoch == self.asked.get("kill_at"):
            write = model.save_model

            def half(path):
                write(path)
                os.truncate(path, os.path.getsize(path) // 2)
                os.kill(os.getpid(), signal.SIGKILL)

            model.save_model = half
        return False


def train(asked, stop, *more):
    rank, workers = asked.get("rank", 0), asked.get("workers", 1)
    train, valid = data(rank, workers)
    saver = SaveOnStop(stop, asked["directory"], every=asked.get("every"))
    seen, scores = Seen(), {}
    callbacks = [seen, Happen(saver, stop, asked), saver, *more]
    if asked.get("rates"):
        callbacks.insert(0, xgboost.callback.LearningRateScheduler(lambda number: 0.5 * 0.97**number))
    if asked.get("best"):
        callbacks.insert(0, xgboost.callback.EarlyStopping(rounds=asked["best"], save_best=True))
    booster = xgboost.train(
        {"nthread": 1, "max_depth": 3, **asked.get("parameters", {})},
        train,
        asked.get("rounds", 30),
        evals=[] if asked.get("evals") is False else [(train, "train"), (valid, "valid")],
        evals_result=scores,
        early_stopping_rounds=asked.get("early"),
        verbose_eval=False,
        callbacks=callbacks,
        xgb_model=asked.get("base"),
    )
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    return booster, {
        "stopped": saver.stopped,
        "done": saver.rounds_done,
        "rounds": booster.num_boosted_rounds(),
        "class": type(booster).__module__,
        "best": booster.attr("best_iteration"),
        "scores": scores,
        "seen": seen.rounds,
        "model": hashlib.sha256(json.dumps(learner["gradient_booster"]).encode()).hexdigest(),
    }


if __name__ == "__main__":
    ASKED = json.loads(sys.argv[1])
    WORLD = contextlib.nullcontext()
    if "workers" in ASKED:
        HOST, PORT = ASKED["tracker"]
        WORLD = collective.CommunicatorContext(
            dmlc_communicator="rabit", dmlc_tracker_uri=HOST, dmlc_tracker_port=PORT, dmlc_task_id=str(ASKED["rank"])
        )
    with WORLD:
        _, RESULT = train(ASKED, STOP)
        RESULT["reason"] = STOP.reason
    with open(ASKED["result"], "w") as file:
        json.dump(RESULT, file)
