"""Requests for the tests: a small one, and one with most of what there is."""

from __future__ import annotations

import copy
from typing import Any

ROLE = "arn:aws:iam::111122223333:role/trainer"
IMAGE = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/digits:1"


def small() -> dict[str, Any]:
    """As little as a request for an image can have."""
    return {
        "TrainingJobName": "digits-1",
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }


def channel(name: str, uri: str = "s3://bucket/data", **members: object) -> dict[str, Any]:
    """An input data channel; `members` are of its S3DataSource."""
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated", **members}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def large() -> dict[str, Any]:
    """A value of every kind that the model has."""
    request = small()
    request["AlgorithmSpecification"].update(
        ContainerEntrypoint=["/bin/sh"],
        ContainerArguments=["/mydir/custom_entrypoint.sh"],
        MetricDefinitions=[{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
        EnableSageMakerMetricsTimeSeries=True,
        TrainingImageConfig={
            "TrainingRepositoryAccessMode": "Vpc",
            "TrainingRepositoryAuthConfig": {
                "TrainingRepositoryCredentialsProviderArn": "arn:aws:lambda:eu-central-1:111122223333:function:credentials"
            },
        },
    )
    request.update(
        HyperParameters={"lr": "0.1", "name with blanks": ""},
        InputDataConfig=[
            {**channel("training", AttributeNames=["source-ref"]), "InputMode": "Pipe", "ShuffleConfig": {"Seed": 7}},
            {**channel("validation"), "ContentType": "text/csv", "CompressionType": "Gzip"},
        ],
        CheckpointConfig={"S3Uri": "s3://bucket/checkpoints", "LocalPath": "/opt/ml/checkpoints"},
        EnableManagedSpotTraining=True,
        Environment={"PYTHONUNBUFFERED": "1", "TEXT": "two\nlines"},
        ProfilerConfig={"ProfilingIntervalInMilliseconds": 500, "ProfilingParameters": {"a": "b"}},
        RetryStrategy={"MaximumRetryAttempts": 3},
        Tags=[{"Key": "team/größe", "Value": "data science"}],
        VpcConfig={"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1", "subnet-2"]},
    )
    request["StoppingCondition"]["MaxWaitTimeInSeconds"] = 7200
    return copy.deepcopy(request)
