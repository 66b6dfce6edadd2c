"""The flags of a job: alone, and as changes of a request."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from smentry.ctl.request import flags, model, reading
from smentry.ctl.request.job import Channel, Job
from smentry.errors import RefusedError

from .requests import IMAGE, channel, large, small


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser("run", allow_abbrev=False)
    flags.add_flags(parser)
    return parser.parse_args(words)


def changed(request: dict[str, Any], *words: str) -> dict[str, Any]:
    before = json.dumps(request)
    made = flags.changed(request, parsed(*words))
    assert json.dumps(request) == before, "the request that was given has been changed"
    assert model.problems(made, local=True) == []
    return made


def job(*words: str) -> Job:
    return reading.asked(None, parsed(*words))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_a_job_is_made_of_an_image_and_a_directory(data: Path) -> None:
    made = job("--image", "digits:1", "--channel", "training=./data")
    assert made.image == "digits:1"
    assert made.name == "digits"
    assert made.command == (None, ("train",))
    assert made.channels == (Channel("training", str(data)),)
    assert [host.name for host in made.hosts] == ["algo-1"]
    assert made.arn == "arn:aws:sagemaker:us-east-1:000000000000:training-job/digits"


def test_every_flag_of_a_job_without_a_request(data: Path) -> None:
    made = job(
        "--image", IMAGE, "--entrypoint", "smentry", "--argument=--script", "--argument", "code/x.sh",
        "--channel", "code=data:FastFile", "--channel", "more=s3://bucket/x:Pipe",
        "--hyperparameter", "lr=0.1", "--hyperparameter", "query=a=b", "--env", "A=", "--instances", "3", "--max-runtime", "2m",
    )  # fmt: skip
    assert made.command == (("smentry",), ("--script", "code/x.sh"))
    assert made.channels == (Channel("code", str(data), "FastFile"), Channel("more", "s3://bucket/x", "Pipe"))
    assert made.hyperparameters == {"lr": "0.1", "query": "a=b"}
    assert made.environment == {"A": ""}
    assert [host.name for host in made.hosts] == ["algo-1", "algo-2", "algo-3"]
    assert made.max_runtime == 120


def test_without_flags_a_request_stays_as_it_is() -> None:
    assert changed(large()) == large()


def test_flags_change_only_what_they_say() -> None:
    made = changed(large(), "--image", "other", "--hyperparameter", "lr=1", "--max-runtime", "90")
    expected = large()
    expected["AlgorithmSpecification"]["TrainingImage"] = "other"
    expected["HyperParameters"]["lr"] = "1"
    expected["StoppingCondition"]["MaxRuntimeInSeconds"] = 90
    assert made == expected


def test_arguments_replace_those_of_the_request() -> None:
    algorithm = changed(large(), "--argument", "a", "--argument", "b")["AlgorithmSpecification"]
    assert algorithm["ContainerEntrypoint"] == ["/bin/sh"]
    assert algorithm["ContainerArguments"] == ["a", "b"]


def test_an_image_takes_the_place_of_an_algorithm_resource() -> None:
    request = {**small(), "AlgorithmSpecification": {"AlgorithmName": "mine", "TrainingInputMode": "Pipe"}}
    made = changed(request, "--image", "digits")
    assert made["AlgorithmSpecification"] == {"TrainingImage": "digits", "TrainingInputMode": "Pipe"}


def test_a_channel_of_the_request_comes_out_of_a_directory(data: Path) -> None:
    sharded = {
        **channel("training", S3DataType="ManifestFile", S3DataDistributionType="ShardedByS3Key"),
        "InputMode": "Pipe",
    }
    made = reading.job(changed({**small(), "InputDataConfig": [sharded]}, "--channel", "training=data"))
    assert made.channels == (Channel("training", str(data), "Pipe", distribution="ShardedByS3Key"),)


def test_a_manifest_may_be_a_file_of_this_machine(data: Path) -> None:
    (data / "manifest").touch()
    request = {**small(), "InputDataConfig": [channel("training", S3DataType="ManifestFile")]}
    made = reading.job(changed(request, "--channel", "training=data/manifest"))
    assert made.channels == (Channel("training", str(data / "manifest"), kind="ManifestFile"),)


def test_a_directory_stands_in_for_a_file_system_of_the_cloud(data: Path) -> None:
    system = {
        "FileSystemId": "fs-12345678",
        "FileSystemAccessMode": "ro",
        "FileSystemType": "EFS",
        "DirectoryPath": "/x",
    }
    request = {**small(), "InputDataConfig": [{"ChannelName": "a", "DataSource": {"FileSystemDataSource": system}}]}
    assert reading.job(changed(request, "--channel", "a=data:File")).channels == (Channel("a", str(data)),)


def test_a_directory_may_be_called_like_a_mode(data: Path) -> None:
    (data.parent / "File").mkdir()
    assert job("--image", "digits", "--channel", "a=File:Pipe").channels == (
        Channel("a", str(data.parent / "File"), "Pipe"),
    )
    assert job("--image", "digits", "--channel", "a=File").channels[0].uri == str(data.parent / "File")


def test_a_directory_with_a_colon_is_no_mode(data: Path) -> None:
    (data / "12:30").mkdir()
    assert job("--image", "digits", "--channel", "a=data/12:30").channels[0].uri == str(data / "12:30")


def test_instances_of_a_request_with_groups_are_refused() -> None:
    groups = [{"InstanceGroupName": "a", "InstanceType": "ml.m5.large", "InstanceCount": 1}]
    with pytest.raises(RefusedError, match=r"^--instances: the request has InstanceGroups"):
        flags.changed({**small(), "ResourceConfig": {"InstanceGroups": groups}}, parsed("--instances", "2"))


def test_neither_request_nor_image_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"^expected a request, or --image IMAGE$"):
        job("--env", "A=1")


def test_a_request_that_the_platform_would_refuse_is_not_mended_by_flags(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text('{"TrainingJobName": "a",\n "AlgorithmSpecification": "x"}', encoding="utf-8")
    with pytest.raises(RefusedError) as refused:
        reading.asked(str(file), parsed("--image", "digits"))
    listed = (refused.value.message, *refused.value.details)
    assert any("job.json:2:2: AlgorithmSpecification: expected an object" in line for line in listed)


def test_what_only_a_flag_has_wrong_is_refused_too(data: Path) -> None:
    with pytest.raises(RefusedError, match=r"Environment.A-B: the name: expected text such as MY_NAME"):
        job("--image", "digits", "--env", "A-B=1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--channel", "data"], "expected NAME=VALUE, got 'data'"),
        (["--channel", "a="], "expected NAME=DIR, got 'a='"),
        (["--channel", "a=nix"], "nix is not there: expected a directory, a file or an s3:// URI"),
        (["--channel", "a=data:fastfile"], "expected one of File, FastFile, Pipe after the colon, got 'fastfile'"),
        (["--hyperparameter", "lr"], "expected NAME=VALUE, got 'lr'"),
        (["--env", "=1"], "expected NAME=VALUE, got '=1'"),
        (["--instances", "0"], "expected a whole number from 1, got '0'"),
        (["--instances", "two"], "expected a whole number from 1, got 'two'"),
        (["--max-runtime", "soon"], "expected a time such as 90, 90s, 2m, 1h or 500ms, got 'soon'"),
    ],
)
def test_a_bad_value_is_one_line(words: list[str], said: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(*words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_runtime_is_whole_seconds_and_not_less_than_was_said() -> None:
    assert parsed("--max-runtime", "1500ms").max_runtime == 2
    assert parsed("--max-runtime", "0").max_runtime == 1


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("digits", "digits"),
        ("localhost:5000/team/my_digits:1.2", "my-digits"),
        ("x/" + "a" * 80, "a" * 63),
        ("repo@sha256:0123", "repo"),
        ("___", "job"),
    ],
)
def test_a_job_is_named_for_its_image(image: str, name: str) -> None:
    assert flags.name_of(image) == name
