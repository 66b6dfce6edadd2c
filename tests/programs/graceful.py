"""A training loop with a GracefulStop and checkpoints: it ends between two steps, saves for $SAVE_SECONDS, and exits 0.

With $WORKERS its batches come from so many worker processes, made by $METHOD (fork), which it needs to save. `saved` has
what it knew of the stop.
"""

import json
import multiprocessing
import os
import time

import state

from smentry.training import GracefulStop, save_checkpoint

WORKERS = int(os.environ.get("WORKERS", "0"))
BATCH = 0.02


class Worker:
    """A process that makes batches. Not a Pool: after ^C that may wait for ever for the lock of a worker that has died."""

    def __init__(self, context) -> None:
        self.ask, answers = context.Pipe()
        self.process = context.Process(target=work, args=(answers,), daemon=True)
        self.process.start()
        answers.close()

    def make(self, number: int) -> int:
        self.ask.send(number)
        return self.ask.recv()


def work(answers) -> None:
    while True:
        answers.send(make(answers.recv()))


def make(number: int) -> int:
    time.sleep(BATCH)
    return number


class Loader:
    def __init__(self) -> None:
        context = multiprocessing.get_context(os.environ.get("METHOD", "fork"))
        self.workers = [Worker(context) for _ in range(WORKERS)]

    def make(self, number: int) -> int:
        return self.workers[number % WORKERS].make(number) if WORKERS else make(number)

    def __iter__(self):
        number = 0
        try:
            while True:
                number += 1
                yield self.make(number)
        finally:
            state.note("closed")


def main() -> None:
    with GracefulStop() as stop:
        loader = Loader()
        steps = stop.steps(loader)
        for step in steps:
            if step == 3:
                state.ready()
        left = stop.seconds_left

        def write(path: str) -> None:
            until = time.monotonic() + state.SECONDS
            while time.monotonic() < until:
                for number in range(max(WORKERS, 1)):
                    assert loader.make(number) == number
            with open(path, "w") as file:
                json.dump({"step": step}, file)

        save_checkpoint(os.path.join(state.DIRECTORY, "checkpoints"), write, step=step)
        found = {"step": step, "reason": stop.reason, "left": left, "complete": steps.complete}
        state.note("saved", json.dumps(found))
        for worker in loader.workers:
            worker.process.terminate()  # by SIGTERM, as multiprocessing does at the end of a program
            worker.process.join()


if __name__ == "__main__":
    main()
