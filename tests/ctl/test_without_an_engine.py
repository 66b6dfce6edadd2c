"""`smentryctl run --engine process`, from the request to the artifacts, with namespaces and without."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from running import LIMIT, pids, wait_until

from smentry.ctl.engine.process import VARIABLE, ProcessEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("botocore")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


class Runs:
    """smentryctl with jobs of which every process is found by the job's name."""

    def __init__(self, directory: Path, namespaces: bool) -> None:
        self.namespaces = namespaces
        self.directory = directory
        self.output = directory / "output"
        self.channel = directory / "channel"
        self.channel.mkdir()
        self.mark = f"of-{directory.name.replace('_', '-')}-{os.getpid()}"

    def start(self, script: str, *options: str) -> subprocess.Popen[str]:
        """Start a job whose hosts run a shell script that comes through the channel `code`."""
        (self.channel / "train.sh").write_text(script)
        words = [
            "--engine",
            "process",
            "--channel",
            f"code={self.channel}",
            "--env",
            f"MARK={self.mark}",
        ]
        return subprocess.Popen(
            [sys.executable, "-m", "smentry.ctl", "run", *words, "--output", str(self.output), "--json", *options],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                VARIABLE: "yes" if self.namespaces else "no",
                "TMPDIR": str(self.directory),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *options: str) -> tuple[int, dict[str, Any], str]:
        """Run it to its end: smentryctl's exit code, the result, the log."""
        with self.start(script, *options) as process:
            result, log = process.communicate(timeout=LIMIT)
        return process.returncode, json.loads(result) if result else {}, log

    def files(self, archive: str) -> dict[str, str]:
        """The files of an artifact with their text."""
        with tarfile.open(self.output / archive) as packed:
            members = [member for member in packed if member.isfile()]
            return {member.name: packed.extractfile(member).read().decode() for member in members}  # type: ignore[union-attr]

    def alive(self) -> list[int]:
        """The processes of the job."""
        found = []
        for pid in pids():
            try:
                environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if f"MARK={self.mark}".encode() in environment:
                found.append(pid)
        return found


@pytest.fixture(params=["namespaces", "plain"])
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runs]:
    """Both ways, one after the other."""
    if request.param == "namespaces":
        tried = ProcessEngine("tried")
        without = tried.without
        tried.close()
        if without:
            pytest.skip(f"no namespaces here: {without}")
    runs = Runs(tmp_path, request.param == "namespaces")
    yield runs
    for pid in runs.alive():
        os.kill(pid, signal.SIGKILL)


