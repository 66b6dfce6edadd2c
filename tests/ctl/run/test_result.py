from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from smentry.ctl.engine.base import Ended
from smentry.ctl.request.job import Host, Job
from smentry.ctl.run import course, result
from smentry.ctl.run.artifacts import Artifact
from smentry.ctl.run.course import Course, Event, HostEnded, Plan, Prepared, Started, StopAsked, Tick, Uploaded

REQUEST: dict[str, Any] = {
    "TrainingJobName": "digits-1",
    "AlgorithmSpecification": {"TrainingImage": "digits", "TrainingInputMode": "File", "ContainerEntrypoint": ["sh"]},
    "RoleArn": "arn:aws:iam::123456789012:role/sagemaker",
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/out/"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    "HyperParameters": {"epochs": "3"},
    "Environment": {"A": "b"},
    "Tags": [{"Key": "team", "Value": "vision"}],
    "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints"},
    "EnableManagedSpotTraining": True,
}
JOB = Job("digits-1", "digits", (Host("algo-1"), Host("algo-2")), spot=True, request=REQUEST)
PLAN = Plan(("algo-1", "algo-2"), max_runtime=600, interrupt_after=50)


def ended(*happened: tuple[float, Event], plan: Plan = PLAN) -> Course:
    """A course that began at 1000, was created a second before, and had these events."""
    state, _ = course.begin(plan, 999.0, 1000.0)
    for now, event in happened:
        state, _ = course.step(state, event, now)
    assert state.done
    return state


def both(now: float, code: int = 0) -> list[tuple[float, Event]]:
    return [(now, HostEnded("algo-1", code)), (now, HostEnded("algo-2", code))]


def begun(now: float) -> list[tuple[float, Event]]:
    return [(now, Prepared()), (now, Started())]


COMPLETED = ended(*begun(1002), *both(1012.5), (1013, Uploaded()), plan=replace(PLAN, interrupt_after=None))
FAILED = ended(*begun(1002), *both(1010, 1), (1030, Uploaded()))
STOPPED = ended(*begun(1002), (1005, StopAsked()), *both(1006, 143), (1007, Uploaded()))
TIMED_OUT = ended(
    (1002, Prepared()),
    (1002, Started()),
    (1602, Tick()),
    *both(1603),
    (1604, Uploaded()),
    plan=replace(PLAN, interrupt_after=None),
)
RESUMED = ended(
    (1002, Prepared()),
    (1002, Started()),
    (1052, Tick()),
    *both(1060, 143),
    (1065, Prepared()),
    (1065, Started()),
    *both(1085),
    (1086, Uploaded()),
)
ALL = {"completed": COMPLETED, "failed": FAILED, "stopped": STOPPED, "timed out": TIMED_OUT, "resumed": RESUMED}


@pytest.mark.parametrize("state", ALL.values(), ids=ALL)
def test_the_answer_is_one_that_the_model_of_describetrainingjob_accepts(state: Course) -> None:
    import botocore.session
    from botocore.validate import ParamValidator

    described = result.describe(JOB, state, "AlgorithmError: , exit code: 1" if state is FAILED else "")
    shape = (
        botocore.session.get_session()
        .get_service_model("sagemaker")
        .operation_model("DescribeTrainingJob")
        .output_shape
    )
    assert ParamValidator().validate(described, shape).generate_report() == ""
    assert described["TrainingJobStatus"] in shape.members["TrainingJobStatus"].enum
    statuses = shape.members["SecondaryStatus"].enum
    assert {each["Status"] for each in described["SecondaryStatusTransitions"]} <= set(statuses)


def test_what_only_repeats_the_request_is_in_the_answer() -> None:
    described = result.describe(JOB, COMPLETED)
    for name in (
        "AlgorithmSpecification",
        "RoleArn",
        "HyperParameters",
        "ResourceConfig",
        "CheckpointConfig",
        "Environment",
    ):
        assert described[name] == REQUEST[name]
    assert "Tags" not in described  # ListTags has them
    assert described["EnableManagedSpotTraining"] is True
    assert described["EnableNetworkIsolation"] is False


def test_the_members_that_are_repeated_are_members_of_both_shapes() -> None:
    import botocore.session

    model = botocore.session.get_session().get_service_model("sagemaker")
    asked = model.operation_model("CreateTrainingJob").input_shape.members
    said = model.operation_model("DescribeTrainingJob").output_shape.members
    for name in result.REPEATED:
        assert asked[name].name == said[name].name


