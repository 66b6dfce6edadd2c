"""PyTorch in containers: torchrun over several hosts, a data loader with workers, and a save that takes a minute."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from running import wait_until

from . import torch_image
from .containers import ROOT, Container, Engine, build, docker
from .jobs import Ran

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = ROOT / "docker/examples/torchrun"
PROGRAMS = Path(__file__).parent / "torch_programs"
STOPS = int(os.environ.get("SMENTRY_LOADER_STOPS", "2"))
LIMIT = 600.0
"""Seconds for what a busy machine may take: torch alone takes some to import, and there are many processes that do."""

AT_ONCE = 2
"""How many of those that compute run side by side."""

LOADERS = {
    "program": "python3 /opt/programs/loader.py",
    "custom_entrypoint.sh": "/bin/sh /opt/programs/custom_entrypoint.sh",
    "torchrun": "torchrun --standalone --nproc_per_node 1 /opt/programs/loader.py",
}
"""What starts the program with the data loader."""

SLOW_SAVE = ["torchrun", "--standalone", "--nproc_per_node", "1", "/opt/programs/slow_save.py"]
EPOCH, STEPS = 64, 384
"""Of the example, in steps, where there are four ranks."""

SAVED = r"rank (\d) of 4 on (algo-\d): saved after step (\d+)$"
GOES_ON = r"rank (\d) of 4 on (algo-\d): goes on after step (\d+)$"
LOSS = r"rank \d of 4 on algo-\d: loss (\d\.\d{9}) after step (\d+)$"


class Stopped(NamedTuple):
    """A container that was stopped: its exit code, the seconds that it took, what it wrote, and its complete checkpoints."""

    code: int
    seconds: float
    output: str
    saved: list[str]


@dataclass
class Runs:
    """All that is run here, to be had when it has ended."""

    uninterrupted: Future[str]
    interrupted: Future[str]
    by_hand: Future[list[Stopped]]
    saves: dict[str, Future[Stopped]]
    loaders: dict[str, list[Future[Stopped]]]


@pytest.fixture(scope="module")
def torch(image: str, base: str) -> str:
    """The image with PyTorch and smentry. Skips where PyTorch cannot be had, or fails there with $SMENTRY_REQUIRE_ENGINE."""
    try:
        return torch_image.prepare(base)
    except torch_image.NoTorchError as error:
        if os.environ.get("SMENTRY_REQUIRE_ENGINE"):
            pytest.fail(f"SMENTRY_REQUIRE_ENGINE is set, and {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def example(torch: str) -> Iterator[str]:
    """The example's image."""
    name = f"{torch_image.REPOSITORY}-example:{os.getpid()}"
    build(name, EXAMPLE / "Dockerfile", EXAMPLE, SMENTRY_IMAGE=torch)
    yield name
    docker("rmi", "--force", name, check=False)


