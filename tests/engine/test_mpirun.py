"""Open MPI over two containers: ranks that talk, a stop in which all save, the run that goes on, a rank that fails."""

from __future__ import annotations

import json
import os
import re
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import yaml
from running import wait_until

from .containers import PLAIN, ROOT, build, docker
from .jobs import CODE, Ran

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLE = ROOT / "docker/examples/mpirun"
IMAGE = "smentry-test-mpirun"
LIMIT = 200.0
"""Seconds for what a busy machine may take."""

STEPS = 40
SAVE = 5
"""Seconds of a save: mpirun, had it been told, would have killed its ranks after one."""

GREETING = r"rank (\d) of 4 on (algo-\d): the sum of all numbers is 6$"
SAVED = r"rank (\d) of 4 on (algo-\d): saved after step (\d+)$"
GOES_ON = r"rank (\d) of 4 on (algo-\d): goes on after step (\d+)$"
LOSS = r"rank \d of 4 on algo-\d: loss (\d\.\d{9}) after step (\d+)$"

BY_HAND = """
import os, subprocess, time
if os.environ["SM_CURRENT_HOST"] == "algo-1":
    options = "--allow-run-as-root -np 4 --host algo-1:2,algo-2:2 -mca orte_keep_fqdn_hostnames 1"
    while subprocess.call(["ssh", "algo-2", "true"]):
        time.sleep(0.5)
    raise SystemExit(subprocess.call(["mpirun", *options.split(), "python3", "-m", "mpi4py", "/app/train.py", *WORDS]))
os.makedirs("/run/sshd", exist_ok=True)
subprocess.check_call(["/usr/sbin/sshd"])
time.sleep(1000)
"""
"""What the training toolkit does, in short: the daemon that mpirun starts on the other host is nobody's child."""

DENIED = """
import os, subprocess, sys
os.makedirs("/run/sshd", exist_ok=True)
subprocess.check_call(["/usr/sbin/sshd"])
os.remove("/root/.ssh/authorized_keys")
open("/root/.ssh/config", "w").write("Host *\\n  StrictHostKeyChecking no\\n")
lead = "import smentry.openmpi.lead as lead; print(lead.__file__)"
path = subprocess.check_output(["/opt/smentry/bin/python3", "-c", lead], text=True).strip()
sys.exit(subprocess.call(["/opt/smentry/bin/python3", "-I", path, "localhost", "mpirun", "true"]))
"""


@dataclass
class Runs:
    """All that is run here, to be had when it has ended: the exit code, and the log."""

    uninterrupted: Future[tuple[int, str]]
    stopped: Future[tuple[int, str]]
    resumed: Future[tuple[int, str]]
    failed: Future[tuple[int, str]]
    by_hand: Future[tuple[int, str]]


@pytest.fixture(scope="module")
def mpi(image: str, base: str) -> Iterator[str]:
    """The example's image. Skips where the base image has no Open MPI, or fails there with $SMENTRY_REQUIRE_ENGINE."""
    look = "command -v mpirun && command -v sshd && command -v ssh && python3 -c 'import mpi4py'"
    if docker("run", "--rm", "--entrypoint", "sh", base, "-c", look, check=False).returncode:
        reason = f"{base} has no openmpi-bin, openssh-server and python3-mpi4py"
        if os.environ.get("SMENTRY_REQUIRE_ENGINE"):
            pytest.fail(reason)
        pytest.skip(reason)
    build(IMAGE, EXAMPLE / "Dockerfile", EXAMPLE, SMENTRY_IMAGE=PLAIN)
    yield IMAGE
    docker("rmi", "--force", IMAGE, check=False)


