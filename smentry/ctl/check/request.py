"""What is wrong with a request: what the service refuses, and what goes wrong later. It knows neither images nor scripts."""

from __future__ import annotations

import re

from smentry.ctl.check import words
from smentry.ctl.check.finding import Finding
from smentry.ctl.check.parts import Breach, at, channels, groups, mode, text
from smentry.ctl.request import document, model
from smentry.ctl.request.job import GZIP, PIPE, RECORDIO, TRAIN_SECONDS
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from smentry.ctl.check.parts import Steps

_DIRECTORY_BUCKET = re.compile(r"s3://[^/]+--x-s3(?:/|$)")
"""What the name of an S3 Express One Zone bucket ends in."""

_CREDENTIAL = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}|\bgithub_pat_\w{22}|\bhf_[A-Za-z]{34}\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----|\bxox[abprs]-[0-9A-Za-z-]{20}|://[^/\s:@]+:[^/\s:@${<]+@"
)
"""What is a credential whatever it is called: of AWS, GitHub, Hugging Face, Slack; a private key; a URL's password."""

_SECRET_NAME = re.compile(
    r"(?:PASSWORD|PASSWD|API_?KEY|SECRET_ACCESS_KEY|SESSION_TOKEN|AUTH_TOKEN|ACCESS_TOKEN|HF_TOKEN|CLIENT_SECRET)$",
    re.I,
)
_REFERENCE = re.compile(r"arn:|ssm:|secretsmanager:|s3://|/|\$|<|\{|\*+$", re.I)
"""What the value of a secret's name begins with where it only says where the secret is, or is to be filled in."""


def findings(path: Path) -> list[Finding]:
    """What is wrong with the request in a file. Raises RefusedError where it cannot be read."""
    file = str(path)
    try:
        source = document.load(file)
    except RefusedError as refused:
        return [_unreadable(file, refused)]
    return [Finding(file, *source.place(found.path), found.code, found.message) for found in breaches(source.value)]


def _unreadable(file: str, refused: RefusedError) -> Finding:
    """A file that was read and holds no request."""
    placed = re.match(rf"{re.escape(file)}(?::(\d+):(\d+))?: (.*)", refused.message)
    if not placed:
        raise refused
    return Finding(file, int(placed[1] or 1), int(placed[2] or 1), "SM301", placed[3])


def breaches(request: Mapping[str, Any]) -> list[Breach]:
    """Every rule that a request breaks. It may have anything at all in it, for the model's problems are among them."""
    found = [Breach("SM301", problem.path, str(problem)) for problem in model.problems(request)]
    for rule in (_exclusive, _channels, _spot, _waiting, _encryption, _secrets):
        found.extend(rule(request))
    found.extend(words.breaches(request))
    return found


# -- the rules -------------------------------------------------------------------------------------


def _exclusive(request: Mapping[str, Any]) -> Iterator[Breach]:
    """What the model allows, and the service does not."""
    algorithm = at(request, "AlgorithmSpecification")
    if isinstance(algorithm, dict):
        path: Steps = ("AlgorithmSpecification",)
        named = [name for name in ("TrainingImage", "AlgorithmName") if algorithm.get(name)]
        if len(named) != 1:
            got = "both" if named else "neither"
            yield Breach("SM308", path, f"AlgorithmSpecification: expected TrainingImage or AlgorithmName, got {got}")
    resources = at(request, "ResourceConfig")
    if isinstance(resources, dict):
        kinds = [name for name in ("InstanceType", "InstanceGroups", "InstancePreferences") if resources.get(name)]
        if len(kinds) > 1:
            what = f"ResourceConfig: expected one of {' and '.join(kinds)}, got {'both' if len(kinds) == 2 else 'all'}"
            yield Breach("SM308", ("ResourceConfig", kinds[1]), what)
        elif "InstanceGroups" in kinds and "InstanceCount" in resources:
            what = "ResourceConfig: expected the groups' own InstanceCount, got one beside InstanceGroups"
            yield Breach("SM308", ("ResourceConfig", "InstanceCount"), what)
    known = groups(request)
    for index, channel in channels(request):
        steps = ("DataSource", "S3DataSource", "InstanceGroupNames")
        named = at(channel, *steps)
        for place, name in enumerate(named if isinstance(named, list) else ()):
            if name not in known:
                listed = f"the groups are {', '.join(known)}" if known else "the job has no instance groups"
                path = ("InputDataConfig", index, *steps, place)
                yield Breach(
                    "SM308", path, f"{model.written(path)}: expected a group of the job, got {name!r}: {listed}"
                )


