"""What is kept of a job that has ended: model.tar.gz, output.tar.gz, checkpoints, the failure file. It knows tar streams.

The streams are what an engine's `archive` gives of a path, one for each host: the first host's file wins where two have one of
the same name, and is the only one that the platform's documentation lets one count on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from smentry.ctl.engine import tarstream
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

MODEL, OUTPUT = "model.tar.gz", "output.tar.gz"
UNCOMPRESSED = "model"
"""What the model is called where OutputDataConfig.CompressionType is NONE: a directory."""

FAILURE = 1024
"""Characters of output/failure that become FailureReason (developer guide, How Amazon SageMaker AI Processes Training Output)."""

_MOST_BYTES = 4 * FAILURE
"""As many bytes as characters of UTF-8 may have."""


@dataclass(frozen=True)
class Artifact:
    """Something that was kept."""

    path: Path
    size: int
    """Bytes on this machine."""
    files: int


def pack(streams: Iterable[Iterable[bytes]], path: Path) -> Artifact | None:
    """Write a .tar.gz of what is in these streams' directories, atomically. None, and no file, where they are empty."""
    with _beside(path) as half, _readable():
        seen: set[str] = set()
        files = 0
        with tarfile.open(half, "w:gz", compresslevel=6) as packed:
            for archive, member, name in _members(streams, seen):
                member.name = name
                member.pax_headers = {}  # which would win over the new names
                if member.islnk():
                    member.linkname = _below(member.linkname)
                packed.addfile(member, archive.extractfile(member) if member.isreg() else None)
                files += not member.isdir()
        if not seen:
            return None
        os.replace(half, path)
    return Artifact(path, path.stat().st_size, files)


def set_aside(path: Path) -> None:
    """Give an earlier job's artifact a `~` behind its name, in the place of one that has it already. Raises RefusedError."""
    try:
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, f"{path}~")
    except OSError as error:
        raise RefusedError(f"{path} is there already and cannot be renamed: {error.strerror or error}") from None


def unpack(streams: Iterable[Iterable[bytes]], directory: Path) -> Artifact | None:
    """Put the files of these streams into a directory, each atomically, as an upload to S3 would: files alone, and no modes.

    What else is in the directory stays. None where there are no files.
    """
    sizes: list[int] = []
    with _readable():
        for archive, member, name in _members(streams, set()):
            source: IO[bytes] | None = archive.extractfile(member) if member.isreg() else None
            linked = directory / _below(member.linkname) if member.islnk() else None
            if linked is not None and linked.is_file():  # a link has not been put there
                source = linked.open("rb")
            if source is not None:
                with source:
                    sizes.append(_put(source, directory / name))
    return Artifact(directory, sum(sizes), len(sizes)) if sizes else None


def _put(source: IO[bytes], target: Path) -> int:
    with _beside(target) as half:
        with open(half, "wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        os.replace(half, target)
    return target.stat().st_size


def failure(stream: Iterable[bytes]) -> str:
    """The text of output/failure, as much of it as becomes FailureReason; '' where there is none."""
    with _readable():
        for archive, member in tarstream.members(stream):
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None:
                return content.read(_MOST_BYTES).decode("utf-8", "replace")[:FAILURE]
            break  # a directory, a link, a FIFO: what is in one is no reason
    return ""


def reason(text: str, code: int, out_of_memory: bool) -> str:
    """FailureReason in the forms that the platform has been seen to write. `text`: what the host said in output/failure."""
    if out_of_memory and not text:
        advice = (
            "Please use an instance type with more memory, or reduce the size of job data processed on an instance."
        )
        return f"ClientError: {advice}, exit code: {code}"
    return f"AlgorithmError: {text}, exit code: {code}"


def _members(
    streams: Iterable[Iterable[bytes]], seen: set[str]
) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo, str]]:
    """Files, directories and links of all streams, with their names below the directory; each name once."""
    for stream in streams:
        for archive, member in tarstream.members(stream):
            name = _below(member.name)
            # A second name of a FIFO or a device is kept as little as the first.
            linked = member.islnk() and _below(member.linkname) in seen
            if name and name not in seen and (member.isreg() or member.isdir() or member.issym() or linked):
                seen.add(name)
                yield archive, member, name


def _below(name: str) -> str:
    """A name without the directory that the stream is of; '' for that itself. Raises RefusedError for one that leaves it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise RefusedError(f"a container's archive holds {name!r}: expected a name below its directory")
    return "/".join(path.parts[1:])


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError) as error:
        raise RefusedError(f"what the engine gives of a container cannot be read: {error}") from None


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A new file beside `path`, with the rights that one would have; removed unless it was renamed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".smentryctl-")
        os.close(handle)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        try:
            yield Path(name)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
    except OSError as error:
        raise RefusedError(f"{path} cannot be written: {error.strerror or error}") from None
