"""Several ranks in one program: imports torch once, and forks them for each scenario. It prints what each of them returned.

`ranks.py DIRECTORY SCENARIO…` prints {scenario: [the result of each rank]}; a rank that ended by itself has none.

Before Python 3.12 a fork may hang in the child: _PyEval_ReInitThreads takes a lock that another thread held at that moment, one
that begins or ends (Modules/posixmodule.c, PyOS_AfterFork_Child). torch's data loader has such threads, of the epoch before, when
it forks its workers. So there a scenario that does not end is played once more.
"""

import contextlib
import json
import multiprocessing
import os
import signal
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
LIMIT = 60.0
"""Seconds of a scenario: the longest takes some ten."""
ATTEMPTS = 1 if sys.version_info >= (3, 12) else 2


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
        until = time.monotonic() + LIMIT / 2
        while not all(path.exists() for path in others) and time.monotonic() < until:
            time.sleep(0.02)


def play(name: str, directory: Path) -> list:
    for attempt in range(ATTEMPTS):
        ended, results = attempted(name, directory.with_name(f"{directory.name}-{attempt}"))
        if ended:
            break
    return results


def attempted(name: str, directory: Path) -> tuple[bool, list]:
    """Whether all ranks have ended in time, and what each returned."""
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
    until = time.monotonic() + LIMIT
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
    late = [process.pid for process in processes if process.is_alive()]
    for pid in late:
        for each in (*below(pid), pid):
            with contextlib.suppress(OSError):  # gone meanwhile
                os.kill(each, signal.SIGKILL)
    for process in processes:
        process.join()
    paths = [directory / f"{number}" for number in range(world)]
    return not late, [json.loads(path.read_text()) if path.exists() else None for path in paths]


def below(pid: int) -> list[int]:
    """Every process below another, its workers among them."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return children + [each for child in children for each in below(child)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    base = Path(sys.argv[1])
    names = sys.argv[2:] or list(SCENARIOS)
    print(json.dumps({name: play(name, base / str(number)) for number, name in enumerate(names)}))
