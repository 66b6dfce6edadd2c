"""What a channel holds, and how it becomes a directory of files. It does not know of FIFOs, and not of a job's other parts."""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
from dataclasses import dataclass, replace
from multiprocessing.pool import ThreadPool
from pathlib import Path

from smentry.ctl.data import manifests
from smentry.ctl.data.storage import Object, local, split
from smentry.ctl.request.job import AUGMENTED, MANIFEST, PIPE
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from smentry.ctl.data.storage import Storage
    from smentry.ctl.request.job import Channel

FILE_MODE, DIRECTORY_MODE = 0o644, 0o755
"""What a container sees of objects, which have no mode bits."""
_AT_A_TIME = 8
"""Objects that are fetched or asked for at the same time."""


@dataclass(frozen=True)
class Entry:
    """What is shared out and shuffled as one: an object, or a line of an augmented manifest."""

    parts: tuple[Object | str, ...]
    """What is streamed of it, in this order."""
    name: str = ""
    """The path of the object's file in the channel's directory."""


def entries(channel: Channel, storage: Storage) -> list[Entry]:
    """All that the channel holds, in order. Raises RefusedError, which names the channel."""
    try:
        return _entries(channel, storage)
    except RefusedError as refused:
        raise RefusedError(f"channel {channel.name}: {refused.message}") from None


def _entries(channel: Channel, storage: Storage) -> list[Entry]:
    if channel.kind == AUGMENTED:
        if channel.mode != PIPE:  # API reference, S3DataSource
            raise RefusedError(f"an augmented manifest can only be used with the input mode Pipe, got {channel.mode}")
        lines = list(manifests.records(_text(channel.uri, storage), channel.uri, channel.attributes))
        if not lines:
            raise RefusedError(f"{channel.uri}: expected at least one line, got none")
        found = _objects([value for line in lines for value, is_uri in line if is_uri], storage)
        return [Entry(tuple(found[value] if is_uri else value for value, is_uri in line)) for line in lines]
    if channel.kind == MANIFEST:
        prefix, keys = manifests.manifest(_text(channel.uri, storage), channel.uri)
        found = _objects([prefix + key for key in keys], storage)
        return [Entry((found[prefix + key],), name(prefix, found[prefix + key])) for key in keys]
    return [Entry((each,), name(channel.uri, each)) for each in storage.objects(channel.uri)]


def name(uri: str, found: Object) -> str:
    """The path under the channel's directory of an object that was found by this prefix.

    The prefix and the slash after it are left out; where the prefix ends within a name (`s3://b/data/train` and
    `data/train-1.csv`), that name is kept whole: as the platform does it, unlike the SageMaker Python SDK's local mode
    (aws/sagemaker-python-sdk issue 3612).
    """
    if not uri.startswith("s3://"):
        directory = local(uri)
        return found.key[len(str(directory)) :].lstrip("/") or directory.name
    prefix = split(uri)[1]
    if found.key.startswith(f"{prefix}/") and not prefix.endswith("/"):
        return found.key[len(prefix) + 1 :]
    return found.key[prefix.rfind("/") + 1 :]


def fill(directory: Path, wanted: Sequence[Entry], storage: Storage) -> list[Entry]:
    """Write the objects as files under the directory, which is made where it is not there.

    Returns the same entries, with these files as their objects. Files have FILE_MODE, directories DIRECTORY_MODE, whatever the
    umask and the source have. Raises RefusedError where a key cannot be a file's name, or an object cannot be had.
    """
    paths = dict(_paths(wanted))
    made = {directory}
    make(directory)
    for path in paths:
        for parent in reversed(Path(path).parents):
            if directory / parent not in made:
                make(directory / parent)
                made.add(directory / parent)
    # Daemon threads, unlike an executor's: ^C does not wait for a server that says nothing.
    with ThreadPool(_AT_A_TIME) as pool:
        for _ in pool.imap(lambda item: _write(directory / item[0], item[1], storage), paths.items()):
            pass
    return [replace(each, parts=(replace(_object(each), path=directory / _path(each)),)) for each in wanted]


def make(directory: Path) -> None:
    """Make a directory where there is none, and give it DIRECTORY_MODE, whatever the umask."""
    directory.mkdir(exist_ok=True)
    directory.chmod(DIRECTORY_MODE)


def is_bare(directory: Path) -> bool:
    """Whether a container would see no more of this directory than S3 keeps: no modes, links, devices or empty directories."""
    for here, names, files in os.walk(directory):
        if stat.S_IMODE(os.stat(here).st_mode) != DIRECTORY_MODE or not (names or files):
            return False
        for each in names:
            if os.path.islink(os.path.join(here, each)):
                return False
        for each in files:
            if os.lstat(os.path.join(here, each)).st_mode != stat.S_IFREG | FILE_MODE:
                return False
    return True


def _paths(wanted: Iterable[Entry]) -> Iterable[tuple[str, Object]]:
    """Path and object of each file. Raises RefusedError where they cannot all be files."""
    seen: dict[str, Object] = {}
    for each in wanted:
        path, found = _path(each), _object(each)
        if path in seen and seen[path] != found:
            raise RefusedError(f"{seen[path].uri} and {found.uri} are both the file {path} of the channel; rename one")
        seen[path] = found
    for path, found in seen.items():
        for parent in Path(path).parents:
            if str(parent) in seen:
                raise RefusedError(
                    f"{seen[str(parent)].uri}: cannot be a file beside {found.uri}, which needs a directory of this name"
                )
    return seen.items()


def _path(entry: Entry) -> str:
    path = posixpath.normpath(entry.name)
    steps = entry.name.split("/")
    if ".." in steps or path in ("", ".") or "\0" in path or any(len(os.fsencode(step)) > 255 for step in steps):
        raise RefusedError(f"{_object(entry).uri}: no file can have the name {entry.name!r}; rename the object")
    return path.lstrip("/")


def _object(entry: Entry) -> Object:
    (found,) = entry.parts
    assert isinstance(found, Object)
    return found


def _write(path: Path, source: Object, storage: Storage) -> None:
    try:
        storage.fetch(source, path)
        path.chmod(FILE_MODE)
    except OSError as error:
        raise RefusedError(
            f"{source.uri}: cannot be copied to {path}: {(error.strerror or str(error)).lower()}"
        ) from None


def _objects(uris: Sequence[str], storage: Storage) -> dict[str, Object]:
    """The objects with these URIs; S3 is asked for several at a time."""
    unique = list(dict.fromkeys(uris))
    with ThreadPool(_AT_A_TIME) as pool:
        return dict(zip(unique, pool.imap(storage.object, unique)))


def _text(uri: str, storage: Storage) -> bytes:
    source = storage.object(uri)
    try:
        with contextlib.closing(storage.open(source)) as file:
            return file.read()
    except RefusedError:
        raise
    except Exception as error:  # of botocore, the file system
        raise RefusedError(f"{uri}: cannot be read: {error}") from None
