"""Fits a line to points that are spread over all ranks, from where the last run ended; a stop ends it on all at the same step."""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import json
import os
import random
import time

from smentry.training import GracefulStop, checkpoints, report_failure, save_checkpoint

stop = GracefulStop()  # before MPI, which takes a moment

from mpi4py import MPI

BASE = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")
world = MPI.COMM_WORLD
rank = world.Get_rank()
# A rank's own: on one host there may be several, and all hosts save to the same place.
mine = os.path.join(BASE, "checkpoints", f"rank-{rank}")

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=40)
parser.add_argument("--pause", type=float, default=0.1, help="seconds that a step takes")
parser.add_argument("--save_seconds", type=float, default=0.0, help="seconds that a save takes")
parser.add_argument("--fail_at", type=int, default=-1, help="the step at which the last rank fails")
arguments = parser.parse_args()


def say(what: str) -> None:
    print(f"rank {rank} of {world.Get_size()} on {os.environ.get('SM_CURRENT_HOST')}: {what}\n", end="", flush=True)


def load() -> tuple[int, float, float]:
    """The last step that all ranks have saved, and the line then."""
    saved = {step: path for path, step in checkpoints(mine) if step is not None}
    common = set.intersection(*world.allgather(set(saved)))
    if not common:
        return 0, 0.0, 0.0
    with open(saved[max(common)], encoding="utf-8") as file:
        step, slope, intercept = json.load(file)
    say(f"goes on after step {step}")
    return step, slope, intercept


def save(step: int, slope: float, intercept: float) -> None:
    def write(path: str) -> None:
        with open(path, "w", encoding="utf-8") as file:
            time.sleep(arguments.save_seconds)  # a large one takes its time
            json.dump([step, slope, intercept], file)

    save_checkpoint(mine, write, step=step)
    say(f"saved after step {step}")


def train() -> None:
    numbers = random.Random(rank)
    points = [(x / 100, 3 * x / 100 - 1 + numbers.gauss(0, 0.1)) for x in range(100)]
    step, slope, intercept = load()
    say(f"the sum of all numbers is {world.allreduce(rank)}")
    while step < arguments.steps:
        time.sleep(arguments.pause)
        errors = [(slope * x + intercept - y, x) for x, y in points]
        slope -= 0.1 * world.allreduce(sum(error * x for error, x in errors)) / 100 / world.Get_size()
        intercept -= 0.1 * world.allreduce(sum(error for error, _ in errors)) / 100 / world.Get_size()
        step += 1
        if step == arguments.fail_at and rank == world.Get_size() - 1:
            raise ValueError(f"the loss of rank {rank} is not a number")
        # One rank is told a moment before another: all leave when any was.
        if world.allreduce(stop.requested, op=MPI.LOR):
            save(step, slope, intercept)
            return
        if step % 10 == 0:
            say(f"step {step}")
    loss = world.allreduce(sum((slope * x + intercept - y) ** 2 for x, y in points)) / 100 / world.Get_size()
    say(f"loss {loss:.9f} after step {step}")
    if rank == 0:
        os.makedirs(os.path.join(BASE, "model"), exist_ok=True)
        with open(os.path.join(BASE, "model", "model.json"), "w", encoding="utf-8") as file:
            json.dump({"slope": slope, "intercept": intercept}, file)


try:
    train()
except Exception as error:
    report_failure(error)
    raise  # mpi4py, which smentry has run this, then ends all ranks
