"""What a host of a job is to an engine, and what an engine does. Neither requests nor results are known here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from typing import Any, Protocol

    Output = Callable[[bytes], None]
    """Takes what a container writes to stdout and stderr, as it comes: pieces of any size, from a thread."""

    class Container(Protocol):
        """A host that has been started."""

        name: str

        def signal(self, number: int) -> None:
            """Send a signal to PID 1 of the container; nothing where it has ended."""

        def wait(self) -> Ended:
            """Wait for the end. All output has been handed over by then."""

        def usage(self) -> Usage | None:
            """What it uses now; None where that cannot be seen, or it has ended."""

        def ports(self) -> Mapping[int, int]:
            """Port of the container → port on 127.0.0.1 of this machine; empty where it has ended."""

    class Engine(Protocol):
        """Where hosts run. Every method raises errors.RefusedError where the user can put it right."""

        def cannot_show(self) -> Sequence[str]:
            """What of the platform this engine cannot show; a line each. Empty for containers."""

        def prepare(self, image: str) -> None:
            """See that the image is there, or say in one line why it is not."""

        def start(self, host: Start, output: Output) -> Container:
            """Start a host."""

        def archive(self, container: Any, path: str) -> Generator[bytes, None, None]:
            """What is at `path` (absolute, as the container sees it) as a tar stream, whoever owns it; the container has
            ended. Empty where there is nothing; to be closed. The names in it begin with the last name of `path`, as with
            `docker cp`."""

        def remove(self, directory: Path) -> None:
            """Remove a directory of this machine that was mounted, whoever owns what the containers wrote there."""

        def close(self) -> None:
            """Remove everything this engine has started or made, containers that still run included."""


@dataclass(frozen=True)
class Mount:
    """A directory of this machine, at `target` in the container."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Start:
    """How a host is started. Names of hosts resolve among the hosts of one engine object."""

    name: str
    image: str
    entrypoint: Sequence[str] | None
    """None: the image's own; given, it replaces the image's CMD too, as `docker run --entrypoint` does."""
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    """In the order in which they are made: /opt/ml first, read-only channels over it."""
    gpus: str = ""
    """`all`, a number or '', as `docker run --gpus`."""
    ports: Mapping[int, int] = field(default_factory=dict)
    """Port of the container → port on 127.0.0.1 of this machine (0: any)."""


@dataclass(frozen=True)
class Ended:
    """How a container has ended."""

    code: int
    """As `docker wait` says: 128 + N after signal N."""
    out_of_memory: bool = False


@dataclass(frozen=True)
class Usage:
    """What a container uses."""

    memory: int
    """Bytes, the page cache not counted."""
    memory_limit: int
    """Bytes; 0 where there is none."""
    cpu_seconds: float
    """Seconds of CPU time since its start."""
