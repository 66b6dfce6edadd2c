"""`smentryctl explain` on images: it says what smentry would run, and starts nothing of the user's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from running import wait_until

from .containers import PLAIN, ROOT, docker

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("docker")
pytest.importorskip("botocore")

DOCKERFILE = f"""
FROM {PLAIN}
COPY train.py /app/train.py
ENTRYPOINT ["smentry", "--train", "python3 /app/train.py"]
"""


def explain(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "smentry.ctl", "explain", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def explained(*words: str, **environment: str) -> dict[str, Any]:
    """What was printed, as YAML. Nothing may be left: no image, no container."""
    before = left()
    ran = explain(*words, **environment)
    assert ran.returncode == 0, ran.stderr
    new = left() - before
    wait_until(lambda: not new & left(), "everything that was made to be removed")  # what other tests make is gone soon
    document: dict[str, Any] = yaml.safe_load(ran.stdout)
    return document


def left() -> set[str]:
    """What there is of images and containers that smentryctl makes to look into."""
    images = docker("images", "--quiet", "smentryctl-built").stdout
    containers = docker("ps", "--all", "--quiet", "--filter", "label=smentryctl=image").stdout
    return {*images.split(), *containers.split()}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with a Dockerfile, whose program would not go unseen."""
    (tmp_path / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    (tmp_path / "train.py").write_text("print('STARTED', flush=True)\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    (data / "part.csv").write_text("1\n", encoding="utf-8")
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text("print('STARTED')\n", encoding="utf-8")

    def channel(name: str, uri: str) -> dict[str, Any]:
        return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}

    wanted = {
        "TrainingJobName": "explained",
        "AlgorithmSpecification": {
            "TrainingImage": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/trainer:1",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["smentry"],
            "ContainerArguments": ["--script", "code/train.py", "train", "--fast"],
        },
        "RoleArn": "arn:aws:iam::123456789012:role/trainer",
        "HyperParameters": {"epochs": "3"},
        "InputDataConfig": [channel("train", "s3://bucket/data"), channel("code", "s3://bucket/code")],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "Environment": {"SMENTRY_SCOPE": "all"},
    }
    path = tmp_path / "request.json"
    path.write_text(json.dumps(wanted), encoding="utf-8")
    return path


def test_a_directory_is_built_and_explained_and_the_image_removed(image: str, directory: Path) -> None:
    document = explained(str(directory))
    assert document["program"]["verb"] == "train"
    assert document["program"]["command"] == ["python3", "/app/train.py"]
    assert document["settings"]["train"] == {"value": ["python3", "/app/train.py"], "from": "flag --train"}


def test_an_image_that_the_user_has_built_from_the_same_directory_stays(image: str, directory: Path) -> None:
    name = f"smentry-test-explain:{os.getpid()}"
    docker("build", "--tag", name, str(directory))
    try:
        explained(str(directory))
        assert docker("image", "inspect", name, check=False).returncode == 0
        document = explained(name, "--", "--stop-timeout", "90", "train", "--epochs", "2")
    finally:
        docker("rmi", name)
    assert document["settings"]["stop_timeout"] == {"value": 90, "from": "flag --stop-timeout"}
    assert document["program"]["command"] == ["python3", "/app/train.py", "--epochs", "2"]


def test_a_command_after_the_entrypoint_is_not_started(image: str) -> None:
    document = explained(PLAIN, "--", "--", "sh", "-c", "echo STARTED")
    assert document["program"]["command"] == ["sh", "-c", "echo STARTED"]
    assert document["settings"]["dry_run"] == {"value": True, "from": "variable SMENTRY_DRY_RUN"}


def test_a_request_gives_its_command_its_channels_and_its_hyperparameters(image: str, request_file: Path) -> None:
    here = request_file.parent
    document = explained(
        PLAIN,
        "--request",
        str(request_file),
        "--s3",
        f"s3://bucket/data={here}/data",
        "--s3",
        f"s3://bucket/code={here}/code",
    )
    program = document["program"]
    assert document["settings"]["script"] == {"value": "code/train.py", "from": "flag --script"}
    assert program["command"][-3:] == ["--epochs", "3", "--fast"]
    assert "/opt/ml/input/data/code/train.py" in program["command"]
    assert program["environment"]["SM_HOSTS"] == '["algo-1","algo-2"]'
    assert program["environment"]["SM_CHANNEL_TRAIN"] == "/opt/ml/input/data/train"
    assert document["settings"]["scope"] == {"value": "all", "from": "variable SMENTRY_SCOPE"}


def test_what_smentry_would_not_start_is_said_as_it_says_it(image: str) -> None:
    ran = explain(PLAIN)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "smentry[1]: error: no program for train; looked at:" in ran.stderr
    assert ran.stderr.endswith("smentryctl: smentry would start nothing, and exit with 127\n")


def test_an_image_whose_entrypoint_is_something_else_is_refused(base: str, image: str, request_file: Path) -> None:
    ran = explain(base)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"smentryctl: the ENTRYPOINT of {base}: there is none")
    request = json.loads(request_file.read_text(encoding="utf-8"))
    request["AlgorithmSpecification"]["ContainerEntrypoint"] = ["/bin/sh", "-c"]
    del request["InputDataConfig"]
    request_file.write_text(json.dumps(request), encoding="utf-8")
    ran = explain(PLAIN, "--request", str(request_file))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert f'the ContainerEntrypoint of {request_file} is ["/bin/sh", "-c"], not smentry' in ran.stderr


def test_a_dockerfile_that_cannot_be_built_is_named_with_what_the_build_said(image: str, directory: Path) -> None:
    with (directory / "Dockerfile").open("a", encoding="utf-8") as file:
        file.write("RUN echo about to fail && exit 3\n")
    ran = explain(str(directory))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert (
        f"smentryctl: {directory}/Dockerfile: The command '/bin/sh -c echo about to fail && exit 3' returned a non-zero"
        in ran.stderr
    )
    assert "\n  about to fail\n" in ran.stderr


def test_neither_an_image_nor_a_directory_with_a_dockerfile_is_one_line(image: str, tmp_path: Path) -> None:
    ran = explain("smentry-test-none:none")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert (
        ran.stderr
        == "smentryctl: the image 'smentry-test-none:none' is not on this machine: pull it or build it first\n"
    )
    ran = explain(str(tmp_path))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert (
        ran.stderr == f"smentryctl: {tmp_path}: expected an image or a directory with a Dockerfile, found none in it\n"
    )
