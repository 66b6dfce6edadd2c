"""Objects by their URI: in directories of this machine that stand for parts of S3, or in S3 itself. What for, it does not know.

A URI names a key prefix, not a directory: `s3://bucket/train` is both `train/a` and `training/b` (API reference,
S3DataSource). Keys are sorted as S3 lists them, by their bytes.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from smentry.ctl.data.buckets import Buckets

_PIECE = 1 << 30
"""Bytes that the kernel copies at a time."""


@dataclass(frozen=True)
class Object:
    """An object of a bucket. Where it is a file of this machine, `path` is that, and without a bucket the key is its path."""

    uri: str
    key: str
    size: int
    """Bytes."""
    path: Path | None = None


class Storage:
    """What `s3://` URIs, and absolute paths of this machine, stand for."""

    def __init__(self, mappings: Sequence[tuple[str, Path]] = ()) -> None:
        """A mapping is an `s3://bucket/prefix` and the directory, or the file, that stands for it. The longest prefix wins.

        Raises RefusedError where it is none, or nothing is there.
        """
        self._mappings: dict[str, dict[str, Path]] = {}
        self._buckets: Buckets | None = None
        self.left_out: list[str] = []
        """Files of directories that no upload would take: links to nothing, sockets, devices; a line each."""
        for uri, path in mappings:
            bucket, prefix = split(uri)
            if not path.exists():
                raise RefusedError(f"{path}: nothing is there; {uri} was to be read from it")
            self._mappings.setdefault(bucket, {})[prefix.rstrip("/")] = Path(os.path.abspath(path))

    def objects(self, uri: str) -> list[Object]:
        """The objects whose key begins with that of the URI, or all files of a directory, sorted by key.

        The marks that the console of S3 leaves for empty folders are not among them. Raises RefusedError where there are none.
        """
        if uri.startswith("s3://"):
            bucket, prefix = split(uri)
            mapped = self._mapped(bucket, prefix)
            if mapped:
                found = [each for each in _virtual(bucket, mapped, self.left_out) if each.key.startswith(prefix)]
            else:
                found = self._s3().objects(bucket, prefix)
        else:
            found = self.files(local(uri))
        if not found:
            raise RefusedError(f"{uri}: expected objects under it, found none; the platform fails such a job")
        return sorted(found, key=lambda each: os.fsencode(each.key))

    def files(self, path: Path) -> list[Object]:
        """A file, or all files of a directory, in no order. Raises RefusedError where nothing is there, or cannot be read."""
        if not path.exists():
            raise RefusedError(f"{path}: expected a directory or a file, nothing is there")
        return [Object(str(file), str(file), size, file) for file, size in _files(path, self.left_out)]

    def object(self, uri: str) -> Object:
        """The object with exactly this URI, or the file with this path. Raises RefusedError where there is none."""
        if not uri.startswith("s3://"):
            path = local(uri)
            if os.path.isfile(path):
                return Object(uri, str(path), path.stat().st_size, path)
            raise RefusedError(f"{path}: expected a file, found none")
        bucket, key = split(uri)
        mappings = self._mappings.get(bucket, {})
        prefix = max((each for each in mappings if each == key or _within(key, each)), key=len, default=None)
        if prefix is None:
            return self._s3().object(bucket, key)
        below = key[len(prefix) + bool(prefix) :]
        path = mappings[prefix] / below.lstrip("/")
        # A key is no path: neither `a//b` nor `x/../a/b` is the object `a/b`.
        if (below and not {"", ".", ".."}.isdisjoint(below.split("/"))) or not os.path.isfile(path):
            raise RefusedError(f"{uri}: expected an object, found none ({path} stands for it)")
        return Object(uri, key, path.stat().st_size, path)

    def open(self, source: Object) -> BinaryIO:
        """The object's bytes, to be read and closed, which `with` may not do (see Buckets.open).

        Raises RefusedError where S3 says no, and OSError; reading raises more.
        """
        if source.path is not None:
            return open(source.path, "rb")
        return self._s3().open(*split(source.uri))

    def fetch(self, source: Object, path: Path) -> None:
        """Write the object to the new file `path`, by a reflink where the file system has them. Raises RefusedError, OSError."""
        if source.path is None:
            self._s3().fetch(*split(source.uri), path)
            return
        with open(source.path, "rb") as reading, open(path, "xb") as writing:
            _by_kernel(reading.fileno(), writing.fileno())
            shutil.copyfileobj(reading, writing, 1 << 20)

    def _mapped(self, bucket: str, prefix: str) -> dict[str, Path]:
        """The mappings that can have a key that begins with the prefix."""
        mappings = self._mappings.get(bucket, {})
        over = sorted((each for each in mappings if _within(prefix, each)), key=len)[-1:]
        return {each: mappings[each] for each in mappings if each in over or each.startswith(prefix)}

    def _s3(self) -> Buckets:
        if self._buckets is None:
            from smentry.ctl.data.buckets import Buckets

            self._buckets = Buckets()
        return self._buckets


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` URI; the key may be empty. Raises RefusedError where it is none."""
    scheme, separator, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not separator or not bucket:
        raise RefusedError(f"expected a URI such as s3://bucket/prefix, got {uri!r}")
    return bucket, key