@pytest.fixture(scope="module")
def runs(torch: str, example: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Everything side by side, for most of it waits: for a minute's save, or for steps that are slow on purpose.

    First the job that nobody stops, to see how long it takes here until the ranks are at work; then the one that is interrupted
    after a time, which has to be at work by then, and not at its end.
    """
    directory = tmp_path_factory.mktemp("torchrun")
    two_hosts, four_hosts = readme(example)
    with ThreadPoolExecutor() as waiting, ThreadPoolExecutor(AT_ONCE) as computing:
        under_smentry = ["smentry", "--train", shlex.join(SLOW_SAVE), "train"]
        saves = {
            how: waiting.submit(stop, torch, directory / f"save-under-{how}", words)
            for how, words in (("smentry", under_smentry), ("torchrun", SLOW_SAVE))
        }
        began = time.monotonic()
        uninterrupted = at_work(waiting, [*two_hosts, "--output", str(directory / "two")])
        after = 10 + 2 * (time.monotonic() - began)
        first = at_work(waiting, interrupted_after(after, four_hosts, directory))
        interrupted = waiting.submit(in_mid_epoch, first, interrupted_after(4 * after, four_hosts, directory))
        yield Runs(
            uninterrupted=uninterrupted,
            interrupted=interrupted,
            by_hand=computing.submit(stop_two_hosts, example, directory),
            saves=saves,
            loaders={
                way: [
                    computing.submit(
                        stop, torch, directory / f"loader-{way}-{number}", ["smentry", "--train", words, "train"]
                    )
                    for number in range(STOPS)
                ]
                for way, words in LOADERS.items()
            },
        )


def at_work(pool: Executor, words: list[str]) -> Future[str]:
    """Start a job of four ranks, and wait until they have spoken to each other. What `ended` finds of it, later."""
    job = Ran(words, cwd=ROOT)
    end = pool.submit(ended, job)
    wait_until(lambda: "".join(job.out).count(": 4 ranks") == 4 or end.done(), "four ranks", LIMIT)
    return end


def readme(image: str) -> Iterator[list[str]]:
    """The commands of the example's README, for this image and without where the output goes."""
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8").replace("\\\n", "")
    for line in re.findall(r"^\$ smentryctl (.*)$", text, re.MULTILINE):
        words = shlex.split(line)
        del words[words.index("--output") : words.index("--output") + 2]
        yield [sys.executable, "-m", "smentry.ctl", *words, "--image", image]


def interrupted_after(seconds: float, words: list[str], directory: Path) -> list[str]:
    """A job's command with another time until it is interrupted, and steps that are so slow that it is not done by then."""
    words = [*words, "--output", str(directory / f"interrupted-after-{seconds:.0f}")]
    words[words.index("--interrupt-after") + 1] = f"{seconds:.0f}s"
    words[words.index("PAUSE=0.1")] = f"PAUSE={seconds / 250:.3f}"
    return words


def in_mid_epoch(before: Future[str], again: list[str]) -> str:
    """What an interrupted job has written; of another one where its ranks were not at work yet, as on a machine that is busy."""
    log = before.result()
    return ended(Ran(again, cwd=ROOT)) if ": saved after step 0\n" in log else log


def ended(job: Ran) -> str:
    """What a job has written when it has ended; fails where it is not Completed."""
    try:
        code = job.end(LIMIT)
    except subprocess.TimeoutExpired:
        for _ in range(2):  # the second one ends the hosts at once
            job.process.send_signal(signal.SIGINT)
        code = job.end(LIMIT)
    finally:
        job.close()
    assert code == 0, "".join([*job.err, *job.out])
    return job.said


def stop(image: str, directory: Path, words: list[str]) -> Stopped:
    """Run a program of torch_programs until it says that it is ready, and stop it."""
    directory.mkdir()
    engine = Engine(image, directory)
    try:
        container = engine.start(
            *words[1:],
            options=["--entrypoint", words[0], "--volume", f"{PROGRAMS}:/opt/programs:ro"],
            environment={"AFTER": str(random.randint(1, 40)), "OMP_NUM_THREADS": "1"},
        )
        container.ready(limit=LIMIT)
        container.stop(120)
        return seen(container, container.state / "checkpoints")
    finally:
        engine.close()


def stop_two_hosts(image: str, directory: Path) -> list[Stopped]:
    """`docker stop` two hosts that train together, in mid-epoch."""
    hosts = ["algo-1", "algo-2"]
    engine = Engine(image, directory)
    network = f"smentry-test-torchrun-{os.getpid()}"
    docker("network", "create", network)
    try:
        started, saved = [], []
        for host in hosts:
            config = directory / host / "input/config"
            config.mkdir(parents=True)
            resources = {"current_host": host, "hosts": hosts, "network_interface_name": "eth0"}
            (config / "resourceconfig.json").write_text(json.dumps(resources), encoding="ascii")
            options = ["--network", network, "--hostname", host, "--network-alias", host]
            options += ["--volume", f"{directory / host}:/opt/ml"]
            started.append(
                engine.start("train", options=options, environment={"PAUSE": "0.03", "OMP_NUM_THREADS": "1"})
            )
            saved.append(directory / host / "checkpoints")
        wait_until(lambda: all(any(each.glob("save-*")) for each in saved), "the end of the first epoch", LIMIT)
        docker("stop", "-t", "120", *(each.identity for each in started), limit=LIMIT)
        return [seen(container, checkpoints) for container, checkpoints in zip(started, saved)]
    finally:
        engine.close()
        docker("network", "rm", network, check=False)


def seen(container: Container, checkpoints: Path) -> Stopped:
    """What is seen of a container that was stopped."""
    saved = sorted(path.parent.name for path in checkpoints.glob("save-*/complete.json"))
    return Stopped(container.code, container.seconds, container.output, saved)


def found(pattern: str, log: str) -> list[tuple[str, ...]]:
    return re.findall(pattern, log, re.MULTILINE)


def test_ranks_of_two_hosts_with_two_processes_each_train_together(runs: Runs) -> None:
    log = runs.uninterrupted.result()
    assert log.count("4 ranks, the sum of their numbers is 6") == 4
    assert {step for *_, step in found(SAVED, log)} == {str(step) for step in range(EPOCH, STEPS + 1, EPOCH)}
    assert len(found(LOSS, log)) == 4
    assert len(set(found(LOSS, log))) == 1


def test_four_hosts_that_are_interrupted_save_the_same_step_and_go_on_to_the_same_loss(runs: Runs) -> None:
    log = runs.interrupted.result()
    assert log.count("4 ranks, the sum of their numbers is 6") == 8
    before = log[: log.index(": goes on")]
    last = {host: step for _, host, step in found(SAVED, before)}
    assert len(last) == 4
    (step,) = set(last.values())
    assert 0 < int(step) < STEPS
    assert {(host, step) for _, host, step in found(GOES_ON, log)} == {(host, step) for host in last}
    assert set(found(LOSS, log)) == set(found(LOSS, runs.uninterrupted.result()))


def test_docker_stop_on_two_hosts_leaves_a_checkpoint_of_the_same_step_on_each(runs: Runs) -> None:
    stopped = runs.by_hand.result()
    for host in stopped:
        assert host.code == 0, host.output
        assert " 0 killed" in host.output, host.output
    (step,) = {host.saved[-1].partition("-step-")[2] for host in stopped}
    assert 2 * EPOCH <= int(step) < 2 * STEPS


@pytest.mark.parametrize("way", list(LOADERS))
def test_a_program_with_four_loader_workers_saves_in_mid_epoch(way: str, runs: Runs) -> None:
    stopped = [each.result() for each in runs.loaders[way]]
    print(f"{way}: {sum(len(each.saved) for each in stopped)} of {len(stopped)} checkpoints saved")
    for each in stopped:
        assert len(each.saved) == 1, each.output
        assert each.code == 0, each.output
        assert " 0 killed" in each.output, each.output


def test_a_save_of_a_minute_is_completed_under_torchrun(runs: Runs) -> None:
    stopped = runs.saves["smentry"].result()
    assert stopped.saved == ["save-00000001-step-1"], stopped.output
    assert stopped.code == 0, stopped.output
    assert stopped.seconds >= 60


def test_without_smentry_torchrun_kills_it_after_half_of_that(runs: Runs) -> None:
    stopped = runs.saves["torchrun"].result()
    assert stopped.saved == [], stopped.output
    assert 30 <= stopped.seconds < 60
