"""The flags that say what a request would, and the request that they make or change. It reads no files."""

from __future__ import annotations

import argparse
import copy
import math
import os
import re

from smentry.ctl import options
from smentry.ctl.request import model
from smentry.ctl.request.job import FASTFILE, FILE, PIPE, PREFIX, REPLICATED
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

MODES = (FILE, FASTFILE, PIPE)
ROLE = "arn:aws:iam::000000000000:role/local"
"""RoleArn of a job that is made of flags alone: valid, and nobody's."""

OUTPUT = "s3://local/output"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that replace a request, or change one."""
    group = parser.add_argument_group("the job", "instead of a request, or changes to it")
    group.add_argument("--image", metavar="IMAGE", help="TrainingImage")
    group.add_argument(
        "--entrypoint", metavar="WORD", action="append", help="ContainerEntrypoint; repeat it for each word"
    )
    group.add_argument(
        "--argument",
        metavar="WORD",
        action="append",
        help="ContainerArguments; repeat it for each word; one that begins with a hyphen as --argument=--WORD",
    )
    group.add_argument(
        "--channel",
        metavar="NAME=DIR[:MODE]",
        action="append",
        type=channel,
        default=[],
        help="an input data channel out of a directory of this machine, or an s3:// URI; MODE is File, FastFile or Pipe",
    )
    add_values(group)
    group.add_argument("--instances", metavar="N", type=options.count, help="InstanceCount")
    group.add_argument(
        "--max-runtime", metavar="DUR", type=runtime, help="MaxRuntimeInSeconds, such as 90, 90s, 2m or 1h"
    )


def add_values(group: argparse._ActionsContainer) -> None:
    """The flags for the two maps of a request."""
    group.add_argument(
        "--hyperparameter",
        metavar="K=V",
        action="append",
        type=options.pair,
        default=[],
        help="one of the HyperParameters",
    )
    group.add_argument(
        "--env", metavar="K=V", action="append", type=options.pair, default=[], help="one of the Environment"
    )


def changed(request: Mapping[str, object], arguments: argparse.Namespace) -> dict[str, Any]:
    """The request, which the model accepts, with what the flags say.

    Where it is empty it becomes a whole one, with valid placeholders for what no flag says. Directories are in it as
    `file://` S3Uris with their absolute paths, which only `reading` accepts. Raises RefusedError where a flag and the
    request do not go together, or there is no image.
    """
    made: dict[str, Any] = copy.deepcopy(dict(request)) if request else _blank(arguments.image)
    algorithm: dict[str, Any] = made.get("AlgorithmSpecification", {})
    if arguments.image is not None:
        algorithm.pop("AlgorithmName", None)
        algorithm["TrainingImage"] = arguments.image
        algorithm.setdefault("TrainingInputMode", FILE)
    if arguments.entrypoint is not None:
        algorithm["ContainerEntrypoint"] = list(arguments.entrypoint)
    if arguments.argument is not None:
        algorithm["ContainerArguments"] = list(arguments.argument)
    if algorithm:
        made["AlgorithmSpecification"] = algorithm
    for name, source, mode in arguments.channel:
        set_channel(made, name, source, mode)
    for member, pairs in (("HyperParameters", arguments.hyperparameter), ("Environment", arguments.env)):
        if pairs:
            made[member] = {**made.get(member, {}), **dict(pairs)}
    if arguments.instances is not None:
        resources = made.setdefault("ResourceConfig", {})
        if resources.get("InstanceGroups"):
            raise RefusedError(
                "--instances: the request has InstanceGroups, each with an InstanceCount of its own; set those"
            )
        resources["InstanceCount"] = arguments.instances
    if arguments.max_runtime is not None:
        made.setdefault("StoppingCondition", {})["MaxRuntimeInSeconds"] = arguments.max_runtime
    return made


def set_channel(request: dict[str, Any], name: str, source: str, mode: str | None) -> None:
    """Add a channel, or let one of this name come out of `source`, an S3 URI or a path; its other members stay."""
    path = not source.startswith("s3://")
    uri = f"{model.LOCAL}{os.path.abspath(source)}" if path else source
    channels: list[dict[str, Any]] = request.setdefault("InputDataConfig", [])
    found = next((channel for channel in channels if channel.get("ChannelName") == name), None)
    if found is None:
        found = {"ChannelName": name, "DataSource": {}}
        channels.append(found)
    data = found.get("DataSource", {}).get("S3DataSource", {"S3DataDistributionType": REPLICATED})
    kind = data.get("S3DataType", PREFIX) if not path or os.path.isfile(source) else PREFIX
    found["DataSource"] = {"S3DataSource": {**data, "S3DataType": kind, "S3Uri": uri}}
    if mode is not None:
        found["InputMode"] = mode


def name_of(image: str) -> str:
    """A TrainingJobName for a job of this image: the last part of its name, without tag and digest."""
    last = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    return re.sub(r"[^A-Za-z0-9]+", "-", last).strip("-")[:63].rstrip("-") or "job"


def _blank(image: str | None) -> dict[str, Any]:
    if image is None:
        raise RefusedError("expected a request, or --image IMAGE")
    return {
        "TrainingJobName": name_of(image),
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": FILE},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": OUTPUT},
    }


# -- the values of flags ---------------------------------------------------------------------------


def channel(text: str) -> tuple[str, str, str | None]:
    """NAME=DIR or NAME=DIR:MODE: name, directory, file or S3 URI, and the mode; None where there is none."""
    name, source = options.pair(text)
    before, colon, mode = source.rpartition(":")
    if colon and mode in MODES:
        source = before
    elif colon and mode.lower() in [known.lower() for known in MODES]:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(MODES)} after the colon, got {mode!r}")
    if not source:
        raise argparse.ArgumentTypeError(f"expected NAME=DIR, got {text!r}")
    if not source.startswith("s3://") and not os.path.exists(source):
        raise argparse.ArgumentTypeError(f"{source} is not there: expected a directory, a file or an s3:// URI")
    return name, source, mode if source == before else None


def runtime(text: str) -> int:
    """Seconds of a duration, whole ones as the platform has them, 1 at least."""
    return max(1, math.ceil(options.duration(text)))