def local(uri: str) -> Path:
    """The path of a URI that does not name S3: an absolute path, or `file://` and one."""
    return Path(uri[len("file://") :] if uri.startswith("file://") else uri)


def mapping(text: str) -> tuple[str, Path]:
    """`s3://bucket/prefix=DIR`, as `--s3` takes it. Raises RefusedError."""
    uri, separator, directory = text.partition("=")
    while separator and not Path(directory).exists() and "=" in directory:  # keys such as year=2024/
        more, separator, directory = directory.partition("=")
        uri += f"={more}"
    if not separator or not directory:
        raise RefusedError(f"--s3: expected s3://bucket/prefix=DIR, got {text!r}")
    split(uri)
    if not Path(directory).exists():
        raise RefusedError(f"--s3: {directory}: expected a directory or a file, nothing is there")
    return uri, Path(directory)


def _within(key: str, prefix: str) -> bool:
    return not prefix or key.startswith(f"{prefix}/")


def _virtual(bucket: str, mappings: dict[str, Path], left_out: list[str]) -> Iterator[Object]:
    """The objects of directories that stand for parts of a bucket; what a longer prefix stands for hides what is there."""
    for prefix, path in mappings.items():
        inner = tuple(f"{each}/" for each in mappings if each != prefix and _within(each, prefix))
        for file, size in _files(path, left_out):
            relative = file.relative_to(path).as_posix()
            key = prefix if relative == "." else f"{prefix}/{relative}" if prefix else relative
            if not f"{key}/".startswith(inner):
                yield Object(f"s3://{bucket}/{key}", key, size, file)


def _files(path: Path, left_out: list[str]) -> Iterator[tuple[Path, int]]:
    """A file, or all files of a directory, and their sizes; links are followed, as an upload follows them."""
    status = path.stat()
    if stat.S_ISREG(status.st_mode):
        yield path, status.st_size
        return

    def refuse(error: OSError) -> None:
        raise RefusedError(f"{error.filename}: cannot be read: {(error.strerror or str(error)).lower()}") from None

    above: dict[str, frozenset[tuple[int, int]]] = {}  # a link to a directory above it has no end
    for directory, names, files in os.walk(path, followlinks=True, onerror=refuse):
        here = os.stat(directory)
        line = above.pop(directory, frozenset())
        if (here.st_dev, here.st_ino) in line:
            left_out.append(f"{directory}: a link to a directory that it is in")
            names.clear()
            continue
        for name in names:
            above[os.path.join(directory, name)] = line | {(here.st_dev, here.st_ino)}
        for name in files:
            file = Path(directory, name)
            try:
                status = file.stat()
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ELOOP):
                    refuse(error)
                left_out.append(f"{file}: a link to nothing")
                continue
            if stat.S_ISREG(status.st_mode):
                yield file, status.st_size
            else:
                left_out.append(f"{file}: neither a file nor a directory")


def _by_kernel(reading: int, writing: int) -> None:
    """Copy as much as the kernel does, which may be nothing (copy_file_range(2)); both offsets are moved."""
    try:
        while os.copy_file_range(reading, writing, _PIECE):
            pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
