"""What `smentryctl explain` refuses before it asks an engine anything. What it prints is in tests/engine."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from running import LIMIT

from smentry.ctl import explain, main
from smentry.errors import RefusedError

if TYPE_CHECKING:
    from pathlib import Path

REQUEST: dict[str, Any] = {
    "TrainingJobName": "explained",
    "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
    "RoleArn": "arn:aws:iam::123456789012:role/trainer",
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/engine")


@pytest.mark.parametrize(
    "entrypoint",
    [
        ["smentry"],
        ["/usr/local/bin/smentry", "--scope", "all"],
        ["smentry", "--", "python", "/app/train.py"],
        ["python3.12", "-m", "smentry"],
    ],
)
def test_smentry_is_known_by_its_name(entrypoint: list[str]) -> None:
    explain.refuse_all_but_smentry(entrypoint, "the ENTRYPOINT")


@pytest.mark.parametrize(
    "entrypoint",
    [
        ["/bin/sh", "-c", "smentry train"],
        ["tini", "--"],
        ["python", "-m", "smentry_like"],
        ["python", "/app/train.py", "smentry"],
        ["/smentry/run.sh"],
    ],
)
def test_what_would_start_anything_else_is_refused_with_what_it_is(entrypoint: list[str]) -> None:
    with pytest.raises(RefusedError) as refused:
        explain.refuse_all_but_smentry(entrypoint, "the ENTRYPOINT of it")
    assert refused.value.message.startswith(f"the ENTRYPOINT of it is {json.dumps(entrypoint)}, not smentry")


def test_without_an_engine_it_is_one_line() -> None:
    pytest.importorskip("docker")  # which leaves its socket open then: in a process of its own
    command = [sys.executable, "-m", "smentry.ctl", "explain", "image"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("smentryctl: no container engine answers")
    assert ran.stderr.count("\n") == 1


def test_a_request_that_the_platform_would_refuse_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("botocore")
    request = tmp_path / "request.json"
    request.write_text(json.dumps({**REQUEST, "TrainingJobName": "a b"}), encoding="utf-8")
    assert main.main(["explain", "image", "--request", str(request)]) == 2
    assert "TrainingJobName" in capsys.readouterr().err


def test_data_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("botocore")
    channel = {
        "ChannelName": "train",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/train"}},
    }
    request = tmp_path / "request.json"
    request.write_text(json.dumps({**REQUEST, "InputDataConfig": [channel]}), encoding="utf-8")
    assert main.main(["explain", "image", "--request", str(request), "--s3", f"s3://b/train={tmp_path}/none"]) == 2
    assert (
        capsys.readouterr().err
        == f"smentryctl: --s3: {tmp_path}/none: expected a directory or a file, nothing is there\n"
    )