@pytest.mark.parametrize(
    ("state", "expected", "code"),
    [
        (COMPLETED, ("Completed", "Completed"), 0),
        (FAILED, ("Failed", "Failed"), 1),
        (STOPPED, ("Stopped", "Stopped"), 3),
        (TIMED_OUT, ("Stopped", "MaxRuntimeExceeded"), 3),
        (RESUMED, ("Completed", "Completed"), 0),
    ],
)
def test_status_and_exit_code(state: Course, expected: tuple[str, str], code: int) -> None:
    described = result.describe(JOB, state)
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == expected
    assert result.EXIT_CODES[result.status(state)] == code


@pytest.mark.parametrize(
    ("state", "seconds"),
    [(COMPLETED, 13), (FAILED, 10), (STOPPED, 7), (TIMED_OUT, 604), (RESUMED, 86)],
    ids=["completed", "failed: until it failed", "stopped", "timed out", "resumed: both attempts"],
)
def test_training_time_is_from_the_download_to_the_end(state: Course, seconds: int) -> None:
    described = result.describe(JOB, state)
    assert described["TrainingTimeInSeconds"] == described["BillableTimeInSeconds"] == seconds


def test_the_times_of_the_answer() -> None:
    described = result.describe(JOB, FAILED)
    assert described["CreationTime"] == datetime.fromtimestamp(999, timezone.utc)
    assert described["TrainingStartTime"] == datetime.fromtimestamp(1000, timezone.utc)
    assert described["TrainingEndTime"] == datetime.fromtimestamp(1010, timezone.utc)
    assert described["LastModifiedTime"] == datetime.fromtimestamp(1030, timezone.utc)


def test_the_reason_is_in_the_answer_of_a_failed_job_alone() -> None:
    assert (
        result.describe(JOB, FAILED, "AlgorithmError: x, exit code: 1")["FailureReason"]
        == "AlgorithmError: x, exit code: 1"
    )
    assert "FailureReason" not in result.describe(JOB, COMPLETED)


def test_where_the_platform_would_have_put_the_model() -> None:
    described = result.describe(JOB, COMPLETED)
    assert described["ModelArtifacts"] == {"S3ModelArtifacts": "s3://bucket/out/digits-1/output/model.tar.gz"}
    plain = {**REQUEST, "OutputDataConfig": {"S3OutputPath": "s3://bucket/out", "CompressionType": "NONE"}}
    described = result.describe(replace(JOB, request=plain), COMPLETED)
    assert described["ModelArtifacts"] == {"S3ModelArtifacts": "s3://bucket/out/digits-1/output/model/"}


def test_a_request_without_a_stopping_condition_gets_the_platforms() -> None:
    request = {name: value for name, value in REQUEST.items() if name != "StoppingCondition"}
    assert result.describe(replace(JOB, request=request), COMPLETED)["StoppingCondition"] == {
        "MaxRuntimeInSeconds": 86400
    }


def test_json_has_times_as_the_command_line_of_the_platform_prints_them() -> None:
    read = json.loads(result.as_json(result.describe(JOB, COMPLETED)))
    assert read["CreationTime"] == "1970-01-01T00:16:39+00:00"
    assert [each["Status"] for each in read["SecondaryStatusTransitions"]] == [
        "Starting", "Downloading", "Training", "Uploading", "Completed"
    ]  # fmt: skip


def test_the_short_result_of_a_failed_job() -> None:
    described = result.describe(JOB, FAILED, "AlgorithmError: first\nsecond, exit code: 1")
    kept = {"output": Artifact(Path("out/output.tar.gz"), 2048, 1)}
    hosts = {"algo-1": Ended(1), "algo-2": Ended(137, out_of_memory=True)}
    assert result.short(described, FAILED, hosts, kept).splitlines() == [
        "job         digits-1: Failed",
        "why         AlgorithmError: first",
        "            second, exit code: 1",
        "time        10 s training, 10 s billable × 2 instances",
        "statuses    Starting 1.0 s → Downloading 2.0 s → Training 8.0 s →",
        "            Uploading 20.0 s → Failed",
        "algo-1      exit code 1",
        "algo-2      exit code 137 (SIGKILL, out of memory)",
        "output      out/output.tar.gz (1 file, 2.0 KiB)",
    ]


def test_the_short_result_says_that_there_is_no_model() -> None:
    short = result.short(result.describe(JOB, TIMED_OUT), TIMED_OUT, {}, {})
    assert "digits-1: Stopped (MaxRuntimeExceeded)" in short
    assert "model       none" in short


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes(count: int, text: str) -> None:
    assert result.size(count) == text


@pytest.mark.parametrize(("code", "text"), [(0, "0"), (3, "3"), (143, "143 (SIGTERM)"), (255, "255")])
def test_exit_codes_name_the_signal(code: int, text: str) -> None:
    assert result.exit_text(Ended(code)) == text
