"""A new request out of an image, a script and what else is wanted. It writes and asks nothing."""

from __future__ import annotations

import posixpath
import re
import shlex
import time
from dataclasses import dataclass, field

from smentry.ctl.request import flags
from smentry.ctl.request.job import FILE
from smentry.errors import RefusedError
from smentry.sagemaker.layout import BASE, Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

DATA = Layout(BASE).data
BUCKET = "s3://your-bucket"
ROLE = "arn:aws:iam::111122223333:role/your-role"
"""111122223333 is an account number of the documentation: nobody's."""

INSTANCE_TYPE = "ml.m5.xlarge"
VOLUME = 30
"""GB: VolumeSizeInGB."""
MAX_RUNTIME = 24 * 60 * 60
"""Seconds: the platform's own default."""


@dataclass(frozen=True)
class Wanted:
    """What the request is to say. None: a placeholder, or left out."""

    image: str
    script: str | None = None
    """`/PATH` in the image, or `CHANNEL/PATH`; None: the image's own entrypoint, with `train`."""
    arguments: Sequence[str] = ()
    """The script's."""
    plain: bool = False
    """The documented way without smentry: a shell or Python is the entrypoint."""
    name: str | None = None
    channels: Sequence[tuple[str, str, str | None]] = ()
    """Name, S3 URI, and the mode, which is File where it is None."""
    role: str | None = None
    output: str | None = None
    instance_type: str = INSTANCE_TYPE
    instances: int = 1
    volume: int = VOLUME
    max_runtime: int = MAX_RUNTIME
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    spot: bool = False
    max_wait: int | None = None
    """Seconds for the waiting and the run together."""
    checkpoint: str | None = None


def compose(wanted: Wanted, now: float) -> tuple[dict[str, Any], list[str]]:
    """The request, and a line for each placeholder that is in it. `now` is Unix time, for the job's name.

    Raises RefusedError where what is wanted does not go together.
    """
    placeholders: list[str] = []

    def placeholder(given: str | None, flag: str, instead: str) -> str:
        if given is None:
            placeholders.append(f"no {flag}: {instead} is a placeholder, put yours there")
        return instead if given is None else given

    channels = _channels(wanted, placeholder)
    algorithm: dict[str, Any] = {"TrainingImage": wanted.image, "TrainingInputMode": FILE}
    entrypoint, arguments = command(wanted)
    if entrypoint:
        algorithm["ContainerEntrypoint"] = entrypoint
    if arguments:
        algorithm["ContainerArguments"] = arguments
    request: dict[str, Any] = {
        "TrainingJobName": wanted.name or _named(wanted.image, now),
        "AlgorithmSpecification": algorithm,
        "RoleArn": placeholder(wanted.role, "--role", ROLE),
    }
    for name, source, mode in channels:
        flags.set_channel(request, name, source, mode)
    request["OutputDataConfig"] = {"S3OutputPath": placeholder(wanted.output, "--output", f"{BUCKET}/output")}
    request["ResourceConfig"] = {
        "InstanceType": wanted.instance_type,
        "InstanceCount": wanted.instances,
        "VolumeSizeInGB": wanted.volume,
    }
    request["StoppingCondition"] = {"MaxRuntimeInSeconds": wanted.max_runtime}
    if wanted.spot:
        _spot(wanted, request)
    if wanted.spot or wanted.checkpoint is not None:
        uri = placeholder(wanted.checkpoint, "--checkpoint", f"{BUCKET}/checkpoints/{request['TrainingJobName']}")
        request["CheckpointConfig"] = {"S3Uri": uri}
    if wanted.hyperparameters:
        request["HyperParameters"] = dict(wanted.hyperparameters)
    if wanted.environment:
        request["Environment"] = dict(wanted.environment)
    return request, placeholders


def command(wanted: Wanted) -> tuple[list[str], list[str]]:
    """ContainerEntrypoint and ContainerArguments; an empty list is left out.

    A script of the image is run as the documented way runs it, by a shell or Python, with smentry before that: so it need
    not be executable, and gets the arguments that it got.
    """
    if wanted.script is None:
        # With arguments alone the platform no longer passes `train`, which is therefore among them.
        return [], ["train", *wanted.arguments] if wanted.arguments else []
    through = _channel_of(wanted.script)
    path = f"{DATA}/{posixpath.normpath(wanted.script)}" if through else wanted.script
    if wanted.plain:
        runner = "python" if path.endswith(".py") else "/bin/sh"  # the documentation's own
        return [runner], [path, *wanted.arguments]
    if through:
        return ["smentry"], ["--script", posixpath.normpath(wanted.script), *wanted.arguments]
    # Where there is a `python` there is a `python3`, and not always the other way.
    runner = "python3" if path.endswith(".py") else "/bin/sh"
    return ["smentry"], [runner, path, *wanted.arguments]


def _channel_of(script: str) -> str:
    """The channel of CHANNEL/PATH; empty where the script is the image's."""
    if script.startswith("/"):
        place = posixpath.normpath(script)
        if place == DATA or place.startswith(f"{DATA}/"):
            raise RefusedError(f"--script: {script} is in a channel: write it as CHANNEL/PATH")
        if place.startswith(f"{BASE}/"):
            raise RefusedError(
                f"--script: {script} is below /opt/ml, where the platform's mounts hide what an image has"
            )
        return ""
    channel, slash, _ = posixpath.normpath(script).partition("/")
    if not slash or channel == "..":
        raise RefusedError(f"--script: expected CHANNEL/PATH, or /PATH of a file in the image, got {script!r}")
    return channel


def _channels(wanted: Wanted, placeholder: Any) -> list[tuple[str, str, str | None]]:
    """The channels with the script's, which the platform needs as File."""
    channels = list(wanted.channels)
    names = [name for name, _, _ in channels]
    for name, source, _ in channels:
        if not re.match("s3://", source):
            raise RefusedError(
                f"--channel {name}: expected an s3:// URI, got {source!r}: the platform reads nothing else;"
                f" `aws s3 cp --recursive {shlex.quote(source)} {BUCKET}/{name}` puts it there"
            )
        if names.count(name) > 1:
            raise RefusedError(f"--channel {name}: is there twice: expected a name of its own for each channel")
    own = _channel_of(wanted.script) if wanted.script is not None else ""
    if not own:
        return channels
    if own not in names:
        return [(own, placeholder(None, f"--channel {own}=s3://…", f"{BUCKET}/{own}"), FILE), *channels]
    mode = channels[names.index(own)][2]
    if mode not in (None, FILE):
        raise RefusedError(f"--channel {own}: expected File for the channel of the script, got {mode}")
    return [(name, source, FILE if name == own else mode) for name, source, mode in channels]


def _spot(wanted: Wanted, request: dict[str, Any]) -> None:
    wait = wanted.max_runtime if wanted.max_wait is None else wanted.max_wait
    if wait < wanted.max_runtime:
        raise RefusedError(
            f"--max-wait: expected at least --max-runtime ({wanted.max_runtime} s), which it includes, got {wait} s"
        )
    request["StoppingCondition"]["MaxWaitTimeInSeconds"] = wait
    request["EnableManagedSpotTraining"] = True


def _named(image: str, now: float) -> str:
    """A name that is new: no two jobs of an account and region may have the same."""
    at = time.strftime("%Y-%m-%d-%H-%M-%S", time.gmtime(now))
    return f"{flags.name_of(image)[: 62 - len(at)].rstrip('-')}-{at}"
