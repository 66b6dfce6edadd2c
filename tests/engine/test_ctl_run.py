"""`smentryctl run` on the container engine: how a job starts, is stopped, fails, is interrupted; and what is left: nothing."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from running import LIMIT, status, wait_until

from smentry.ctl.data.storage import Storage
from smentry.ctl.data.tree import lay_out
from smentry.ctl.engine.base import Ended, Start
from smentry.ctl.engine.docker import SECONDS, DockerEngine
from smentry.ctl.request import reading

from .containers import build, docker
from .jobs import CODE, Jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Several = Callable[[], "Jobs"]


@pytest.fixture
def jobs(base: str, tmp_path: Path) -> Iterator[Jobs]:
    """Run jobs. Fails where something of them is left."""
    jobs = Jobs(base, tmp_path)
    try:
        yield jobs
        assert jobs.left() == []
    finally:
        jobs.close()


@pytest.fixture
def several(base: str, tmp_path: Path) -> Iterator[Several]:
    """Makes `jobs`, as many as are asked for: for tests of jobs at the same time."""
    made: list[Jobs] = []

    def another() -> Jobs:
        directory = tmp_path / f"{tmp_path.name}-{len(made)}"
        directory.mkdir()
        made.append(Jobs(base, directory))
        return made[-1]

    try:
        yield another
        assert [jobs.left() for jobs in made] == [[] for _ in made]
    finally:
        for jobs in made:
            jobs.close()


# -- how the image is started ----------------------------------------------------------------------

SHOW = """#!/bin/sh
printf '%s\\n' "$0" "$@"
ls /opt/ml/model
"""
SHOWING = """
ARG SMENTRY_IMAGE
FROM ${SMENTRY_IMAGE}
COPY show /usr/local/bin/
RUN chmod 755 /usr/local/bin/show && ln -s show /usr/local/bin/other \\
 && mkdir -p /opt/ml/model && touch /opt/ml/model/baked
ENTRYPOINT ["show", "own entrypoint"]
CMD ["own command"]
"""


@pytest.fixture(scope="module")
def showing(base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image that prints what it is started as, and what it sees of the model directory, in which it has a file."""
    directory = tmp_path_factory.mktemp("showing")
    (directory / "Dockerfile").write_text(SHOWING)
    (directory / "show").write_text(SHOW)
    tag = f"smentry-test-showing:{os.getpid()}"
    build(tag, directory / "Dockerfile", directory, SMENTRY_IMAGE=base)
    yield tag
    docker("rmi", "--force", tag, check=False)


STARTS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["/usr/local/bin/show", "own entrypoint", "train"]),
    ({"ContainerArguments": ["one", "t w o"]}, ["/usr/local/bin/show", "own entrypoint", "one", "t w o"]),
    ({"ContainerEntrypoint": ["other", "x"]}, ["/usr/local/bin/other", "x"]),
    (
        {"ContainerEntrypoint": ["other"], "ContainerArguments": ["$HOME", "x"]},
        ["/usr/local/bin/other", "$HOME", "x"],
    ),
]
"""Neither of ContainerEntrypoint and ContainerArguments, one, the other, both."""


def test_entrypoint_and_arguments_are_those_of_docker_run(several: Several, showing: str) -> None:
    started = []
    for algorithm, _ in STARTS:
        jobs = several()
        started.append(jobs.start(jobs.request(image=showing, algorithm=algorithm)))
    for ran, (_, expected) in zip(started, STARTS):
        assert ran.end() == 0, ran.err
        assert ran.host() == expected  # and nothing of what the image has under /opt/ml


def test_the_image_with_smentry_runs_its_train(jobs: Jobs, image: str) -> None:
    ran = jobs.run(image=image, Environment={"STATE": "/opt/ml/output/data"})
    assert ran.process.returncode == 0, ran.said
    assert "arguments: []" in ran.host()


def test_no_output_is_lost_of_a_program_that_ends_at_once(jobs: Jobs) -> None:
    ran = jobs.run("chatter.py")
    assert ran.host() == [*(f"line {number}" for number in range(20000)), "\ufffd no end"]


# -- how it ends -----------------------------------------------------------------------------------


def test_a_stop_by_the_clock_saves_the_model_and_kills_who_does_not_end(several: Several) -> None:
    stopped, limited, deaf = several(), several(), several()
    stop = stopped.start(stopped.request("saver.py"), "--stop-after", "8s")
    limit = limited.start(limited.request("saver.py", StoppingCondition={"MaxRuntimeInSeconds": 8}), "--json")
    kill = deaf.start(deaf.request("deaf.py"), "--stop-after", "2s", "--stop-timeout", "1s")

    assert stop.end() == 3, stop.err
    assert stop.host() == ["started False", "got SIGTERM"]
    assert f"job         {stopped.name}: Stopped\n" in stop.out
    assert stopped.artifact("model.tar.gz") == {"early": "", "weights": "saved"}
    assert stopped.artifact("output.tar.gz") == {"log": "half"}
    assert not (stopped.output / "checkpoints").exists()  # the request has no CheckpointConfig

    assert limit.end() == 3, limit.err
    described = json.loads(limit.said)
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert "algo-1 | got SIGTERM\n" in limit.err
    assert limited.artifact("model.tar.gz")["weights"] == "saved"

    assert kill.end() == 3, kill.err
    assert "algo-1      exit code 137 (SIGKILL)\n" in kill.out


