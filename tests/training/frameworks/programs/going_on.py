"""Scenarios of ranks that save, and go on from what was saved. `SCENARIOS` says how many ranks each is for."""

import itertools
import os
import shutil
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from training import Job

from smentry.training import save_checkpoint
from smentry.training.pytorch import AgreedStop, TrainingState


def host(rank, local: str) -> Path:
    """Make this rank the one with this number on its host, and give the directory of the host's checkpoints."""
    os.environ["LOCAL_RANK"] = local
    found = rank.directory / f"host-{rank.number}"
    found.mkdir(exist_ok=True)
    return found


def newest_of_all_hosts(rank):
    rank.join()
    directory = host(rank, "0")
    found = []
    with AgreedStop() as stop:
        for step in (10, 20, 30) if rank.number else (10, 20):
            save_checkpoint(directory, lambda path: Path(path).write_text("."), step=step)
        found.append(stop.latest_checkpoint(directory))
        if rank.number == 2:
            (directory / "save-00000002-step-20" / "checkpoint").write_text("more than there was")
        found.append(stop.latest_checkpoint(directory))
        save_checkpoint(directory, lambda path: Path(path).write_text("."), step=15)  # from 10 on again
        found.append(stop.latest_checkpoint(directory))
        found.append(stop.latest_checkpoint(directory / f"none-{rank.number}"))
        found.append(stop.is_saver)
    return [path and str(Path(path).relative_to(directory)) if not isinstance(path, bool) else path for path in found]


def two_hosts_with_two_ranks(rank):
    rank.join()
    os.environ["LOCAL_RANK"] = str(rank.number % 2)
    directory = rank.directory / f"of-{rank.number // 2}"
    with AgreedStop() as stop:
        part = torch.nn.Linear(1, 1)
        state = TrainingState(directory, stop, part=part)
        state.step = 5
        saved = state.save()
        loaded = TrainingState(directory, stop, part=part)
        return [
            stop.is_saver,
            stop.saver,
            str(Path(saved).relative_to(directory)),
            len(os.listdir(directory)),
            loaded.load(),
            loaded.step,
        ]


def saved_by_another_timeline(rank):
    """Rank 0 has step 20 of a run that went back; the others have step 20 of what came after it."""
    rank.join()
    directory = host(rank, "0")
    with AgreedStop() as stop:
        part = torch.nn.Linear(1, 1)
        state = TrainingState(directory, stop, part=part)
        for state.step in (10, 20, 20):
            saved = state.save()
        if rank.number == 0:
            shutil.rmtree(Path(saved).parent)
        loaded = TrainingState(directory, stop, part=part)
        return [loaded.load(), loaded.step]


def a_disk_is_full(rank):
    rank.join()
    directory = host(rank, "0")

    class Part:
        def state_dict(self):
            return {"value": (lambda: 1) if rank.number == 1 else 1}  # cannot be pickled

    with AgreedStop() as stop:
        try:
            TrainingState(directory, stop, part=Part()).save()
        except Exception as error:
            return [type(error).__name__, str(error), os.listdir(directory)]


def sharded(rank):
    from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

    rank.join()
    part = torch.nn.Linear(4, 4)
    part.weight = torch.nn.Parameter(distribute_tensor(part.weight, init_device_mesh("cpu", (rank.world,)), [Shard(0)]))
    with AgreedStop() as stop:
        try:
            TrainingState(rank.directory / "sharded", stop, part=part).save()
        except ValueError as error:
            return str(error)


def other_parts(rank):
    part = torch.nn.Linear(1, 1)
    said = []
    with AgreedStop() as stop:
        TrainingState(rank.directory / "parts", stop, model=part).save()
        save_checkpoint(rank.directory / "foreign", lambda path: torch.save(part.state_dict(), path), name="model.pt")
        for directory, parts in (("parts", {"model": part, "scheduler": part}), ("foreign", {"model": part})):
            try:
                TrainingState(rank.directory / directory, stop, **parts).load()
            except ValueError as error:
                said.append(str(error))
    return said


def another_number_of_ranks(rank):
    """Saved by these ranks, gone on with by one."""
    rank.join()
    directory = rank.directory / "shared"
    with AgreedStop() as stop:
        state = TrainingState(directory, stop)
        given = list(itertools.islice(state.steps(list(range(10))), 3))
        state.save()
    dist.destroy_process_group()
    with AgreedStop() as stop, warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        state = TrainingState(directory, stop)
        state.load()
        return [
            given,
            state.batch,
            state.step,
            [str(each.message) for each in heard],
            next(state.steps(list(range(20)))),
        ]


# -- the same end, stopped or not --------------------------------------------------------------------

# How many ranks, in which steps they are asked to stop, 6 being an epoch: in one, at its end, at the first of the next.
CONFIGURATIONS = {
    "alone": (1, (3, 6, 7, 15), {}),
    "two ranks": (2, (3, 6), {}),
    "workers": (2, (3, 13), {"workers": 2}),
    "persistent workers": (1, (3, 10), {"workers": 2, "persistent": True, "noise": False}),
    "a generator": (1, (6, 10), {"generator": True}),
    "drawn with replacement": (1, (3, 10), {"replacement": True}),
}


def trained_with(name):
    """The run as a whole; then stopped at several steps, each time gone on with by new objects."""
    _, stops, options = CONFIGURATIONS[name]

    def scenario(rank):
        if rank.world > 1:
            rank.join()
        whole = Job(rank.directory / f"whole-{rank.number}", **options).run()
        directory = host(rank, "0") / "run"
        found = []
        for stop_at in (*stops, 0):
            job = Job(directory, stop_at=stop_at if rank.number == 0 else 0, **options)
            found.append(job.run()["step"])
        return {"stops": stops, "steps": found, "whole": whole, "parts": job.outcome()}

    return scenario


SCENARIOS = {
    function.__name__: (world, function)
    for world, functions in {
        1: [other_parts],
        2: [another_number_of_ranks, a_disk_is_full, sharded],
        3: [newest_of_all_hosts, saved_by_another_timeline],
        4: [two_hosts_with_two_ranks],
    }.items()
    for function in functions
}
SCENARIOS.update({f"trained: {name}": (CONFIGURATIONS[name][0], trained_with(name)) for name in CONFIGURATIONS})