def test_two_hosts_have_their_shards_and_the_artifacts_are_of_both(runs: Runs, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    for number in range(4):
        (shards / f"part-{number}").write_text(str(number))
    request = tmp_path / "request.json"
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://data/shards/", "S3DataDistributionType": "ShardedByS3Key"}
    request.write_text(
        json.dumps(
            {
                "TrainingJobName": "two-hosts",
                "AlgorithmSpecification": {"TrainingImage": "none", "TrainingInputMode": "File"},
                "RoleArn": "arn:aws:iam::000000000000:role/any",
                "InputDataConfig": [{"ChannelName": "shards", "DataSource": {"S3DataSource": source}}],
                "OutputDataConfig": {"S3OutputPath": "s3://data/output/"},
                "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1},
                "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            }
        )
    )
    script = 'base=${SAGEMAKER_BASE_DIR:-/opt/ml}; cd $base; ls input/data/shards | tr "\\n" " " > model/$HOSTNAME; echo was here'
    code, result, log = runs.run(script, str(request), "--s3", f"s3://data/shards={shards}")
    assert (code, result["TrainingJobStatus"]) == (0, "Completed"), log
    assert sorted(runs.files("model.tar.gz")) == ["algo-1", "algo-2"]
    assert sorted("".join(runs.files("model.tar.gz").values()).split()) == [f"part-{number}" for number in range(4)]
    assert log.count("was here") == 2


def test_a_pipe_channel_is_fed(runs: Runs, tmp_path: Path) -> None:
    data = tmp_path / "piped"
    data.mkdir()
    (data / "one").write_text("x" * 100_000)
    script = (
        "cd ${SAGEMAKER_BASE_DIR:-/opt/ml}; wc -c < input/data/piped_0 > model/0; wc -c < input/data/piped_1 > model/1"
    )
    code, _, log = runs.run(script, "--channel", f"piped={data}:Pipe")
    assert code == 0, log
    assert {name: text.strip() for name, text in runs.files("model.tar.gz").items()} == {"0": "100000", "1": "100000"}


def test_a_fastfile_channel_is_there_and_never_changes_what_it_was_made_of(runs: Runs, tmp_path: Path) -> None:
    data = tmp_path / "fast"
    data.mkdir()
    (data / "one").write_text("1")
    script = "cd ${SAGEMAKER_BASE_DIR:-/opt/ml}; cat input/data/fast/one; if echo > input/data/fast/new; then echo written; fi"
    code, _, log = runs.run(f"{script}; exit 0", "--channel", f"fast={data}:FastFile")
    assert code == 0, log
    assert ("Read-only file system" in log) == runs.namespaces
    assert ("written" in log) != runs.namespaces
    assert [entry.name for entry in data.iterdir()] == ["one"]


def test_an_interruption_keeps_the_checkpoints_and_nothing_else(runs: Runs) -> None:
    script = """cd ${SAGEMAKER_BASE_DIR:-/opt/ml}
trap 'echo kept > checkpoints/one; exit 0' TERM
if [ -e checkpoints/one ]; then cp checkpoints/one model; exit 0; fi
touch model/lost
while :; do sleep 0.05; done
"""
    code, result, log = runs.run(script, "--interrupt-after", "5s")
    assert code == 0, log
    assert [entry["Status"] for entry in result["SecondaryStatusTransitions"]].count("Interrupted") == 1
    assert runs.files("model.tar.gz") == {"one": "kept\n"}


def test_a_stop_is_told_to_the_program_and_a_failure_has_its_reason(runs: Runs) -> None:
    waits = 'trap "echo saved; exit 0" TERM; echo ready; while :; do sleep 0.05; done'
    process = runs.start(waits)
    assert process.stderr is not None
    for line in process.stderr:
        if "ready" in line:
            break
    process.send_signal(signal.SIGINT)
    result, log = process.communicate(timeout=LIMIT)
    assert process.returncode == 3
    assert json.loads(result)["TrainingJobStatus"] == "Stopped"
    assert "saved" in log
    fails = 'echo "no data" > ${SAGEMAKER_BASE_DIR:-/opt/ml}/output/failure; exit 9'
    code, described, _ = runs.run(fails)
    assert (code, described["TrainingJobStatus"]) == (1, "Failed")
    assert "no data" in described["FailureReason"]


def test_nothing_of_the_job_outlives_a_smentryctl_that_is_killed(runs: Runs) -> None:
    process = runs.start("trap '' TERM; setsid sleep 1000 & echo ready; wait", "--instances", "2")
    assert process.stderr is not None
    seen = 0
    while seen < 2:
        seen += "ready" in process.stderr.readline()
    wait_until(lambda: len(runs.alive()) >= 6, "three processes of each host")
    process.kill()
    wait_until(lambda: not runs.alive(), "the end of everything")
    process.communicate(timeout=LIMIT)


def test_flags_alone_need_no_image(runs: Runs) -> None:
    code, result, log = runs.run("echo done")
    assert (code, result["TrainingJobStatus"], result["TrainingJobName"]) == (0, "Completed", "local"), log
    assert result["AlgorithmSpecification"]["TrainingImage"] == "local"


def test_a_model_that_cannot_be_written_to_the_output_directory_is_not_lost(runs: Runs) -> None:
    in_the_way = f"rmdir {runs.output} && touch {runs.output}"
    code, _, log = runs.run(f"echo trained > ${{SAGEMAKER_BASE_DIR:-/opt/ml}}/model/weights; {in_the_way}")
    assert code == 1
    (left,) = re.findall(r"what the hosts have left is kept in (\S+)", log)
    assert [path.read_text() for path in Path(left).rglob("weights")] == ["trained\n"]


def test_an_archive_of_an_earlier_job_is_put_aside_and_neither_lost_nor_taken_for_this_ones(runs: Runs) -> None:
    assert runs.run("echo first > ${SAGEMAKER_BASE_DIR:-/opt/ml}/model/weights")[0] == 0
    assert runs.run("exit 3")[0] == 1
    assert not (runs.output / "model.tar.gz").exists()
    assert runs.files("model.tar.gz~") == {"weights": "first\n"}
