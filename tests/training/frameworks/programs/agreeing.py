"""Scenarios of several ranks that agree on a stop, or cannot. `SCENARIOS` says how many ranks each is for."""

import itertools
import multiprocessing
import os
import signal
import threading
import time
from datetime import timedelta

import torch.distributed as dist
from training import Job

from smentry.training import GracefulStop
from smentry.training.pytorch import AgreedStop
from smentry.training.pytorch.workers import begin


def ask() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def outcome(stop, steps, given, **more):
    return {"given": given, "requested": stop.requested, "reason": stop.reason, "complete": steps.complete, **more}


class Counted:
    """Data with a length, that knows how much of it was taken."""

    def __init__(self, length: int) -> None:
        self.length, self.taken = length, 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self):
        for number in range(self.length):
            self.taken += 1
            yield number


def loop(rank, data, asked_at: dict, every: int = 1):
    """Go over data; rank n is asked to stop in the step that asked_at[n] says, from 1 on."""
    with AgreedStop(every=every, limit=100.0 * (rank.number + 1)) as stop:
        given = 0
        steps = stop.steps(data)
        for _ in steps:
            given += 1
            assert not stop.requested
            if asked_at.get(rank.number) == given:
                ask()
        again = sum(1 for _ in stop.steps([1, 2, 3]))
        return outcome(stop, steps, given, left=stop.seconds_left, again=again)


# -- the agreement -----------------------------------------------------------------------------------


def one_is_asked(rank):
    rank.join()
    return loop(rank, Counted(50), {2: 7})


def all_are_asked_at_different_steps(rank):
    rank.join()
    return loop(rank, Counted(50), {0: 9, 1: 5, 2: 20, 3: 6})


def every_fourth_step(rank):
    rank.join()
    return loop(rank, Counted(50), {1: 6}, every=4)


def every_fourth_step_without_a_length(rank):
    rank.join()
    return loop(rank, (number for number in range(50)), {1: 6}, every=4)


def different_lengths(rank):
    rank.join()
    data = Counted(5 + rank.number)
    return {**loop(rank, data, {}, every=3), "taken": data.taken}


def no_lengths(rank):
    rank.join()
    return loop(rank, (number for number in range(5 + rank.number)), {}, every=3)


def one_without_a_length(rank):
    rank.join()
    return loop(rank, Counted(7) if rank.number else (number for number in range(5)), {}, every=3)


def no_data_on_one(rank):
    rank.join()
    return loop(rank, Counted(0 if rank.number == 1 else 5), {})


def no_length_and_asked(rank):
    rank.join()
    return loop(rank, itertools.count(), {0: 4})


def by_hand(rank):
    rank.join()
    with AgreedStop(every=2) as stop:
        for step in range(1, 50):
            if step == 5 and rank.number == 1:
                stop.request("the loss is no number")
            if stop.check():
                return {"given": step, "reason": stop.reason}
        return None


def without_and_with_others(rank):
    """Before init_process_group, after it, after destroy_process_group, and with a second one."""
    found = []
    with AgreedStop() as stop:
        found.append([stop.rank, stop.is_saver, stop.gather(rank.number)])
        found.append(len(list(stop.steps(range(3 + rank.number)))))
        rank.join()
        found.append([stop.rank, stop.is_saver, stop.gather(rank.number)])
        found.append(len(list(stop.steps(range(3 + rank.number)))))
        dist.destroy_process_group()
        found.append(stop.gather(rank.number))
        found.append(len(list(stop.steps(range(3 + rank.number)))))
        rank.directory = rank.directory / "again"
        rank.directory.mkdir(exist_ok=True)
        rank.join()
        found.append(stop.gather(rank.number))
        if rank.number == 1:
            ask()
        found.append(stop.agree())
    return found


# -- workers -----------------------------------------------------------------------------------------


