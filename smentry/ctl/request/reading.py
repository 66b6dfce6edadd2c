"""From a request to the job that it asks for. It knows what one machine can run, and lays out and starts nothing."""

from __future__ import annotations

import re

from smentry.ctl.request import document, flags, model
from smentry.ctl.request.job import CHECKPOINTS, FILE, NONE, PREFIX, REPLICATED, TRAIN_SECONDS, Channel, Host, Job
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from typing import Any

MOST_LISTED = 20
"""Problems of a request that a refusal lists."""

_ECR = re.compile(r"\d{12}\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/")

_UNSEEN = {
    "DebugHookConfig": "the debugger's hook is not configured",
    "DebugRuleConfigurations": "the debugger's rules are not evaluated",
    "EnableInterContainerTrafficEncryption": "the traffic between hosts is not encrypted",
    "ExperimentConfig": "no experiment is written",
    "InfraCheckConfig": "no instance is checked",
    "MlflowConfig": "nothing is sent to MLflow",
    "ModelPackageConfig": "no model package is made",
    "ProfilerConfig": "nothing is profiled",
    "ProfilerRuleConfigurations": "the profiler's rules are not evaluated",
    "RemoteDebugConfig": "no remote debugging; use `docker exec`",
    "RetryStrategy": "a failed job is not tried again",
    "SessionChainingConfig": "there are no session tags",
    "TensorBoardOutputConfig": "nothing is sent to TensorBoard's S3OutputPath",
    "VpcConfig": "the containers are in the engine's network, not in a VPC",
}
"""Members of a request that a local run does nothing with, and what that means."""


def read(path: str) -> dict[str, object]:
    """The request in a file: JSON, YAML where its name ends in .yaml or .yml, or an `aws` command line; `-` is stdin.

    Raises RefusedError with file, line and column where there is no such thing in it.
    """
    return document.load(path).value


def asked(path: str | None, arguments: argparse.Namespace, region: str = "us-east-1") -> Job:
    """The job of a request's file, of the flags of `flags.add_flags`, or of the one changed by the other.

    Raises RefusedError where the platform or one machine cannot run it. `region`: as in `job`.
    """
    source = document.load(path) if path is not None else None
    if source:
        refuse_problems(source.value, source)
    request = flags.changed(source.value if source else {}, arguments)
    refuse_problems(request)
    return job(request, region)


def refuse_problems(request: Mapping[str, object], source: document.Document | None = None) -> None:
    """Raise RefusedError with everything in the request that CreateTrainingJob would refuse; `file://` data may be there.

    With the document that it came from, each problem has its line and column.
    """
    found = model.problems(request, local=True)
    if not found:
        return
    if source:
        found.sort(key=lambda problem: source.place(problem.path))
    lines = [f"{source.where(problem.path)}: {problem}" if source else str(problem) for problem in found]
    if len(lines) == 1:
        raise RefusedError(f"CreateTrainingJob would refuse this request: {lines[0]}")
    rest = len(lines) - MOST_LISTED
    details = [f"  {line}" for line in lines[:MOST_LISTED]] + ([f"  and {rest} more"] if rest > 0 else [])
    raise RefusedError(
        f"CreateTrainingJob would refuse this request, for {len(lines)} reasons:", details=tuple(details)
    )


