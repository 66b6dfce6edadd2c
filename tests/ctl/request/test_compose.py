"""The requests that are written, by both documented ways and without a script."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smentry.ctl.request import model, reading
from smentry.ctl.request.compose import MAX_RUNTIME, Wanted, compose
from smentry.errors import RefusedError

from .requests import IMAGE, ROLE

NOW = 1_700_000_000.0


def composed(**wanted: Any) -> tuple[dict[str, Any], list[str]]:
    request, placeholders = compose(Wanted(**{"image": IMAGE, **wanted}), NOW)
    assert model.problems(request) == []
    reading.job(request)
    return request, placeholders


def command(**wanted: Any) -> tuple[object, object]:
    algorithm = composed(**wanted)[0]["AlgorithmSpecification"]
    return algorithm.get("ContainerEntrypoint"), algorithm.get("ContainerArguments")


def refusal(**wanted: Any) -> str:
    with pytest.raises(RefusedError) as refused:
        composed(**wanted)
    return refused.value.message


@pytest.mark.parametrize(
    ("script", "entrypoint", "arguments"),
    [
        ("/mydir/custom_entrypoint.sh", ["smentry"], ["/bin/sh", "/mydir/custom_entrypoint.sh"]),
        ("/mydir/custom_entrypoint.py", ["smentry"], ["python3", "/mydir/custom_entrypoint.py"]),
        ("code/custom_entrypoint.sh", ["smentry"], ["--script", "code/custom_entrypoint.sh"]),
        ("code/custom_entrypoint.py", ["smentry"], ["--script", "code/custom_entrypoint.py"]),
    ],
)
def test_smentry_is_the_entrypoint(script: str, entrypoint: list[str], arguments: list[str]) -> None:
    assert command(script=script) == (entrypoint, arguments)
    assert command(script=script, arguments=["--lr", "1"]) == (entrypoint, [*arguments, "--lr", "1"])


@pytest.mark.parametrize(
    ("script", "entrypoint", "arguments"),
    [
        ("/mydir/custom_entrypoint.sh", ["/bin/sh"], ["/mydir/custom_entrypoint.sh"]),
        ("/mydir/custom_entrypoint.py", ["python"], ["/mydir/custom_entrypoint.py"]),
        ("code/custom_entrypoint.sh", ["/bin/sh"], ["/opt/ml/input/data/code/custom_entrypoint.sh"]),
    ],
)
def test_plain_is_what_the_platform_documents(script: str, entrypoint: list[str], arguments: list[str]) -> None:
    assert command(script=script, plain=True) == (entrypoint, arguments)


def test_without_a_script_the_image_gets_train_and_its_arguments() -> None:
    assert command() == (None, None)
    assert command(arguments=["--lr", "1"]) == (None, ["train", "--lr", "1"])


def test_everything_given_is_in_the_request_and_there_is_no_placeholder() -> None:
    request, placeholders = composed(
        name="digits-1", script="code/a.sh", channels=[("code", "s3://b/code", None), ("training", "s3://b/t", "Pipe")],
        role=ROLE, output="s3://b/out", instance_type="ml.g5.xlarge", instances=2, volume=100, max_runtime=3600,
        hyperparameters={"lr": "0.1"}, environment={"A": "1"}, spot=True, max_wait=7200, checkpoint="s3://b/c",
    )  # fmt: skip
    source = {"S3DataDistributionType": "FullyReplicated", "S3DataType": "S3Prefix"}
    assert placeholders == []
    assert request == {
        "TrainingJobName": "digits-1",
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["smentry"],
            "ContainerArguments": ["--script", "code/a.sh"],
        },
        "RoleArn": ROLE,
        "InputDataConfig": [
            {
                "ChannelName": "code",
                "DataSource": {"S3DataSource": {**source, "S3Uri": "s3://b/code"}},
                "InputMode": "File",
            },
            {
                "ChannelName": "training",
                "DataSource": {"S3DataSource": {**source, "S3Uri": "s3://b/t"}},
                "InputMode": "Pipe",
            },
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://b/out"},
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 100},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
        "EnableManagedSpotTraining": True,
        "CheckpointConfig": {"S3Uri": "s3://b/c"},
        "HyperParameters": {"lr": "0.1"},
        "Environment": {"A": "1"},
    }


def test_what_is_not_given_is_a_placeholder_and_said() -> None:
    request, placeholders = composed(script="code/a.sh", spot=True)
    assert [line.partition(":")[0] for line in placeholders] == [
        "no --channel code=s3",
        "no --role",
        "no --output",
        "no --checkpoint",
    ]
    assert request["RoleArn"] == "arn:aws:iam::111122223333:role/your-role"
    assert request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://your-bucket/code"
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": MAX_RUNTIME, "MaxWaitTimeInSeconds": MAX_RUNTIME}


def test_the_channel_of_a_script_is_file_and_replicated() -> None:
    (channel,) = reading.job(composed(script="code/a.sh")[0]).channels
    assert (channel.mode, channel.distribution) == ("File", "FullyReplicated")


def test_a_long_name_of_an_image_leaves_room_for_the_time() -> None:
    name = composed(image="a" * 100)[0]["TrainingJobName"]
    assert len(name) == 63
    assert name.endswith("a-2023-11-14-22-13-20")


def test_a_checkpoint_needs_no_spot() -> None:
    request, _ = composed(checkpoint="s3://b/c")
    assert request["CheckpointConfig"] == {"S3Uri": "s3://b/c"}
    assert "EnableManagedSpotTraining" not in request


@settings(max_examples=30, deadline=None)
@given(st.text(min_size=1, max_size=255).filter(lambda text: "\n" not in text))
def test_a_job_has_a_valid_name_with_the_time_whatever_the_image_is_called(image: str) -> None:
    request, _ = compose(Wanted(image=image), NOW)
    assert model.problems(request) == []
    assert request["TrainingJobName"].endswith("-2023-11-14-22-13-20")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"script": "a.sh"}, "--script: expected CHANNEL/PATH, or /PATH of a file in the image, got 'a.sh'"),
        ({"script": "../a.sh"}, "--script: expected CHANNEL/PATH, or /PATH of a file in the image, got '../a.sh'"),
        ({"script": "code/../../a.sh"}, "--script: expected CHANNEL/PATH"),
        ({"script": "/opt/ml/input/data/code/a.sh"}, "is in a channel: write it as CHANNEL/PATH"),
        ({"script": "/opt//ml/x/../input/data/code/a.sh"}, "is in a channel: write it as CHANNEL/PATH"),
        ({"script": "/opt/ml/code/a.sh"}, "is below /opt/ml, where the platform's mounts hide what an image has"),
        (
            {"script": "a/b", "channels": [("a", "s3://b", "Pipe")]},
            "--channel a: expected File for the channel of the script,",
        ),
        (
            {"script": "a/b", "channels": [("a", "s3://b", "FastFile")]},
            "--channel a: expected File for the channel of the scr",
        ),
        (
            {"channels": [("a", "data", None)]},
            "--channel a: expected an s3:// URI, got 'data': the platform reads nothing els",
        ),
        ({"channels": [("a", "s3://b", None)] * 2}, "--channel a: is there twice"),
        (
            {"spot": True, "max_runtime": 60, "max_wait": 59},
            "--max-wait: expected at least --max-runtime (60 s), which it inc",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(wanted: dict[str, Any], said: str) -> None:
    assert said in refusal(**wanted)