def workers_under_fire(method):
    """Its whole process group is signalled all the time, from before its loader starts workers until the data has ended."""

    def scenario(rank):
        os.setsid()
        is_over = threading.Event()

        def fire() -> None:
            while not is_over.wait(0.02):
                os.killpg(0, signal.SIGTERM)

        with GracefulStop() as stop:
            thread = threading.Thread(target=fire)
            thread.start()
            stop.wait()
            job = Job(rank.directory, workers=2 if method == "fork" else 1, method=method)
            given = 0
            for _ in begin(job.loader):
                given += 1
                groups = {os.getpgid(process.pid) for process in multiprocessing.active_children()}  # of the last step
            is_over.set()
            thread.join()
        left = [process.pid for process in multiprocessing.active_children()]
        return {"given": given, "groups": len(groups), "shared": os.getpgid(0) in groups, "left": left}

    return scenario


# -- what goes wrong ---------------------------------------------------------------------------------


def caught(rank, stop, act=None):
    began = time.monotonic()
    try:
        (act or stop.agree)()
    except RuntimeError as error:
        return {"error": str(error), "seconds": time.monotonic() - began}
    return {"error": None, "seconds": time.monotonic() - began}


def one_fails_and_stays(rank):
    rank.join()
    with AgreedStop() as stop:
        stop.agree()
        if rank.number != 1:
            return caught(rank, stop)
        try:
            with stop:
                raise ValueError("its own")
        except ValueError:
            rank.wait_for_others()
    return {"error": "its own", "seconds": 0}


def one_is_killed(rank):
    rank.join()
    stop = AgreedStop()
    stop.agree()
    if rank.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return caught(rank, stop)


def one_is_slow(rank):
    """Slower than the job's own group would wait for it, at the first agreement and at a later one."""
    rank.join(timeout=timedelta(seconds=3))
    with AgreedStop() as stop:
        for _ in range(2):
            if rank.number == 1:
                time.sleep(4.5)
            stop.agree()
    return {"error": None}


def one_is_stuck(rank):
    rank.join()
    with AgreedStop(timeout=6.0) as stop:
        stop.agree()
        if rank.number != 1:
            return caught(rank, stop)
        rank.wait_for_others()
    return {"error": "its own", "seconds": 0}


def one_fails_in_what_they_do_together(rank):
    rank.join()

    def act():
        if rank.number == 1:
            raise OSError(28, "No space left on device")
        return rank.number

    with AgreedStop() as stop:
        try:
            stop.together(act)
        except (OSError, RuntimeError) as error:
            failed = f"{type(error).__name__}: {error}"
        return [failed, stop.together(lambda: rank.number)]


def a_wrong_length(rank):
    rank.join()
    data = Counted(6)
    if rank.number == 1:
        data.__class__ = type("Wrong", (Counted,), {"__iter__": lambda self: iter([1, 2, 3])})
    with AgreedStop() as stop:
        try:
            list(stop.steps(data))
        except RuntimeError as error:
            return str(error)
        return None


def what_cannot_be(rank):
    said = []
    for options in ({"every": 0}, {"timeout": 0}, {"timeout": float("inf")}):
        try:
            AgreedStop(**options)
        except ValueError as error:
            said.append(str(error))
    return said


SCENARIOS = {
    function.__name__: (world, function)
    for world, functions in {
        1: [what_cannot_be],
        2: [without_and_with_others, one_is_slow, a_wrong_length],
        3: [
            one_is_asked, every_fourth_step, every_fourth_step_without_a_length, different_lengths, no_lengths,
            one_without_a_length, no_data_on_one, no_length_and_asked, by_hand, one_fails_and_stays, one_is_killed,
            one_is_stuck, one_fails_in_what_they_do_together,
        ],
        4: [all_are_asked_at_different_steps],
    }.items()
    for function in functions
}  # fmt: skip
SCENARIOS.update({f"workers under fire: {method}": (1, workers_under_fire(method)) for method in ("fork", "spawn")})
