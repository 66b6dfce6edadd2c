"""A training job: what of a request matters to those who lay it out, start it and watch it. Values only, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FILE, FASTFILE, PIPE = "File", "FastFile", "Pipe"
REPLICATED, SHARDED = "FullyReplicated", "ShardedByS3Key"
PREFIX, MANIFEST, AUGMENTED = "S3Prefix", "ManifestFile", "AugmentedManifestFile"
NONE, GZIP, RECORDIO = "None", "Gzip", "RecordIO"

TRAIN_SECONDS = 24 * 60 * 60.0
"""Seconds a job may run where the request has no MaxRuntimeInSeconds: the platform's default is one day."""

CHECKPOINTS = "/opt/ml/checkpoints"
"""CheckpointConfig.LocalPath where the request has none."""


@dataclass(frozen=True)
class Channel:
    """An input data channel. `uri` is `s3://…`, or the absolute path of a directory or file of this machine."""

    name: str
    uri: str
    mode: str = FILE
    kind: str = PREFIX
    distribution: str = REPLICATED
    content_type: str = ""
    compression: str = NONE
    record_wrapper: str = NONE
    attributes: tuple[str, ...] = ()
    """AttributeNames of an augmented manifest, in order."""
    shuffle_seed: int | None = None
    groups: tuple[str, ...] = ()
    """InstanceGroupNames: the groups that get this channel; all of them where there are none."""


@dataclass(frozen=True)
class Host:
    """One instance: `algo-1` and so on."""

    name: str
    instance_type: str = "local"
    group: str = "homogeneousCluster"
    """The platform's name for the group of a job without InstanceGroups."""


@dataclass(frozen=True)
class Job:
    """A CreateTrainingJob request with everything left out filled in."""

    name: str
    image: str
    hosts: tuple[Host, ...] = (Host("algo-1"),)
    entrypoint: tuple[str, ...] | None = None
    """ContainerEntrypoint; None: the image's own."""
    arguments: tuple[str, ...] | None = None
    """ContainerArguments. None: nothing after the entrypoint, or `train` where `entrypoint` is None too."""
    environment: Mapping[str, str] = field(default_factory=dict)
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    channels: tuple[Channel, ...] = ()
    region: str = "us-east-1"
    account: str = "000000000000"
    max_runtime: float = TRAIN_SECONDS
    """Seconds: MaxRuntimeInSeconds."""
    spot: bool = False
    checkpoint_path: str | None = None
    """CheckpointConfig.LocalPath; None: the request has no CheckpointConfig, and /opt/ml/checkpoints is not kept."""
    request: Mapping[str, object] = field(default_factory=dict)
    """The request itself, as it was read, for the result's fields that only repeat it."""

    @property
    def arn(self) -> str:
        """TRAINING_JOB_ARN."""
        return f"arn:aws:sagemaker:{self.region}:{self.account}:training-job/{self.name}"

    @property
    def command(self) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
        """What `docker run [--entrypoint E] IMAGE A…` gets: E, None for the image's own, and A."""
        if self.arguments is not None:
            return self.entrypoint, self.arguments
        return self.entrypoint, () if self.entrypoint is not None else ("train",)