def job(request: Mapping[str, Any], region: str = "us-east-1") -> Job:
    """The job that a request asks for, which the model accepts (`refuse_problems`). `region` is the job's where the image's
    registry names none. Raises RefusedError where one machine cannot run it.
    """
    if "ServerlessJobConfig" in request:
        raise _cannot("ServerlessJobConfig", "a serverless job has no image of its own", "give AlgorithmSpecification")
    algorithm = request.get("AlgorithmSpecification")
    if algorithm is None:
        raise RefusedError("AlgorithmSpecification is not there: expected one with a TrainingImage, or --image IMAGE")
    hosts = _hosts(request.get("ResourceConfig", {}))
    channels = tuple(
        _channel(f"InputDataConfig[{index}]", channel, algorithm["TrainingInputMode"])
        for index, channel in enumerate(request.get("InputDataConfig", ()))
    )
    _agree(hosts, channels)
    image = _image(algorithm)
    registry = _ECR.match(image)
    checkpoint = request.get("CheckpointConfig")
    return Job(
        name=request["TrainingJobName"],
        image=image,
        hosts=hosts,
        entrypoint=_words(algorithm.get("ContainerEntrypoint")),
        arguments=_words(algorithm.get("ContainerArguments")),
        environment=dict(request.get("Environment", {})),
        hyperparameters=dict(request.get("HyperParameters", {})),
        channels=channels,
        region=registry.group(1) if registry else region,
        account=request["RoleArn"].split(":")[4],
        max_runtime=float(request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", TRAIN_SECONDS)),
        spot=bool(request.get("EnableManagedSpotTraining", False)),
        checkpoint_path=None if checkpoint is None else checkpoint.get("LocalPath") or CHECKPOINTS,
        request=request,
    )


def unseen(request: Mapping[str, object]) -> list[str]:
    """What this request asks for and a run on one machine does not show; a line each."""
    return [f"{name}: {meaning}" for name, meaning in _UNSEEN.items() if request.get(name)]


def _image(algorithm: Mapping[str, Any]) -> str:
    image: str = algorithm.get("TrainingImage", "")
    if "AlgorithmName" in algorithm:
        what = "an algorithm resource is the platform's own, its image is not known here"
        raise _cannot("AlgorithmSpecification.AlgorithmName", what, "give TrainingImage, or --image IMAGE")
    if not image:
        raise RefusedError(
            "AlgorithmSpecification.TrainingImage is not there: expected an image's name, or --image IMAGE"
        )
    return image


def _hosts(resources: Mapping[str, Any]) -> tuple[Host, ...]:
    """`algo-1` and so on, through all instance groups in the request's order."""
    groups = resources.get("InstanceGroups")
    if groups:
        both = [name for name in ("InstanceType", "InstanceCount") if name in resources]
        if both:
            raise RefusedError(f"ResourceConfig: expected InstanceGroups or {both[0]}, got both")
        planned = [(group["InstanceGroupName"], group["InstanceType"], group["InstanceCount"]) for group in groups]
        names = [name for name, _, _ in planned]
        if len(set(names)) < len(names):
            raise RefusedError(
                "ResourceConfig.InstanceGroups: expected a name of its own for each group, got one twice"
            )
    else:
        first = {**next(iter(resources.get("InstancePreferences", ())), {}), **resources}
        planned = [(Host.group, first.get("InstanceType", Host.instance_type), first.get("InstanceCount", 1))]
    hosts = [(group, instance) for group, instance, count in planned for _ in range(count)]
    if not hosts:
        raise RefusedError("ResourceConfig: expected an InstanceCount of 1 or more, got 0")
    return tuple(Host(f"algo-{number}", instance, group) for number, (group, instance) in enumerate(hosts, 1))


def _channel(where: str, channel: Mapping[str, Any], mode: str) -> Channel:
    name = channel["ChannelName"]
    source = channel["DataSource"]
    for kind, called in (("FileSystemDataSource", "a file system of the cloud"), ("DatasetSource", "a hub's data set")):
        if kind in source:
            instead = f"give a directory with its data: --channel {name}=DIR"
            raise _cannot(f"{where}.DataSource.{kind}", f"{called} cannot be reached from here", instead)
    data = source.get("S3DataSource")
    if data is None:
        raise RefusedError(f"{where}.DataSource: expected an S3DataSource, got nothing")
    uri: str = data["S3Uri"]
    if data["S3DataType"] == "Converse":
        instead = f"give a directory with its data: --channel {name}=DIR"
        raise _cannot(
            f"{where}.DataSource.S3DataSource.S3DataType", "Converse data are for the platform's models", instead
        )
    if uri.startswith("https://"):
        instead = f"write it as s3://BUCKET/PREFIX, or give --channel {name}=DIR"
        raise _cannot(f"{where}.DataSource.S3DataSource.S3Uri", f"{uri} does not say what bucket it means", instead)
    seed = channel.get("ShuffleConfig", {}).get("Seed")
    return Channel(
        name=name,
        uri=uri[len(model.LOCAL) :] if uri.startswith(model.LOCAL) else uri,
        mode=channel.get("InputMode", mode or FILE),
        kind=data.get("S3DataType", PREFIX),
        distribution=data.get("S3DataDistributionType", REPLICATED),
        content_type=channel.get("ContentType", ""),
        compression=channel.get("CompressionType", NONE),
        record_wrapper=channel.get("RecordWrapperType", NONE),
        attributes=_words(data.get("AttributeNames")) or (),
        shuffle_seed=seed,
        groups=_words(data.get("InstanceGroupNames")) or (),
    )


def _agree(hosts: Sequence[Host], channels: Sequence[Channel]) -> None:
    """Refuse channels of one name, and groups that no host is in."""
    seen: set[str] = set()
    groups = {host.group for host in hosts}
    for index, channel in enumerate(channels):
        where = f"InputDataConfig[{index}]"
        if channel.name in seen:
            raise RefusedError(f"{where}.ChannelName: {channel.name!r} is there twice: expected a name of its own")
        seen.add(channel.name)
        unknown = [group for group in channel.groups if group not in groups]
        if unknown:
            known = ", ".join(sorted(groups))
            raise RefusedError(f"{where}: InstanceGroupNames has {unknown[0]!r}, and the job's groups are: {known}")


def _words(words: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(words)


def _cannot(where: str, why: str, instead: str) -> RefusedError:
    return RefusedError(f"{where}: cannot be run on this machine: {why}; {instead}")
