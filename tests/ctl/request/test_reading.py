"""What job a request asks for, and which ones no single machine can run."""

from __future__ import annotations

from typing import Any

import pytest

from smentry.ctl.request import document, reading
from smentry.ctl.request.job import Channel, Host, Job
from smentry.errors import RefusedError

from .requests import IMAGE, channel, large, small

GROUP = {"InstanceGroupName": "a", "InstanceType": "ml.m5.large", "InstanceCount": 1}


def with_(**members: object) -> dict[str, Any]:
    return {**small(), **members}


def with_algorithm(**members: object) -> dict[str, Any]:
    return with_(AlgorithmSpecification={**small()["AlgorithmSpecification"], **members})


def refusal(request: dict[str, Any]) -> str:
    with pytest.raises(RefusedError) as refused:
        reading.job(request)
    return refused.value.message


def test_a_small_request() -> None:
    assert reading.job(small()) == Job(
        name="digits-1",
        image=IMAGE,
        hosts=(Host("algo-1", "ml.m5.xlarge"),),
        region="eu-central-1",
        account="111122223333",
        max_runtime=3600,
        request=small(),
    )


def test_a_large_request() -> None:
    job = reading.job(large())
    assert job.entrypoint == ("/bin/sh",)
    assert job.arguments == ("/mydir/custom_entrypoint.sh",)
    assert job.hyperparameters == {"lr": "0.1", "name with blanks": ""}
    assert job.environment == {"PYTHONUNBUFFERED": "1", "TEXT": "two\nlines"}
    assert job.spot
    assert job.checkpoint_path == "/opt/ml/checkpoints"
    assert job.channels == (
        Channel("training", "s3://bucket/data", "Pipe", attributes=("source-ref",), shuffle_seed=7),
        Channel("validation", "s3://bucket/data", content_type="text/csv", compression="Gzip"),
    )


def test_the_arn_names_region_account_and_job() -> None:
    assert reading.job(small()).arn == "arn:aws:sagemaker:eu-central-1:111122223333:training-job/digits-1"


@pytest.mark.parametrize(
    "image", ["digits", "digits:1", "localhost:5000/a/digits@sha256:0", "x.eu-central-1.amazonaws.com/y"]
)
def test_the_region_is_the_callers_where_no_registry_names_one(image: str) -> None:
    assert reading.job(with_algorithm(TrainingImage=image)).region == "us-east-1"
    assert reading.job(with_algorithm(TrainingImage=image), "eu-west-3").region == "eu-west-3"


@pytest.mark.parametrize(
    ("entrypoint", "arguments", "command"),
    [
        (None, None, (None, ("train",))),
        (["smentry"], None, (("smentry",), ())),
        (None, ["--rate", "1"], (None, ("--rate", "1"))),
        (["/bin/sh"], ["/mydir/x.sh"], (("/bin/sh",), ("/mydir/x.sh",))),
    ],
)
def test_all_four_combinations_of_entrypoint_and_arguments(
    entrypoint: list[str] | None, arguments: list[str] | None, command: tuple[object, object]
) -> None:
    given = {"ContainerEntrypoint": entrypoint, "ContainerArguments": arguments}
    job = reading.job(with_algorithm(**{name: words for name, words in given.items() if words is not None}))
    assert job.command == command


def test_the_algorithms_input_mode_is_that_of_channels_without_one() -> None:
    request = with_algorithm(TrainingInputMode="FastFile")
    request["InputDataConfig"] = [channel("a"), {**channel("b"), "InputMode": "File"}]
    assert [given.mode for given in reading.job(request).channels] == ["FastFile", "File"]


def test_hosts_are_numbered_through_all_groups() -> None:
    groups = [
        {"InstanceGroupName": "gpu", "InstanceType": "ml.g5.xlarge", "InstanceCount": 1},
        {"InstanceGroupName": "cpu", "InstanceType": "ml.m5.large", "InstanceCount": 2},
    ]
    sharded = channel("a", S3DataDistributionType="ShardedByS3Key", InstanceGroupNames=["cpu"])
    job = reading.job(with_(ResourceConfig={"InstanceGroups": groups}, InputDataConfig=[sharded]))
    assert job.hosts == (
        Host("algo-1", "ml.g5.xlarge", "gpu"),
        Host("algo-2", "ml.m5.large", "cpu"),
        Host("algo-3", "ml.m5.large", "cpu"),
    )
    assert job.channels[0].groups == ("cpu",)
    assert job.channels[0].distribution == "ShardedByS3Key"


def test_a_job_without_resources_has_one_host() -> None:
    request = small()
    del request["ResourceConfig"]
    assert reading.job(request).hosts == (Host("algo-1", "local"),)


def test_of_preferred_instances_the_first_is_taken() -> None:
    preferred = [{"InstanceType": "ml.g5.xlarge", "InstanceCount": 2}, {"InstanceType": "ml.p3.2xlarge"}]
    hosts = reading.job(with_(ResourceConfig={"InstancePreferences": preferred})).hosts
    assert [host.instance_type for host in hosts] == ["ml.g5.xlarge", "ml.g5.xlarge"]