def test_being_interrupted_stops_the_job(several: Several) -> None:
    three = {number: several() for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    running = {number: jobs.start(jobs.request("saver.py")) for number, jobs in three.items()}
    for number, ran in running.items():
        ran.saw("started")
        ran.process.send_signal(number)
    for number, ran in running.items():
        assert ran.end() == 3, (number, ran.err)
        assert "got SIGTERM" in ran.host()
        assert three[number].artifact("model.tar.gz")["weights"] == "saved"


def test_a_second_interrupt_kills_at_once(jobs: Jobs) -> None:
    ran = jobs.start(jobs.request("deaf.py", hosts=2))
    ran.saw("algo-1 | started")
    ran.saw("algo-2 | started")
    ran.process.send_signal(signal.SIGINT)
    wait_until(lambda: any("asked to stop" in line for line in ran.err), "the first to be heard")
    ran.process.send_signal(signal.SIGINT)
    assert ran.end() == 3, ran.err
    assert f"job         {jobs.name}: Stopped\n" in ran.out
    assert [line for line in ran.out if "exit code" in line] == [
        "algo-1      exit code 137 (SIGKILL)\n",
        "algo-2      exit code 137 (SIGKILL)\n",
    ]


def test_an_interrupt_at_any_moment_leaves_nothing(several: Several) -> None:
    began = time.monotonic()
    running = []
    for _ in range(6):
        jobs = several()
        running.append(jobs.start(jobs.request("saver.py", hosts=2), "--stop-timeout", "1s"))
    for number, ran in enumerate(running):
        # Before that it is Python itself that is interrupted, at its start.
        wait_until(lambda ran=ran: caught(ran.process.pid, signal.SIGTERM), "smentryctl to catch signals")
        time.sleep(max(0.0, began + 0.4 * number - time.monotonic()))  # the moment is what is tested
        ran.process.send_signal(signal.SIGINT)
    for ran in running:
        assert ran.end() in (3, 130), ran.err
        assert "Traceback" not in "".join(ran.err)


def caught(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    return bool(int(status(pid, "SigCgt") or "0", 16) & 1 << number - 1)


def test_a_failing_program_fails_the_job_with_its_reason(jobs: Jobs) -> None:
    jobs.output.mkdir()
    (jobs.output / "model.tar.gz").write_text("of another job")
    ran = jobs.run("failing.py", "--json")
    assert ran.process.returncode == 1, ran.err
    described = json.loads(ran.said)
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"] == f"AlgorithmError: {'ö' * 1024}, exit code: 7"
    assert jobs.artifact("output.tar.gz") == {"why": "because"}
    assert sorted(path.name for path in jobs.output.iterdir()) == ["model.tar.gz~", "output.tar.gz"]


def test_a_host_that_fails_ends_the_others_and_says_so(jobs: Jobs) -> None:
    ran = jobs.run("partly.py", "--stop-timeout", "1s", hosts=2)
    assert ran.process.returncode == 1, ran.err
    assert ran.err == [
        "smentryctl: algo-1 has failed: SIGTERM to algo-2; SIGKILL in 1 s\n",
        "smentryctl: SIGKILL to algo-2\n",
    ]
    assert "why         AlgorithmError: , exit code: 3\n" in ran.out


def test_what_is_left_of_a_container_that_somebody_removes_is_not_lost(jobs: Jobs) -> None:
    ran = jobs.start(jobs.request("deaf.py"))
    ran.saw("started")
    docker("rm", "--force", jobs.left()[0])
    assert ran.end() == 1  # not 2: something had been started
    (tree,) = jobs.left()
    assert ran.err == [
        f"smentryctl: what the hosts have left is kept in {jobs.scratch / tree}\n",
        "smentryctl: algo-1 has been removed by somebody else\n",
    ]
    shutil.rmtree(jobs.scratch / tree)


def test_a_network_that_cannot_be_removed_costs_no_result(jobs: Jobs) -> None:
    ran = jobs.start(jobs.request("saver.py"))
    ran.saw("started")
    network = next(
        name for name in jobs.left() if name in docker("network", "ls", "--format", "{{.Name}}").stdout.split()
    )
    stranger = f"{network}-stranger"
    docker("run", "--detach", "--name", stranger, "--network", network, jobs.image, "sleep", "60")
    try:
        ran.process.send_signal(signal.SIGINT)
        assert ran.end() == 3, ran.err
        assert ran.err[-1].startswith("smentryctl: the network of the hosts cannot be removed: ")
        assert f"docker network ls --filter label=smentryctl={network.partition('-')[2]}" in ran.err[-1]
        assert f"job         {jobs.name}: Stopped\n" in ran.out
    finally:
        docker("rm", "--force", stranger)
        docker("network", "rm", network)


def test_a_program_that_is_not_in_the_image_fails_the_job(jobs: Jobs) -> None:
    ran = jobs.run(algorithm={"ContainerEntrypoint": ["no-such-program"]})
    assert ran.process.returncode == 1, ran.err
    assert "why         AlgorithmError: , exit code: 127\n" in ran.out
    assert "".join(ran.err) == (
        f"smentryctl: algo-1 cannot be started: 'no-such-program' is not in the image {jobs.image} (exit code 127)\n"
    )


def test_an_image_that_cannot_be_had_is_one_line(jobs: Jobs) -> None:
    ran = jobs.run("saver.py", image="localhost:1/nobody/nothing:never")
    assert ran.process.returncode == 2
    assert ran.err[-1].startswith(
        "smentryctl: the image 'localhost:1/nobody/nothing:never' is not on this machine and cannot be pulled ("
    )
    assert not jobs.output.exists()


def test_an_engine_that_refuses_a_container_leaves_nothing(jobs: Jobs) -> None:
    if "nvidia" in docker("info", "--format", "{{.Runtimes}}").stdout:
        pytest.skip("this engine has GPUs to give")
    ran = jobs.run("saver.py", "--gpus", "all")
    assert ran.process.returncode == 2
    assert ran.err[-1].startswith("smentryctl: algo-1 cannot be started: could not select device driver")
    assert ran.err[-1].endswith("leave --gpus out\n")


def test_an_interruption_keeps_the_checkpoints_and_nothing_else(jobs: Jobs) -> None:
    kept = jobs.directory / "bucket"
    kept.mkdir()
    (kept / "earlier").write_text("of an earlier job")
    config = {"S3Uri": "s3://bucket/checkpoints"}
    ran = jobs.run(
        "saver.py", "--interrupt-after", "8s", "--checkpoints", str(kept), "--json",
        CheckpointConfig=config, EnableManagedSpotTraining=True,
    )  # fmt: skip
    assert ran.process.returncode == 0, ran.err
    log = [line.rstrip("\n").partition("| ")[2] for line in ran.err if line.startswith("algo-1 |")]
    assert log == ["started earlier False", "got SIGTERM", "started earlier step-1 False"]
    assert [each["Status"] for each in json.loads(ran.said)["SecondaryStatusTransitions"]] == [
        "Starting", "Downloading", "Training", "Interrupted", "Starting", "Downloading", "Training", "Uploading", "Completed"
    ]  # fmt: skip
    assert sorted(path.name for path in kept.iterdir()) == ["earlier", "step-1", "step-2"]
    assert jobs.artifact("model.tar.gz") == {"early": ""}


def test_two_hosts_reach_each_other_by_name(jobs: Jobs) -> None:
    ran = jobs.run("names.py", hosts=2)
    assert ran.process.returncode == 0, ran.said
    assert (ran.host("algo-1"), ran.host("algo-2")) == (["algo-1 heard algo-2"], ["algo-2 heard algo-1"])
    assert jobs.artifact("model.tar.gz") == {"of-algo-1": "algo-1", "of-algo-2": "algo-2", "same": "algo-1"}


@pytest.mark.parametrize("isolated", [False, True])
def test_network_isolation_is_a_network_without_a_way_out(isolated: bool, jobs: Jobs) -> None:
    ran = jobs.start(jobs.request("deaf.py", EnableNetworkIsolation=isolated), "--stop-timeout", "0s")
    ran.saw("started")
    network = docker(
        "network", "ls", "--filter", f"name=smentryctl-{jobs.name}", "--format", "{{.Name}}"
    ).stdout.strip()
    assert docker("network", "inspect", "--format", "{{.Internal}}", network).stdout.strip() == str(isolated).lower()
    ran.process.send_signal(signal.SIGINT)
    assert ran.end() == 3, ran.err


def test_an_ordinary_user_gets_the_artifacts_and_leaves_nothing(jobs: Jobs) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else who may use the engine")
    nobody, group = 65534, os.stat("/var/run/docker.sock").st_gid
    with tempfile.TemporaryDirectory() as home:  # not below pytest's own, which is closed to others
        os.chmod(home, 0o755)
        jobs = Jobs(jobs.image, Path(home))
        for path in (jobs.directory, *jobs.directory.rglob("*")):
            os.chown(path, nobody, nobody)
        # The interpreter may be one that only root can read: this capability lets read, not write or remove.
        become = f"setpriv --reuid={nobody} --regid={nobody} --groups={group} --inh-caps=-all,+dac_read_search"
        become += " --bounding-set=-all,+dac_read_search --ambient-caps=+dac_read_search"
        ran = jobs.start(jobs.request("stubborn.py"), before=become.split())
        assert ran.end() == 0, ran.err
        assert jobs.artifact("model.tar.gz") == {"deep/er/file": "root's"}
        assert jobs.left() == []


# -- the same as by hand ---------------------------------------------------------------------------


@contextlib.contextmanager
def by_hand(jobs: Jobs, request: dict[str, Any], directory: Path) -> Iterator[str]:
    """`docker run` as a person would type it for this request. The container's name."""
    job = reading.job(request)
    tree = lay_out(job, Storage([("s3://bucket/code", jobs.directory / "code")]), directory)[0]
    words = ["--hostname", tree.host, "--name", f"{jobs.name}-by-hand"]
    for mount in tree.mounts:
        words += ["--volume", f"{mount.source}:{mount.target}{':ro' if mount.read_only else ''}"]
    for name, text in tree.environment.items():
        words += ["--env", f"{name}={text}"]
    entrypoint, arguments = job.command
    assert entrypoint is None
    docker("run", "--detach", *words, job.image, *arguments)
    try:
        yield f"{jobs.name}-by-hand"
    finally:
        docker("rm", "--force", "--volumes", f"{jobs.name}-by-hand", check=False)


def test_the_container_sees_the_same_as_under_docker_run_and_docker_stop(jobs: Jobs, image: str) -> None:
    request = jobs.request(
        image=image,
        algorithm={"ContainerArguments": ["--", "python3", f"{CODE}/probe.py", "t w o", "--rate=0.1"]},
        HyperParameters={"epochs": "3"},
        Environment={"A": "b c", "EMPTY": ""},
        CheckpointConfig={"S3Uri": "s3://bucket/checkpoints"},
    )
    ran = jobs.start(request)
    ran.saw("ready")
    ran.process.send_signal(signal.SIGINT)
    assert ran.end() == 3, ran.err
    seen = json.loads(jobs.artifact("model.tar.gz")["seen"])
    assert "algo-1      exit code 5\n" in ran.out

    with by_hand(jobs, request, jobs.directory / "by-hand") as name:
        wait_until(lambda: "ready" in docker("logs", name).stdout, "the program to be ready")
        docker("stop", "-t", "120", name)
        assert docker("inspect", "--format", "{{.State.ExitCode}}", name).stdout.strip() == "5"
    expected = json.loads((jobs.directory / "by-hand/algo-1/ml/model/seen").read_text())

    assert seen["got"] == ["SIGTERM"]
    assert seen["argv"] == ["t w o", "--rate=0.1"]
    assert seen["tree"]["/opt/ml/input/data/code/probe.py"][0] == "-rw-r--r--"
    for what in expected:
        assert seen[what] == expected[what], what


# -- the engine by itself --------------------------------------------------------------------------

HUNGRY = """
held = bytearray(100_000_000)
held[::4096] = b"x" * len(held[::4096])
with open("/cache", "wb") as file:
    file.write(bytes(200_000_000))
open("/cache", "rb").read()
while sum(range(100000)):
    print("ready", flush=True)
"""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_memory_is_that_of_docker_stats_and_cpu_time_grows(jobs: Jobs) -> None:
    engine = DockerEngine(jobs.name)
    got: list[bytes] = []
    try:
        engine.prepare(jobs.image)
        container = engine.start(Start("algo-1", jobs.image, ["python3", "-c"], [HUNGRY]), got.append)
        wait_until(lambda: got, "the program to have its memory")
        first = container.usage()
        assert first is not None
        shown = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", container.identity).stdout.partition("MiB")[
            0
        ]
        second = container.usage()
        assert second is not None
        assert first.memory / (1 << 20) == pytest.approx(float(shown), rel=0.1)
        assert 95 < float(shown) < 250  # without the 200 MB that the page cache has
        assert second.memory_limit > second.memory
        assert first.cpu_seconds < second.cpu_seconds < first.cpu_seconds + LIMIT
        container.signal(signal.SIGKILL)
        assert container.wait() == Ended(137)
        container.signal(signal.SIGKILL)  # nothing to send it to
        assert container.usage() is None
        assert list(engine.archive(container, "/no/such/path")) == []
        with contextlib.closing(engine.archive(container, "/cache")) as archive:
            assert next(archive)
        began = time.monotonic()
        engine.close()
        assert time.monotonic() - began < SECONDS / 2  # the engine removes no container while its archive is read
    finally:
        engine.close()
        gc.collect()  # the library leaves the socket of an attached container to this, which warns
