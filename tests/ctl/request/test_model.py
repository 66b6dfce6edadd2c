"""What is said of a request that the service would refuse, and that nothing is said of one that it accepts."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from smentry.ctl.request import model

from .requests import channel, large, small


def put(request: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """The request with another value at a path such as `InputDataConfig.0.InputMode`; Ellipsis takes it away."""
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    target: Any = request
    for step in way:
        target = target[step]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return request


@pytest.mark.parametrize("request_", [small(), large()], ids=["small", "large"])
def test_nothing_is_said_of_a_request_that_the_service_accepts(request_: dict[str, Any]) -> None:
    assert model.problems(request_) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("RoleArn", ..., "RoleArn: is required, and is not there: expected text"),
        ("AlgorithmSpecification.TrainingInputMode", ..., "AlgorithmSpecification.TrainingInputMode: is required"),
        ("InputDataConfig.1.DataSource", ..., "InputDataConfig[1].DataSource: is required, and is not there: expected an o"),
        ("trainingJobName", "x", "trainingJobName: is not known here: the nearest is TrainingJobName"),
        ("InputDataConfig.0.Inputmode", "File", "InputDataConfig[0].Inputmode: is not known here: expected one of ChannelN"),
        ("TrainingJobName", 3, "TrainingJobName: expected text, got 3"),
        ("TrainingJobName", None, "TrainingJobName: expected text, got null"),
        ("TrainingJobName", "", "TrainingJobName: expected text such as my-job-1: "),
        ("TrainingJobName", "a" * 64, "TrainingJobName: expected 1 to 63 characters, got 64"),
        ("TrainingJobName", "under_score", "TrainingJobName: expected text such as my-job-1: "),
        ("TrainingJobName", "ends-", "TrainingJobName: expected text such as"),
        ("TrainingJobName", "line\n", "TrainingJobName: expected text"),
        ("RoleArn", "trainer", "RoleArn: expected text such as arn:aws:iam::111122223333:role/NAME, got"),
        ("RoleArn", "arn:aws:iam::12:role/trainer-of-digits", "RoleArn: expected text such as arn:aws:iam::111122223333:r"),
        ("RoleArn", "arn:aws:iam::١١١١٢٢٢٢٣٣٣٣:role/x", "RoleArn: expected text such as"),
        ("HyperParameters.lr", "\udcff", "HyperParameters.lr: expected Unicode text, got bytes that are no UTF-8"),
        ("AlgorithmSpecification.TrainingInputMode", "Fast", 'TrainingInputMode: got "Fast": expected one of Pipe, File, F'),
        ("AlgorithmSpecification.ContainerArguments", [], "ContainerArguments: expected 1 to 100 items, got 0"),
        ("AlgorithmSpecification.ContainerArguments", ["a"] * 101, "ContainerArguments: expected 1 to 100 items, got 101"),
        ("AlgorithmSpecification.ContainerArguments", "a b", 'ContainerArguments: expected a list, got "a b"'),
        ("AlgorithmSpecification.ContainerArguments.0", "a\nb", "[0]: expected text without line breaks, got"),
        ("AlgorithmSpecification.ContainerArguments.0", "a" * 257, "[0]: expected at most 256 characters, got 257"),
        ("AlgorithmSpecification.MetricDefinitions.0.Regex", "", "Regex: expected text that matches .+, got"),
        ("HyperParameters.lr", 0.1, "HyperParameters.lr: expected text, got 0.1"),
        ("HyperParameters.lr", True, "HyperParameters.lr: expected text, got true"),
        ("HyperParameters.name with blanks", 1, 'HyperParameters["name with blanks"]: expected text, got 1'),
        ("HyperParameters", {str(n): "" for n in range(101)}, "HyperParameters: expected at most 100 entries, got 101"),
        ("HyperParameters", {"k" * 257: ""}, ": the name: expected at most 256 characters, got 257"),
        ("Environment.MY-NAME", "x", "Environment.MY-NAME: the name: expected text such as MY_NAME"),
        ("Environment.PYTHONUNBUFFERED", "x" * 513, "expected at most 512 characters, got 513"),
        ("InputDataConfig", [], "InputDataConfig: expected 1 to 20 items, got 0"),
        ("InputDataConfig.1.ChannelName", "a/b", "InputDataConfig[1].ChannelName: expected text such as training:"),
        ("InputDataConfig.0.DataSource.S3DataSource.S3DataType", "S3prefix", "S3DataType: got \"S3prefix\": expected one of"),
        ("InputDataConfig.0.DataSource.S3DataSource.S3Uri", "bucket/x", "S3Uri: expected text such as s3://BUCKET/PREFIX"),
        ("InputDataConfig.0.DataSource.S3DataSource.S3Uri", "file:///data", "S3Uri: expected text such as s3://BUCKET/PRE"),
        ("InputDataConfig.0.ShuffleConfig.Seed", "7", 'Seed: expected a whole number, got "7"'),
        ("InputDataConfig.0.ShuffleConfig.Seed", 2**63, "Seed: expected a whole number from -9223372036854775808 to 9"),
        ("ResourceConfig.InstanceType", "ml.m5.xlrge", "InstanceType: got \"ml.m5.xlrge\": the nearest are ml.m5.xlarge,"),
        ("ResourceConfig.InstanceType", "local", "InstanceType: got \"local\": expected one of "),
        ("ResourceConfig.InstanceCount", -1, "InstanceCount: expected a whole number of 0 or more, got -1"),
        ("ResourceConfig.InstanceCount", 1.0, "InstanceCount: expected a whole number, got 1.0"),
        ("ResourceConfig.InstanceCount", True, "InstanceCount: expected a whole number, got true"),
        ("ResourceConfig.InstanceCount", 2**31, "InstanceCount: expected a whole number from 0 to 2147483647, got"),
        ("ResourceConfig.KeepAlivePeriodInSeconds", 21601, "expected a whole number from 0 to 21600, got 21601"),
        ("StoppingCondition.MaxRuntimeInSeconds", 0, "MaxRuntimeInSeconds: expected a whole number of 1 or more, got 0"),
        ("EnableManagedSpotTraining", "true", 'EnableManagedSpotTraining: expected true or false, got "true"'),
        ("EnableManagedSpotTraining", 1, "EnableManagedSpotTraining: expected true or false, got 1"),
        ("Tags.0.Key", "a#b", "Tags[0].Key: expected text that matches"),
        ("Tags.0", "a=b", 'Tags[0]: expected an object, got "a=b"'),
        ("RetryStrategy.MaximumRetryAttempts", 31, "RetryStrategy.MaximumRetryAttempts: expected a whole number from 1 t"),
    ],
)  # fmt: skip
def test_a_broken_constraint_is_reported_with_its_path(path: str, value: object, said: str) -> None:
    (problem,) = model.problems(put(large(), path, value))
    assert said in str(problem)


def test_every_problem_is_reported_not_the_first_alone() -> None:
    request = {"TrainingJobName": "a_b", "Nonsense": 1, "HyperParameters": {"a": 1, "b": 2}}
    paths = {model.written(problem.path) for problem in model.problems(request)}
    assert paths >= {
        "TrainingJobName",
        "Nonsense",
        "HyperParameters.a",
        "HyperParameters.b",
        "RoleArn",
        "OutputDataConfig",
    }


def test_what_is_no_object_is_one_problem() -> None:
    assert [str(problem) for problem in model.problems([])] == ["expected an object, got []"]


def test_a_directory_of_this_machine_is_data_where_the_request_stays_here() -> None:
    request = {**small(), "InputDataConfig": [channel("training", "file:///data")]}
    assert model.problems(request, local=True) == []
    assert len(model.problems(request)) == 1


def test_nothing_but_data_may_be_a_directory_of_this_machine() -> None:
    request = {**small(), "CheckpointConfig": {"S3Uri": "file:///data"}}
    assert len(model.problems(request, local=True)) == 1


def test_a_long_value_is_cut_in_the_message() -> None:
    (problem,) = model.problems(put(large(), "TrainingJobName", ["x" * 10_000]))
    assert len(str(problem)) < 200


def _paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [found for step, part in inner for found in _paths(part, (*path, step))]


SHAPE = botocore.session.get_session().get_service_model("sagemaker").operation_model("CreateTrainingJob").input_shape
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(_paths(large())), JSON)
def test_whatever_botocore_refuses_is_reported(path: tuple[str | int, ...], value: object) -> None:
    request = large()
    target: Any = request
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    refused = ParamValidator().validate(request, SHAPE).has_errors()
    found = model.problems(request)
    assert found or not refused
    assert all(problem.path[: len(path)] == path for problem in found), found


def test_the_users_own_configuration_of_the_service_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    model._input.cache_clear()
    assert model.problems(small()) == []
