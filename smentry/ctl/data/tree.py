"""What each host of a job finds under /opt/ml, laid out in a directory of this machine. It starts nothing, and feeds no FIFO.

The layout is the developer guide's ("How Amazon SageMaker AI Provides Training Information"); smentry.sagemaker reads it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from smentry.ctl.data import channels, sharing
from smentry.ctl.data.channels import Entry
from smentry.ctl.data.pipes import Feed
from smentry.ctl.data.storage import Object
from smentry.ctl.engine.base import Mount
from smentry.ctl.request.job import CHECKPOINTS, FASTFILE, FILE, PIPE, REPLICATED
from smentry.errors import RefusedError
from smentry.sagemaker.layout import BASE, Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from smentry.ctl.data.storage import Storage
    from smentry.ctl.request.job import Channel, Host, Job

NETWORK_INTERFACE = "eth0"


@dataclass(frozen=True)
class HostTree:
    """A host's part of what was laid out."""

    host: str
    base: Path
    """What is mounted over /opt/ml."""
    mounts: tuple[Mount, ...]
    """In the order in which they are made; `base` first."""
    environment: dict[str, str]
    """All that the container's environment has beyond the image's own."""
    checkpoints: Path
    """The directory of this machine that the container sees as its checkpoint directory."""
    feeds: tuple[Feed, ...] = field(default=(), repr=False)
    """The Pipe channels, for pipes.feeding."""


def lay_out(
    job: Job, storage: Storage, directory: Path, checkpoints: Path | None = None, *, views: bool = True
) -> list[HostTree]:
    """Lay out the hosts' trees in `directory`, which is made where it is not there; in the order of the job's hosts.

    `checkpoints` is a directory whose content every host finds in its checkpoint directory, as the platform restores it
    (developer guide, Checkpoints). `views`: a FastFile channel may be the user's own directory, which is then to be mounted
    read-only; without, it is always a copy. Raises RefusedError where data cannot be had.
    """
    _see_that_names_serve(job)
    directory = Path(os.path.abspath(directory))
    directory.mkdir(parents=True, exist_ok=True)
    bases = {host.name: _bare(directory / host.name) for host in job.hosts}
    mounts = {host.name: [Mount(bases[host.name], BASE)] for host in job.hosts}
    feeds: dict[str, list[Feed]] = {host.name: [] for host in job.hosts}
    for channel in job.channels:
        names = sharing.receivers(channel, job.hosts)
        found = channels.entries(channel, storage)
        if channel.mode == FILE:
            _files(channel, found, storage, {each: bases[each] for each in names})
        elif channel.mode == FASTFILE:
            view = _view(found) if views else None
            sources = _fast(channel, found, storage, {each: bases[each] for each in names}, view)
            for each, source in sources.items():
                channels.make(_data(bases[each]) / channel.name)
                mounts[each].append(Mount(source, f"{BASE}/input/data/{channel.name}", read_only=True))
        else:
            for place, each in enumerate(names):
                feed = Feed(channel, tuple(found), place, len(names), _data(bases[each]))
                feed.check()
                feed.make()
                feeds[each].append(feed)
    made = []
    for host in job.hosts:
        base = bases[host.name]
        _configure(job, host, base)
        kept = _checkpoints(job, base, mounts[host.name])
        restored = [] if checkpoints is None else storage.files(checkpoints)
        channels.fill(kept, [Entry((each,), channels.name(str(checkpoints), each)) for each in restored], storage)
        given = tuple(mounts[host.name])
        made.append(HostTree(host.name, base, given, _environment(job), kept, tuple(feeds[host.name])))
    return made


def hyperparameters(job: Job) -> dict[str, str]:
    """hyperparameters.json: every value is a string."""
    return {name: str(value) for name, value in job.hyperparameters.items()}


def input_data(job: Job, host: Host) -> dict[str, dict[str, str]]:
    """inputdataconfig.json of a host: the channels that it gets."""
    return {each.name: _described(each) for each in job.channels if host.name in sharing.receivers(each, job.hosts)}


def resources(job: Job, host: Host) -> dict[str, Any]:
    """resourceconfig.json of a host. Hosts are sorted as texts: algo-10 is before algo-2."""
    groups: dict[str, list[Host]] = {}
    for each in job.hosts:
        groups.setdefault(each.group, []).append(each)
    return {
        "current_host": host.name,
        "current_instance_type": host.instance_type,
        "current_group_name": host.group,
        "hosts": sorted(each.name for each in job.hosts),
        "instance_groups": [
            {
                "instance_group_name": name,
                "instance_type": members[0].instance_type,
                "hosts": sorted(each.name for each in members),
            }
            for name, members in groups.items()
        ],
        "network_interface_name": NETWORK_INTERFACE,
    }


