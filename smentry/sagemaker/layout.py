"""The names under /opt/ml. It does not look whether they are there, but for one that tells the kind of job."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


BASE = "/opt/ml"
"""Where the platform mounts the tree."""


class Layout:
    """The tree the platform lays out, under SAGEMAKER_BASE_DIR or /opt/ml."""

    __slots__ = ("base",)

    def __init__(self, base: str) -> None:
        self.base = base

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Layout:
        """The tree that the environment names; the training toolkit honours SAGEMAKER_BASE_DIR too."""
        base = environment.get("SAGEMAKER_BASE_DIR") or BASE
        try:
            return cls(os.path.abspath(base))
        except OSError:  # a relative one, in a working directory that has gone
            return cls(base)

    @property
    def config(self) -> str:
        """Where the job's description is: `input/config`."""
        return os.path.join(self.base, "input/config")

    @property
    def hyperparameters(self) -> str:
        """A flat map of strings."""
        return os.path.join(self.config, "hyperparameters.json")

    @property
    def channels(self) -> str:
        """The channels' description, `inputdataconfig.json`."""
        return os.path.join(self.config, "inputdataconfig.json")

    @property
    def resources(self) -> str:
        """The hosts of the job and which of them this is, `resourceconfig.json`."""
        return os.path.join(self.config, "resourceconfig.json")

    @property
    def data(self) -> str:
        """The directory of the channels' directories."""
        return os.path.join(self.base, "input/data")

    @property
    def code(self) -> str:
        """Where the training toolkit puts the user's code."""
        return os.path.join(self.base, "code")

    @property
    def model(self) -> str:
        """The final artifacts, which are packed to `model.tar.gz`."""
        return os.path.join(self.base, "model")

    @property
    def output(self) -> str:
        """What the job leaves behind besides the model."""
        return os.path.join(self.base, "output")

    @property
    def unfinished(self) -> str:
        """What is in the code directory while it is being filled, and until all of it is there."""
        return os.path.join(self.code, ".smentry-code")

    @property
    def failure(self) -> str:
        """The text of which the first 1024 characters become FailureReason."""
        return os.path.join(self.base, "output/failure")

    def channel(self, name: str) -> str:
        """The directory of a File or FastFile channel."""
        return os.path.join(self.data, name)

    # -- processing jobs: the same tree, with the description in `config` -------------------------------

    @property
    def processing(self) -> str:
        """The description of a processing job, `config/processingjobconfig.json`."""
        return os.path.join(self.base, "config/processingjobconfig.json")

    @property
    def processing_resources(self) -> str:
        """A processing job's `resourceconfig.json`."""
        return os.path.join(self.base, "config/resourceconfig.json")

    @property
    def message(self) -> str:
        """The text of which the first KB becomes the ExitMessage of a processing job."""
        return os.path.join(self.base, "output/message")

    def is_processing(self) -> bool:
        """Whether it is a processing job's tree: the one question here that looks at the disk."""
        return os.path.exists(self.processing)
