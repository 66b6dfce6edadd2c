"""Many trainings in one process, each uninterrupted and stopped: prints as JSON what they come to.

Its arguments are a directory, and the trainings as JSON, by name: as those of `xgboost_rounds.py`, with `stops`, the rounds
in which a stop is requested.
"""

import json
import os
import pickle
import sys

import xgboost
from xgboost_rounds import data, train

from smentry.training import GracefulStop
from smentry.training.xgboost import SaveOnStop


def run(asked, directory, stops):
    results = []
    for request_at in [*stops, None]:
        with GracefulStop() as stop:
            results.append(train({**asked, "directory": directory, "request_at": request_at}, stop)[1])
    return results


def error(act):
    try:
        act()
    except Exception as caught:
        return f"{type(caught).__name__}: {caught}"
    return None


class Writes(xgboost.callback.TrainingCallback):
    """Saves the model after each round, as TrainingCheckPoint does, and pickles it."""

    def __init__(self, found):
        self.found = found

    def after_iteration(self, model, epoch, evals_log):
        model.save_model(f"{sys.argv[1]}/written.ubj")
        written = xgboost.Booster(model_file=f"{sys.argv[1]}/written.ubj")
        pickled = pickle.loads(pickle.dumps(model))
        trees = [len(each.get_dump()) for each in (written, pickled)]
        self.found.append([epoch, *trees, type(pickled).__module__])
        return False


def others(place):
    """What can go wrong, and what other callbacks write during a replay."""
    train_data, valid = data()
    quiet = {"verbose_eval": False}
    parameters = {"nthread": 1, "max_depth": 3}
    first = os.path.join(place, "first")
    written = []
    with GracefulStop() as stop:
        train({"directory": first, "rounds": 6}, stop)
        booster, fewer = train({"directory": first, "rounds": 4}, stop, Writes(written))
        _, plain = train({"directory": os.path.join(place, "four"), "rounds": 4}, stop)
        saver = SaveOnStop(stop, os.path.join(place, "used"))
        xgboost.train(parameters, train_data, 2, callbacks=[saver])
        copied = pickle.loads(pickle.dumps(saver))
        there = os.path.join(place, "there", "save-00000001")
        os.makedirs(os.path.join(there, "checkpoint"))
        with open(os.path.join(there, "complete.json"), "w") as file:
            json.dump({"name": "checkpoint", "step": 1, "files": {}}, file)

        def new(name):
            return [SaveOnStop(stop, os.path.join(place, name))]

        return {
            "fewer": [fewer["model"] == plain["model"], fewer["scores"] == plain["scores"], fewer["rounds"]],
            "written": written,
            "cv": error(lambda: xgboost.cv(parameters, train_data, 3, callbacks=new("cv"))),
            "again": error(lambda: xgboost.train(parameters, train_data, 3, callbacks=[saver])),
            "copy": error(lambda: xgboost.train(parameters, train_data, 3, callbacks=[copied])),
            "base": error(
                lambda: xgboost.train(parameters, train_data, 3, xgb_model=booster, callbacks=new("first"), **quiet)
            ),
            "evals": error(
                lambda: xgboost.train(
                    parameters, train_data, 9, evals=[(valid, "other")], callbacks=new("first"), **quiet
                )
            ),
            "not ours": error(lambda: xgboost.train(parameters, train_data, 3, callbacks=new("there"))),
            "objective": error(
                lambda: xgboost.train({"objective": "reg:absoluteerror"}, train_data, 9, callbacks=new("first"))
            ),
            "every": error(lambda: SaveOnStop(stop, place, every=0)),
        }


if __name__ == "__main__":
    PLACE = sys.argv[1]
    FOUND = {}
    for number, (name, case) in enumerate(json.loads(sys.argv[2]).items()):
        asked = {"rounds": 30, **case}
        if asked.get("base"):
            with GracefulStop() as stop:
                asked["base"], _ = train({"directory": f"{PLACE}/base", "rounds": 5}, stop)
        (whole,) = run(asked, f"{PLACE}/{number}-whole", [])
        FOUND[name] = {"whole": whole, "parts": run(asked, f"{PLACE}/{number}-parts", asked.get("stops", [11, 19]))}
    print(json.dumps({"cases": FOUND, "others": others(PLACE)}))