def test_one_day_is_the_runtime_where_none_is_said() -> None:
    assert reading.job(with_(StoppingCondition={})).max_runtime == 86400


def test_checkpoints_are_kept_only_where_the_request_says_so() -> None:
    assert reading.job(small()).checkpoint_path is None
    elsewhere = {"S3Uri": "s3://b/c", "LocalPath": "/tmp/checkpoints"}
    assert reading.job(with_(CheckpointConfig=elsewhere)).checkpoint_path == "/tmp/checkpoints"
    assert reading.job(with_(CheckpointConfig={"S3Uri": "s3://b/c"})).checkpoint_path == "/opt/ml/checkpoints"


def test_a_directory_of_this_machine_is_its_path() -> None:
    request = with_(InputDataConfig=[channel("a", "file:///data/a b")])
    reading.refuse_problems(request)
    assert reading.job(request).channels[0].uri == "/data/a b"


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (with_algorithm(AlgorithmName="mine"), "AlgorithmSpecification.AlgorithmName: cannot be run on this machine: an alg"),
        (with_(AlgorithmSpecification={"TrainingInputMode": "File"}), "TrainingImage is not there: expected an image's name"),
        (with_(ServerlessJobConfig={}), "ServerlessJobConfig: cannot be run on this machine: a serverless job has no image"),
        (
            with_(InputDataConfig=[{"ChannelName": "a", "DataSource": {"FileSystemDataSource": {}}}]),
            "InputDataConfig[0].DataSource.FileSystemDataSource: cannot be run on this machine: a file system of the cloud"
            " cannot be reached from here; give a directory with its data: --channel a=DIR",
        ),
        (
            with_(InputDataConfig=[{"ChannelName": "a", "DataSource": {"DatasetSource": {}}}]),
            "InputDataConfig[0].DataSource.DatasetSource: cannot be run on this machine",
        ),
        (with_(InputDataConfig=[{"ChannelName": "a", "DataSource": {}}]), "DataSource: expected an S3DataSource, got nothing"),
        (with_(InputDataConfig=[channel("a", S3DataType="Converse")]), "S3DataType: cannot be run on this machine"),
        (with_(InputDataConfig=[channel("a", "https://host/x")]), "S3Uri: cannot be run on this machine: https://host/x does"),
        (with_(InputDataConfig=[channel("a"), channel("a")]), "InputDataConfig[1].ChannelName: 'a' is there twice"),
        (
            with_(InputDataConfig=[channel("a", InstanceGroupNames=["gpu"])]),
            "InputDataConfig[0]: InstanceGroupNames has 'gpu', and the job's groups are: homogeneousCluster",
        ),
        (with_(ResourceConfig={"InstanceCount": 0}), "ResourceConfig: expected an InstanceCount of 1 or more, got 0"),
        (
            with_(ResourceConfig={"InstanceCount": 1, "InstanceGroups": [{"InstanceGroupName": "a"}]}),
            "ResourceConfig: expected InstanceGroups or InstanceCount, got both",
        ),
        (
            with_(ResourceConfig={"InstanceGroups": [GROUP, GROUP]}),
            "expected a name of its own for each group",
        ),
    ],
)  # fmt: skip
def test_what_one_machine_cannot_run_is_refused_with_the_reason(request_: dict[str, Any], said: str) -> None:
    assert said in refusal(request_)


def test_a_request_without_an_algorithm_is_refused() -> None:
    request = small()
    del request["AlgorithmSpecification"]
    assert refusal(request).startswith("AlgorithmSpecification is not there")


def test_one_problem_is_one_line() -> None:
    with pytest.raises(RefusedError) as refused:
        reading.refuse_problems({**small(), "Tag": []})
    assert (
        refused.value.message
        == "CreateTrainingJob would refuse this request: Tag: is not known here: the nearest is Tags"
    )
    assert refused.value.details == ()


def test_problems_are_listed_in_the_order_of_the_file() -> None:
    source = document.parse("job.json", '{"RoleArn": 1,\n "X": 1,\n "TrainingJobName": 2}')
    with pytest.raises(RefusedError) as refused:
        reading.refuse_problems(source.value, source)
    places = [line.split()[0] for line in refused.value.details]
    assert places[-3:] == ["job.json:1:2:", "job.json:2:2:", "job.json:3:2:"]
    assert places[0] == "job.json:1:1:"


def test_a_hundred_problems_do_not_fill_the_screen() -> None:
    with pytest.raises(RefusedError) as refused:
        reading.refuse_problems({**small(), "HyperParameters": {str(number): number for number in range(100)}})
    assert len(refused.value.details) == 21
    assert refused.value.details[-1] == "  and 80 more"


def test_what_a_local_run_does_not_show_is_said() -> None:
    assert reading.unseen(small()) == []
    assert [line.partition(":")[0] for line in reading.unseen(large())] == [
        "ProfilerConfig",
        "RetryStrategy",
        "VpcConfig",
    ]