@pytest.fixture(scope="module")
def runs(mpi: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """All jobs, side by side: they wait more than they compute."""
    directory = tmp_path_factory.mktemp("mpirun")
    code = directory / "code"
    code.mkdir()
    (code / "by_hand.py").write_text(
        f"WORDS = ['--save_seconds', '{SAVE}', '--steps', '10000']\n{BY_HAND}", encoding="ascii"
    )

    def job(name: str, until: str = "", checkpoints: str = "", *words: str, **parameters: object) -> tuple[int, str]:
        return run(mpi, directory / name, until, directory / (checkpoints or name), *words, **parameters)

    def resume(stopped: Future[tuple[int, str]]) -> tuple[int, str]:
        stopped.result()
        return job("resumed", "", "stopped/checkpoints", steps=STEPS, pause=0)

    words = ["--launcher=none", "--linger=1", f"--train=python3 {CODE}/by_hand.py", "train"]
    by_hand = ["--channel", f"code={code}", "--entrypoint", "smentry", *[f"--argument={word}" for word in words]]
    with ThreadPoolExecutor(5) as pool:
        stopped = pool.submit(
            job, "stopped", "step 10", "stopped/checkpoints", steps=STEPS, pause=0.5, save_seconds=SAVE
        )
        runs = Runs(
            uninterrupted=pool.submit(job, "uninterrupted", steps=STEPS, pause=0),
            stopped=stopped,
            resumed=pool.submit(resume, stopped),
            failed=pool.submit(job, "failed", steps=STEPS, fail_at=3),
            by_hand=pool.submit(job, "by-hand", "step 10", "", *by_hand),
        )
        yield runs


def run(image: str, output: Path, until: str, checkpoints: Path, *words: str, **parameters: object) -> tuple[int, str]:
    """A job of two hosts with two ranks each; where `until` says so, asked to stop when the log has had that."""
    command = [sys.executable, "-m", "smentry.ctl", "run", str(EXAMPLE / "request.json"), "--image", image]
    command += [
        "--output",
        str(output),
        "--checkpoints",
        str(checkpoints),
        "--env",
        "SMENTRY_LAUNCHER_PROCESSES=2",
        *words,
    ]
    for name, value in parameters.items():
        command += ["--hyperparameter", f"{name}={value}"]
    job = Ran(command)
    try:
        if until:
            wait_until(lambda: until in job.said or job.process.poll() is not None, f"{until!r} in the log", LIMIT)
            job.process.terminate()
        code = job.end(LIMIT)
        return code, job.said + "".join(job.err)
    finally:
        job.close()


def found(pattern: str, log: str) -> list[tuple[str, ...]]:
    return re.findall(pattern, log, re.MULTILINE)


def told(log: str) -> list[str]:
    """The names of those that were told to stop, on any host, but for what is left once a main process has gone."""
    stop = r"^algo-\d \| smentry\[1\]: told (.*) SIGTERM after .* s: (?!the main process has gone)"
    lines = re.findall(stop, log, re.MULTILINE)
    return [each.partition(" ")[0] for line in lines for each in line.split(", ")]


ALL = {("0", "algo-1"), ("1", "algo-1"), ("2", "algo-2"), ("3", "algo-2")}


def test_ranks_of_two_hosts_talk_and_have_the_variables_of_their_own(runs: Runs) -> None:
    code, log = runs.uninterrupted.result()
    assert code == 0, log
    assert set(found(GREETING, log)) == ALL
    assert len(found(LOSS, log)) == 4
    assert len(set(found(LOSS, log))) == 1


def test_a_stop_is_told_to_the_ranks_and_all_complete_their_save(runs: Runs) -> None:
    code, log = runs.stopped.result()
    assert code == 3, log
    assert {(rank, host) for rank, host, _ in found(SAVED, log)} == ALL, log
    assert len({step for *_, step in found(SAVED, log)}) == 1
    assert told(log)[:4] == ["python3"] * 4, log
    assert not {"orterun", "orted", "ssh"} & set(told(log)), log
    assert log.count(" 0 killed") == 2
    assert re.findall(r"^algo-\d +exit code (\d+)$", log, re.MULTILINE) == ["0", "0"]


def test_the_next_run_goes_on_from_there_to_the_same_loss(runs: Runs) -> None:
    code, log = runs.resumed.result()
    assert code == 0, log
    steps = {step for *_, step in found(SAVED, runs.stopped.result()[1])}
    assert {step for *_, step in found(GOES_ON, log)} == steps
    assert set(found(LOSS, log)) == set(found(LOSS, runs.uninterrupted.result()[1]))


def test_a_rank_that_fails_ends_the_job_on_both_hosts(runs: Runs) -> None:
    code, log = runs.failed.result()
    assert code == 1, log
    assert "ValueError: the loss of rank 3 is not a number" in log
    assert "mpirun on algo-1 has ended with exit code 1: see there" in log
    assert re.findall(r"^algo-\d +exit code (\d+)$", log, re.MULTILINE) == ["1", "1"]


def test_ranks_of_an_mpirun_that_a_script_has_started_complete_their_save_too(runs: Runs) -> None:
    code, log = runs.by_hand.result()
    assert code == 3, log
    assert {rank for rank, *_ in found(SAVED.replace(r"(algo-\d)", "(.*)"), log)} == {"0", "1", "2", "3"}, log
    assert not {"orterun", "orted", "ssh"} & set(told(log)), log


def test_hosts_that_do_not_let_mpirun_in_are_named_at_once(mpi: str) -> None:
    ran = docker("run", "--rm", "--entrypoint", "python3", mpi, "-c", DENIED, check=False)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "the image's keys do not let mpirun in on localhost: " in ran.stderr
    assert "Permission denied" in ran.stderr


def test_what_mpirun_starts_and_where_is_shown_before(mpi: str) -> None:
    resources = json.dumps({"current_host": "algo-1", "hosts": ["algo-1", "algo-2"], "network_interface_name": "eth0"})
    prepare = 'mkdir -p "$1" && echo "$0" >"$1/resourceconfig.json" && exec smentry --train "$2" --dry-run train'
    words = ["sh", mpi, "-c", prepare, resources, "/opt/ml/input/config", "python3 /app/train.py"]
    shown = yaml.safe_load(docker("run", "--rm", "--entrypoint", *words).stdout)
    assert shown["launcher"]["kind"] == {"value": "mpirun", "from": "/etc/smentry.yaml: launcher"}
    assert shown["launcher"]["hosts"] == ["algo-1", "algo-2"]
    argv = shown["program"]["command"]
    assert argv[argv.index("--host") + 1] == "algo-1,algo-2"
    assert argv[-4:] == ["/usr/bin/python3", "-m", "mpi4py", "/app/train.py"]