def _channels(request: Mapping[str, Any]) -> Iterator[Breach]:
    names: dict[str, int] = {}
    for index, channel in channels(request):
        path: Steps = ("InputDataConfig", index)
        name = text(channel, "ChannelName")
        if name and name in names:
            what = f"the channel {name!r} is there twice: InputDataConfig[{names[name]}] and [{index}]"
            yield Breach("SM306", (*path, "ChannelName"), what)
        names.setdefault(name, index)
        used = mode(request, channel)
        if used == PIPE:
            continue
        for key, value in (("CompressionType", GZIP), ("RecordWrapperType", RECORDIO)):
            if channel.get(key) == value:
                yield Breach(
                    "SM307", (*path, key), f"{key} {value} means nothing in {used} mode: the files arrive as they are"
                )
        if text(channel, "DataSource", "S3DataSource", "S3DataType") == "AugmentedManifestFile":
            what = f"an AugmentedManifestFile is read in Pipe mode only, and the channel {name!r} is in {used} mode"
            yield Breach("SM307", (*path, "DataSource", "S3DataSource", "S3DataType"), what)


def _spot(request: Mapping[str, Any]) -> Iterator[Breach]:
    if request.get("EnableManagedSpotTraining") is True and not request.get("CheckpointConfig"):
        what = "EnableManagedSpotTraining without CheckpointConfig: after an interruption the job begins anew, with nothing"
        yield Breach("SM310", ("EnableManagedSpotTraining",), what)


def _waiting(request: Mapping[str, Any]) -> Iterator[Breach]:
    condition = ("StoppingCondition",)
    wait = at(request, *condition, "MaxWaitTimeInSeconds")
    longest = at(request, *condition, "MaxRuntimeInSeconds")
    if request.get("EnableManagedSpotTraining") is not True:
        if wait is not None:
            what = "MaxWaitTimeInSeconds without EnableManagedSpotTraining: the service refuses it"
            yield Breach("SM311", (*condition, "MaxWaitTimeInSeconds"), what)
        return
    path: Steps = condition if "StoppingCondition" in request else ("EnableManagedSpotTraining",)
    if wait is None:
        yield Breach("SM311", path, "EnableManagedSpotTraining needs StoppingCondition.MaxWaitTimeInSeconds")
        return
    if longest is None:
        longest, shown = int(TRAIN_SECONDS), f"MaxRuntimeInSeconds, which is {TRAIN_SECONDS:g} where it is not given"
    else:
        shown = f"MaxRuntimeInSeconds, {longest}"
    if isinstance(wait, int) and isinstance(longest, int) and wait < longest:
        what = f"MaxWaitTimeInSeconds is {wait}: expected at least {shown}"
        yield Breach("SM311", (*condition, "MaxWaitTimeInSeconds"), what)


def _encryption(request: Mapping[str, Any]) -> Iterator[Breach]:
    output = at(request, "OutputDataConfig")
    if text(output, "KmsKeyId") and _DIRECTORY_BUCKET.match(text(output, "S3OutputPath")):
        what = "KmsKeyId for output to a directory bucket, which is encrypted with SSE-S3 only"
        yield Breach("SM312", ("OutputDataConfig", "KmsKeyId"), what)


def _secrets(request: Mapping[str, Any]) -> Iterator[Breach]:
    for key in ("HyperParameters", "Environment"):
        listed = at(request, key)
        for name, value in (listed if isinstance(listed, dict) else {}).items():
            if not isinstance(value, str):
                continue
            by_name = len(value) >= 8 and _SECRET_NAME.search(name) and not _REFERENCE.match(value)
            if by_name or _CREDENTIAL.search(value):
                what = f"{model.written((key, name))} looks like a credential, and whoever may describe the job can read it"
                yield Breach("SM330", (key, name), what)