def _described(channel: Channel) -> dict[str, str]:
    said = {
        "TrainingInputMode": channel.mode,
        "S3DistributionType": channel.distribution,
        "RecordWrapperType": channel.record_wrapper,
    }
    return {"ContentType": channel.content_type, **said} if channel.content_type else said


def _bare(directory: Path) -> Path:
    """Make a host's base directory, and in it what every job has."""
    base = directory / "ml"
    layout = Layout(str(base))
    channels.make(directory)
    for each in (
        base,
        base / "input",
        layout.config,
        layout.data,
        layout.model,
        layout.output,
        f"{layout.output}/data",
    ):
        channels.make(Path(each))
    return base


def _data(base: Path) -> Path:
    return Path(Layout(str(base)).data)


def _configure(job: Job, host: Host, base: Path) -> None:
    layout = Layout(str(base))
    _write(layout.hyperparameters, hyperparameters(job))
    _write(layout.channels, input_data(job, host))
    _write(layout.resources, resources(job, host))


def _write(path: str, value: Mapping[str, Any]) -> None:
    with open(path, "x", encoding="utf-8") as file:
        json.dump(value, file)
        os.fchmod(file.fileno(), channels.FILE_MODE)


def _environment(job: Job) -> dict[str, str]:
    own = {"TRAINING_JOB_NAME": job.name, "TRAINING_JOB_ARN": job.arn, "AWS_REGION": job.region}
    return {**own, **job.environment}


def _files(channel: Channel, found: list[Entry], storage: Storage, bases: Mapping[str, Path]) -> None:
    """A File channel: a directory of copies for each host. What one has fetched, the others copy."""
    for place, base in enumerate(bases.values()):
        wanted = sharing.portion(channel, found, place, len(bases))
        fetched = channels.fill(_data(base) / channel.name, wanted, storage)
        if channel.distribution == REPLICATED:
            found = fetched


def _fast(
    channel: Channel, found: list[Entry], storage: Storage, bases: Mapping[str, Path], view: Path | None
) -> dict[str, Path]:
    """The directory that each host is to see of a FastFile channel: one for all of them where they get the same."""
    sources: dict[str, Path] = {}
    for place, (name, base) in enumerate(bases.items()):
        if channel.distribution == REPLICATED and (view or sources):
            sources[name] = view or next(iter(sources.values()))
            continue
        sources[name] = base.parent / "fastfile" / channel.name
        if not sources[name].parent.exists():
            channels.make(sources[name].parent)
        channels.fill(sources[name], sharing.portion(channel, found, place, len(bases)), storage)
    return sources


def _view(found: list[Entry]) -> Path | None:
    """The user's own directory where the channel is all of its files, and it has nothing that S3 would not keep."""
    roots = set()
    for each in found:
        (part,) = each.parts
        path = str(part.path) if isinstance(part, Object) and part.path else ""
        if not path.endswith(f"/{each.name}"):
            return None
        roots.add(path[: -len(each.name) - 1])
    if len(roots) != 1:
        return None
    directory = Path(roots.pop())
    if not channels.is_bare(directory) or sum(len(files) for _, _, files in os.walk(directory)) != len(found):
        return None
    return directory


def _see_that_names_serve(job: Job) -> None:
    names = {each.name for each in job.channels}
    for each in job.channels:
        if each.name in (".", ".."):  # the API takes them
            raise RefusedError(f"channel {each.name}: no directory can have this name; rename the channel")
        pattern = re.compile(rf"{re.escape(each.name)}_\d+")
        taken = sorted(filter(pattern.fullmatch, names)) if each.mode == PIPE else []
        if taken:
            raise RefusedError(f"channel {taken[0]}: a FIFO of the channel {each.name} has this name too; rename one")


def _checkpoints(job: Job, base: Path, mounts: list[Mount]) -> Path:
    """Where the checkpoint directory is to be made: under the base directory, or for a further mount."""
    wanted = PurePosixPath(os.path.normpath(job.checkpoint_path or CHECKPOINTS))
    if PurePosixPath(BASE) in wanted.parents:
        kept = base / wanted.relative_to(BASE)
        for each in reversed(kept.parents):
            if base in each.parents and not each.exists():
                channels.make(each)
        return kept
    if not wanted.is_absolute() or str(wanted) in ("/", BASE):
        raise RefusedError(f"CheckpointConfig.LocalPath: expected a directory such as {CHECKPOINTS}, got {wanted}")
    kept = base.parent / "checkpoints"
    mounts.append(Mount(kept, str(wanted)))
    return kept
