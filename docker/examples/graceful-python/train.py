"""Fits a line to noisy points, ten passes a second, from where the last run ended; a stop ends it between two passes."""

import json
import os
import random

from smentry.training import GracefulStop, latest_checkpoint, report_failure, save_checkpoint

BASE = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")
CHECKPOINTS = os.path.join(BASE, "checkpoints")
EPOCHS = int(os.environ.get("EPOCHS", "600"))


def train(stop: GracefulStop) -> None:
    numbers = random.Random(0)
    points = [(x / 100, 3 * x / 100 - 1 + numbers.gauss(0, 0.1)) for x in range(100)]
    model = {"slope": 0.0, "intercept": 0.0, "epochs": 0}
    latest = latest_checkpoint(CHECKPOINTS)
    if latest:
        with open(latest, encoding="utf-8") as file:
            model = json.load(file)
        print(f"goes on after epoch {model['epochs']}", flush=True)

    def write(path: str) -> None:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(model, file)

    for epoch in stop.steps(range(model["epochs"] + 1, EPOCHS + 1)):
        stop.wait(0.1)  # a step takes its time
        for x, y in points:
            error = model["slope"] * x + model["intercept"] - y
            model["slope"] -= 0.1 * error * x
            model["intercept"] -= 0.1 * error
        model["epochs"] = epoch
        if epoch % 10 == 0:
            print(f"epoch {epoch}", flush=True)
            save_checkpoint(CHECKPOINTS, write, step=epoch)

    save_checkpoint(CHECKPOINTS, write, step=model["epochs"])
    os.makedirs(os.path.join(BASE, "model"), exist_ok=True)
    write(os.path.join(BASE, "model", "model.json"))
    if stop.requested:
        print(f"{stop.reason}: saved after epoch {model['epochs']}, {stop.seconds_left:.0f} s to spare", flush=True)


with GracefulStop() as stop:
    try:
        train(stop)
    except Exception as error:
        report_failure(error)
        raise
