"""The names under /opt/ml. It does not look whether they are there."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Layout:
    """The tree the platform lays out, under SAGEMAKER_BASE_DIR or /opt/ml."""

    __slots__ = ("base",)

    def __init__(self, base: str) -> None:
        self.base = base

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Layout:
        """The tree that the environment names; the training toolkit honours SAGEMAKER_BASE_DIR too."""
        base = environment.get("SAGEMAKER_BASE_DIR") or "/opt/ml"
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
    def data(self) -> str:
        """The directory of the channels' directories."""
        return os.path.join(self.base, "input/data")

    @property
    def code(self) -> str:
        """Where the training toolkit puts the user's code."""
        return os.path.join(self.base, "code")

    @property
    def failure(self) -> str:
        """The text of which the first 1024 characters become FailureReason."""
        return os.path.join(self.base, "output/failure")

    def channel(self, name: str) -> str:
        """The directory of a File or FastFile channel."""
        return os.path.join(self.data, name)
