"""What is said of a job that has ended: as DescribeTrainingJob says it, and short, for people. Pure."""

from __future__ import annotations

import json
import math
import signal
import textwrap
from datetime import datetime, timezone

from smentry.ctl.display.lines import clean
from smentry.ctl.run import course
from smentry.ctl.run.artifacts import MODEL, UNCOMPRESSED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from smentry.ctl.engine.base import Ended
    from smentry.ctl.request.job import Job
    from smentry.ctl.run.artifacts import Artifact
    from smentry.ctl.run.course import Course

EXIT_CODES = {course.COMPLETED: 0, course.FAILED: 1, course.STOPPED: 3}
"""Of smentryctl, by TrainingJobStatus."""

REPEATED = (
    "HyperParameters", "AlgorithmSpecification", "RoleArn", "InputDataConfig", "OutputDataConfig", "ResourceConfig", "VpcConfig",
    "CheckpointConfig", "DebugHookConfig", "ExperimentConfig", "DebugRuleConfigurations", "TensorBoardOutputConfig",
    "ProfilerConfig", "ProfilerRuleConfigurations", "Environment", "RetryStrategy", "RemoteDebugConfig", "InfraCheckConfig",
    "ServerlessJobConfig", "MlflowConfig", "ModelPackageConfig",
)  # fmt: skip
"""Members of the request that DescribeTrainingJob repeats as they are."""

NOT_COUNTED = (course.STARTING, course.COMPLETED, course.FAILED, course.STOPPED, course.MAX_RUNTIME)
"""Statuses in which no instance works."""


def status(ended: Course) -> str:
    """TrainingJobStatus: `Stopped` where MaxRuntimeInSeconds has passed, too."""
    return course.STOPPED if ended.status == course.MAX_RUNTIME else ended.status


def training_seconds(ended: Course) -> int:
    """TrainingTimeInSeconds: the time of all attempts, from the download of the data to the upload of the artifacts; for a failed
    job to its failure (API reference, DescribeTrainingJob: TrainingEndTime)."""
    until = ended.failed_at if ended.failed_at is not None else math.inf
    counted = [each for each in ended.transitions if each.status not in NOT_COUNTED]
    return math.ceil(sum(max(0.0, min(each.end or each.start, until) - each.start) for each in counted))


def describe(job: Job, ended: Course, failure: str = "") -> dict[str, Any]:
    """The answer of DescribeTrainingJob, times as `datetime`. `failure`: FailureReason.

    S3ModelArtifacts is where the platform would have put the model. BillableTimeInSeconds has no discount for spot instances.
    """
    request = job.request
    output: Any = request.get("OutputDataConfig", {})
    path = f"{str(output.get('S3OutputPath', 's3://local/output')).rstrip('/')}/{job.name}/output"
    model = f"{path}/{UNCOMPRESSED}/" if output.get("CompressionType") == "NONE" else f"{path}/{MODEL}"
    began = next(each.start for each in ended.transitions if each.status == course.DOWNLOADING)
    last = ended.transitions[-1].start
    seconds = training_seconds(ended)
    return {
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "ModelArtifacts": {"S3ModelArtifacts": model},
        "TrainingJobStatus": status(ended),
        "SecondaryStatus": ended.status,
        **({"FailureReason": failure} if failure else {}),
        **{name: request[name] for name in REPEATED if name in request},
        "StoppingCondition": request.get("StoppingCondition", {"MaxRuntimeInSeconds": int(job.max_runtime)}),
        "CreationTime": _time(ended.transitions[0].start),
        "TrainingStartTime": _time(began),
        "TrainingEndTime": _time(ended.failed_at if ended.failed_at is not None else last),
        "LastModifiedTime": _time(last),
        "SecondaryStatusTransitions": [
            {
                "Status": each.status,
                "StartTime": _time(each.start),
                **({} if each.end is None else {"EndTime": _time(each.end)}),
                "StatusMessage": each.message,
            }
            for each in ended.transitions
        ],
        "EnableNetworkIsolation": bool(request.get("EnableNetworkIsolation", False)),
        "EnableInterContainerTrafficEncryption": bool(request.get("EnableInterContainerTrafficEncryption", False)),
        "EnableManagedSpotTraining": job.spot,
        "TrainingTimeInSeconds": seconds,
        "BillableTimeInSeconds": seconds,
    }


def as_json(described: Mapping[str, Any]) -> str:
    """As `aws sagemaker describe-training-job` prints it."""
    return json.dumps(described, indent=4, default=lambda value: value.isoformat(), ensure_ascii=False)


def short(described: Mapping[str, Any], ended: Course, hosts: Mapping[str, Ended], kept: Mapping[str, Artifact]) -> str:
    """A few lines for people: status, why, times, exit codes, artifacts. `kept` by what it is."""
    return "\n".join(f"{name:<12}{text}" for name, text in _facts(described, ended, hosts, kept)) + "\n"


def _facts(
    described: Mapping[str, Any], ended: Course, hosts: Mapping[str, Ended], kept: Mapping[str, Artifact]
) -> Iterator[tuple[str, str]]:
    secondary = described["SecondaryStatus"]
    said = described["TrainingJobStatus"]
    yield "job", f"{described['TrainingJobName']}: {said if secondary == said else f'{said} ({secondary})'}"
    if "FailureReason" in described:
        lines = [clean(line, colour=False) for line in described["FailureReason"].splitlines()]
        yield "why", f"\n{'':<12}".join(lines)
    count = len(ended.plan.hosts)
    instances = f" × {count} instances" if count > 1 else ""
    yield (
        "time",
        f"{described['TrainingTimeInSeconds']} s training, {described['BillableTimeInSeconds']} s billable{instances}",
    )
    statuses = " → ".join(f"{each.status} {_length(each)}".rstrip().replace(" ", "\xa0") for each in ended.transitions)
    rows = textwrap.wrap(statuses, 80 - 12)  # not within a status, for \xa0 is no blank to it
    yield "statuses", f"\n{'':<12}".join(rows).replace("\xa0", " ")
    for host in ended.plan.hosts:
        if host in hosts:
            yield host, f"exit code {exit_text(hosts[host])}"
    for what, artifact in kept.items():
        files = f"{artifact.files} file{'' if artifact.files == 1 else 's'}"
        yield what, f"{artifact.path} ({files}, {size(artifact.size)})"
    if "model" not in kept and said != course.FAILED:
        yield "model", "none: nothing was in /opt/ml/model"


def _length(transition: course.Transition) -> str:
    return (
        "" if not transition.end or transition.end == transition.start else f"{transition.end - transition.start:.1f} s"
    )


def exit_text(ended: Ended) -> str:
    """`137 (SIGKILL, out of memory)`."""
    facts = []
    if ended.code > 128:
        try:
            facts.append(signal.Signals(ended.code - 128).name)
        except ValueError:
            pass  # the program's own idea of a code
    if ended.out_of_memory:
        facts.append("out of memory")
    return f"{ended.code} ({', '.join(facts)})" if facts else str(ended.code)


def size(count: int) -> str:
    """`512 bytes`, `4.0 KiB`."""
    if count < 1024:
        return f"{count} bytes"
    value, units = count / 1024, ["KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.1f} {units[0]}"


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds, 3), timezone.utc)
