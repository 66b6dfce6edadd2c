"""Scenarios of ranks that save, and go on from what was saved. `SCENARIOS` says how many ranks each is for."""

import itertools
import os
import resource
import shutil
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader
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
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found.append(stop.latest_checkpoint(directory / f"none-{rank.number}"))
            found.append(bool(said))
            found.append(stop.latest_checkpoint(directory if rank.number else directory / "lost"))
            found.append("all hosts have" in str(said[0].message))
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
        save_checkpoint(rank.directory / "directory", os.mkdir, name="xgboost")
        damaged = Path(TrainingState(rank.directory / "damaged", stop, model=part).save())
        damaged.write_bytes(bytes(damaged.stat().st_size))
        asked = {"parts": {"model": part, "scheduler": part}}
        for directory in ("parts", "foreign", "directory", "damaged"):
            parts = asked.get(directory, {"model": part})
            try:
                TrainingState(rank.directory / directory, stop, **parts).load()
            except ValueError as error:
                said.append(str(error))
    return said


def a_schedule_in_numpy(rank):
    """NumPy's numbers get into the state of the schedule, and from there into the optimizer's."""
    import numpy

    def parts():
        model = torch.nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 + numpy.cos(epoch))
        return {"model": model, "optimizer": optimizer, "schedule": schedule}

    with AgreedStop() as stop:
        saved = parts()
        saved["optimizer"].step()
        saved["schedule"].step()
        TrainingState(rank.directory / "saved", stop, **saved).save()
        loaded = parts()
        found = TrainingState(rank.directory / "saved", stop, **loaded).load()
    rates = [each["optimizer"].param_groups[0]["lr"] for each in (saved, loaded)]
    return [found, type(rates[0]).__module__, bool(rates[0] == rates[1])]


def what_could_not_be_loaded(rank):
    class Part:
        def state_dict(self):
            return {"deep": [{"path": Path("/")}]}

    with AgreedStop() as stop:
        try:
            TrainingState(rank.directory / "saved", stop, part=Part()).save()
        except ValueError as error:
            return [str(error), os.listdir(rank.directory / "saved")]


def no_room(rank):
    """A file may not be as large as the checkpoint."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with AgreedStop() as stop:
        try:
            TrainingState(rank.directory / "saved", stop, part=torch.nn.Linear(100, 100)).save()
        except OSError as error:
            return [os.strerror(error.errno), os.listdir(rank.directory / "saved")]


def another_number_of_ranks_and_a_stop(rank):
    """Saved by these ranks, gone on with by one, which is stopped: of its epoch nothing comes twice."""
    rank.join()
    directory = rank.directory / "shared"
    with AgreedStop() as stop:
        state = TrainingState(directory, stop)
        list(itertools.islice(state.steps(list(range(10))), 2))
        state.save()
    own = shutil.copytree(directory, rank.directory / f"of-{rank.number}")
    dist.destroy_process_group()
    given = []
    with AgreedStop() as stop, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for take in (5, 20):
            torch.manual_seed(1)
            state = TrainingState(own, stop)
            state.load()
            for item in itertools.islice(state.steps(DataLoader(list(range(20)), shuffle=True)), take):
                given.append(int(item))
                torch.rand(1)  # as in training
            state.save()
    return [len(given), len(set(given))]


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
    "an evaluation that draws": (1, (3, 6), {"before_save": lambda state, stop: torch.rand(3)}),
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
        1: [other_parts, a_schedule_in_numpy, what_could_not_be_loaded, no_room],
        2: [another_number_of_ranks, another_number_of_ranks_and_a_stop, a_disk_is_full, sharded],
        3: [newest_of_all_hosts, saved_by_another_timeline],
        4: [two_hosts_with_two_ranks],
    }.items()
    for function in functions
}
SCENARIOS.update({f"trained: {name}": (CONFIGURATIONS[name][0], trained_with(name)) for name in CONFIGURATIONS})
