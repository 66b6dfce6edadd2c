"""Several ranks in one program: imports torch once, and forks them for each scenario. It prints what each of them returned.

`ranks.py DIRECTORY SCENARIO…` prints {scenario: [the result of each rank]}; a rank that ended by itself has none.
"""

import json
import multiprocessing
import os
import sys
import time
import traceback
from pathlib import Path

import agreeing
import going_on
import torch
import torch.distributed as dist

CONTEXT = multiprocessing.get_context("fork")
SCENARIOS = {**agreeing.SCENARIOS, **going_on.SCENARIOS}


class Rank:
    """What a scenario knows of where it runs."""

    def __init__(self, number: int, world: int, directory: Path) -> None:
        self.number, self.world, self.directory = number, world, directory

    def join(self, **options) -> None:
        store = dist.FileStore(str(self.directory / "store"), self.world)
        dist.init_process_group("gloo", store=store, rank=self.number, world_size=self.world, **options)

    def wait_for_others(self) -> None:
        """Stay until the others have returned what they had to."""
        others = [self.directory / f"{number}" for number in range(self.world) if number != self.number]
        until = time.monotonic() + 120
        while not all(path.exists() for path in others) and time.monotonic() < until:
            time.sleep(0.02)


def play(name: str, directory: Path) -> list:
    world, function = SCENARIOS[name]
    directory.mkdir()

    def child(number: int) -> None:
        try:
            result = function(Rank(number, world, directory))
        except BaseException:
            result = traceback.format_exc()
        (directory / f".{number}").write_text(json.dumps(result))
        os.rename(directory / f".{number}", directory / f"{number}")
        os._exit(0)  # without the long way out of torch

    processes = [CONTEXT.Process(target=child, args=(number,)) for number in range(world)]
    for process in processes:
        process.start()
    until = time.monotonic() + 100
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        if process.is_alive():
            process.kill()
    paths = [directory / f"{number}" for number in range(world)]
    return [json.loads(path.read_text()) if path.exists() else None for path in paths]


if __name__ == "__main__":
    torch.set_num_threads(1)
    base = Path(sys.argv[1])
    names = sys.argv[2:] or list(SCENARIOS)
    print(json.dumps({name: play(name, base / str(number)) for number, name in enumerate(names)}))
