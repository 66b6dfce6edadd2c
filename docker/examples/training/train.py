"""Train a small neural network on handwritten digits, so that a stop loses nothing.

Standard library only. What to copy for a training script of your own:

- SIGTERM sets a flag; the loop looks at it between two steps, saves, and ends with exit code 0.
- A checkpoint is written beside its place and renamed, so that it is never half written.
- A job that finds a checkpoint goes on exactly where it was stopped.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import multiprocessing
import os
import random
import signal
import threading
from operator import mul
from pathlib import Path

BASE = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
CHECKPOINT = BASE / "checkpoints" / "checkpoint.json"
MODEL = BASE / "model" / "model.json"

SIDE, CLASSES = 8, 10  # images of 8 x 8 pixels, digits 0 to 9
Sample = tuple  # (pixels from 0 to 1, label)


def main() -> None:
    hyperparameters = read_json(BASE / "input/config/hyperparameters.json", default={})
    epochs = int(hyperparameters.get("epochs", "30"))  # on the platform every value is a string
    rate = float(hyperparameters.get("learning_rate", "0.02"))
    batch_size = int(hyperparameters.get("batch_size", "32"))
    hidden = int(hyperparameters.get("hidden_units", "48"))

    samples = read_samples(BASE / "input/data/training")
    random.Random(0).shuffle(samples)
    held_out = len(samples) // 6
    test, training = samples[:held_out], samples[held_out:]

    saved = read_json(CHECKPOINT, default=None)
    if saved:
        epoch, step, network = saved["epoch"], saved["step"], Network(**saved["network"])
        print(f"resumed at epoch {epoch + 1}, step {step}", flush=True)
    else:
        epoch, step, network = 0, 0, Network.new(hidden)
        print(f"{len(training)} images to train on, {len(test)} to test with", flush=True)

    with multiprocessing.get_context("fork").Pool(2) as loaders:
        # Only after the loaders were forked: they keep the default action, this process ends in good order.
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())

        while epoch < epochs and not stop.is_set():
            batches = batches_of(training, batch_size, epoch)
            for batch in loaders.imap(augmented, batches[step:]):
                network.train(batch, rate * (1 - epoch / epochs))
                step += 1
                if stop.is_set():
                    break
            if step == len(batches):
                epoch, step = epoch + 1, 0
                loss, accuracy = network.test(test)
                print(f"epoch {epoch} of {epochs}: loss {loss:.3f}, accuracy {accuracy:.1%}", flush=True)
            save(CHECKPOINT, {"epoch": epoch, "step": step, "network": vars(network)})

        if stop.is_set():
            print(f"SIGTERM: ending after epoch {epoch}, step {step}", flush=True)
        loss, accuracy = network.test(test)
        save(MODEL, {"epochs": epoch, "loss": loss, "accuracy": accuracy, "network": vars(network)})
        print(f"saved {MODEL}: accuracy {accuracy:.1%}", flush=True)


class Network:
    """Pixels → hidden units (ReLU) → one score for each digit (softmax)."""

    def __init__(self, w1: list, b1: list, w2: list, b2: list) -> None:
        self.w1, self.b1, self.w2, self.b2 = w1, b1, w2, b2

    @classmethod
    def new(cls, hidden: int) -> Network:
        gauss, inputs = random.Random(1).gauss, SIDE * SIDE
        w1 = [[gauss(0, math.sqrt(2 / inputs)) for _ in range(inputs)] for _ in range(hidden)]
        w2 = [[gauss(0, math.sqrt(2 / hidden)) for _ in range(hidden)] for _ in range(CLASSES)]
        return cls(w1, [0.0] * hidden, w2, [0.0] * CLASSES)

    def forward(self, pixels: list) -> tuple:
        """The activations of the hidden units, and the probability of each digit."""
        active = [max(0.0, sum(map(mul, row, pixels)) + bias) for row, bias in zip(self.w1, self.b1)]
        scores = [sum(map(mul, row, active)) + bias for row, bias in zip(self.w2, self.b2)]
        highest = max(scores)
        weights = [math.exp(score - highest) for score in scores]
        total = sum(weights)
        return active, [weight / total for weight in weights]

    def train(self, batch: list[Sample], rate: float) -> None:
        """One step of stochastic gradient descent for each sample."""
        for pixels, label in batch:
            active, errors = self.forward(pixels)
            errors[label] -= 1.0
            blame = [sum(map(mul, errors, column)) for column in zip(*self.w2)]
            descend(self.w2, self.b2, errors, active, rate)
            descend(self.w1, self.b1, [b if a > 0 else 0.0 for a, b in zip(active, blame)], pixels, rate)

    def test(self, samples: list[Sample]) -> tuple[float, float]:
        """Mean loss, and the share of digits that are recognised."""
        loss, right = 0.0, 0
        for pixels, label in samples:
            _, probabilities = self.forward(pixels)
            loss -= math.log(max(probabilities[label], 1e-12))
            right += probabilities[label] == max(probabilities)
        return loss / len(samples), right / len(samples)


def descend(weights: list, biases: list, errors: list, inputs: list, rate: float) -> None:
    for unit, error in enumerate(errors):
        if error:
            slope = rate * error
            weights[unit] = [weight - slope * value for weight, value in zip(weights[unit], inputs)]
            biases[unit] -= slope


def batches_of(samples: list[Sample], size: int, epoch: int) -> list:
    """The batches of an epoch, the same whenever that epoch is run: a resumed job can skip what was done."""
    order = random.Random(epoch).sample(samples, len(samples))
    return [(f"{epoch}/{start}", order[start : start + size]) for start in range(0, len(order), size)]


def augmented(numbered: tuple[str, list[Sample]]) -> list[Sample]:
    """A batch with some noise in its images: what a data loader does, in a process of its own."""
    seed, batch = numbered
    noise = random.Random(seed).gauss
    return [([pixel + noise(0, 0.1) for pixel in pixels], label) for pixels, label in batch]


def read_samples(channel: Path) -> list[Sample]:
    samples = []
    for path in sorted(channel.glob("*.csv.gz")):
        with gzip.open(path, "rt", newline="") as file:
            for *pixels, label in csv.reader(file):
                samples.append(([int(pixel) / 16 for pixel in pixels], int(label)))
    if not samples:
        raise SystemExit(f"{channel}: no *.csv.gz with samples in this channel")
    return samples


def read_json(path: Path, default):
    return json.loads(path.read_text()) if path.exists() else default


def save(path: Path, content: dict) -> None:
    """Write `content` beside `path` and rename it: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".tmp")
    with unfinished.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


if __name__ == "__main__":
    main()
