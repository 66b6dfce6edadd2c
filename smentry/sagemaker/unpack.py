"""A tar archive into a directory that nobody else uses yet, and nothing of it beside. It does not know what the archive is for.

It does not lean on tarfile's own filters: Pythons before 3.9.17 have none, and the `data` filter of many later ones lets links of
very long paths through (CVE-2025-4517). Instead no link is made before every file is written, so that nothing can be written
through one, and whether a link stays inside is worked out from the archive alone.
"""

from __future__ import annotations

import os
import tarfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

MOST_ENTRIES = 200_000
"""Entries of an archive that can be code."""
DEEPEST = 100
"""Directories on the way to one file: Python's own walks through a tree do not reach a thousand."""
SPARE = 64 << 20
"""Bytes of the file system that are left free, but a tenth of a small one."""
_CHUNK = 1 << 20
_BLOCK = tarfile.BLOCKSIZE
_LONGEST = 4096
"""Bytes of a path that are too many (PATH_MAX, linux/limits.h)."""
_SHOWN = 160
"""Characters of a name that a message has."""
_LOOPS = 40
"""Links on the way to one file before the kernel gives up (path_resolution(7))."""


class UnpackError(Exception):
    """The archive is refused, or cannot be unpacked; the text says why, and begins with what is wrong in it."""


def unpack(archive: str, directory: str) -> tuple[int, int]:
    """Unpack a tar archive, gzip, bzip2 and xz included, into an empty directory; return how many files and bytes it held.

    Files keep their contents and, without what is not the owner's to give, their permission bits: nobody else may write, and
    set-user-ID and the like are dropped. Owners and times are not kept. Raises UnpackError; what was unpacked by then remains.
    """
    try:
        with tarfile.open(archive, "r:*", errorlevel=1) as tar:
            return _Unpacking(tar, directory).run()
    except UnpackError:
        raise
    except tarfile.ReadError as error:
        raise UnpackError(_unreadable(archive, error)) from None
    except MemoryError:
        raise UnpackError("takes more memory than code does: expected an archive of source code") from None
    except OSError as error:
        if error.filename is None and not error.errno:  # gzip.BadGzipFile, and what bz2 and lzma raise
            raise UnpackError(f"is damaged: {error}") from None
        reason = (error.strerror or str(error)).lower()
        if error.filename == archive:
            raise UnpackError(f"cannot be read: {reason} (smentry runs as uid {os.geteuid()})") from None
        where = os.path.relpath(str(error.filename), directory) if error.filename else directory
        raise UnpackError(f"cannot be unpacked: {_shown(where)}: {reason}") from None
    except EOFError:
        raise UnpackError("is cut off: expected a whole archive (was it uploaded whole?)") from None
    except (
        Exception
    ) as error:  # zlib.error, lzma.LZMAError, and what tarfile makes of headers that nobody wrote by mistake
        raise UnpackError(f"is damaged: {error or type(error).__name__}") from None


class _Unpacking:
    """One archive on its way into one directory."""

    def __init__(self, tar: tarfile.TarFile, directory: str) -> None:
        self._tar = tar
        self._directory = directory
        self._files: set[str] = set()
        self._directories = {""}
        self._links: dict[str, str] = {}
        self._bytes = 0

    def run(self) -> tuple[int, int]:
        """Files and directories first; links when all else is there."""
        count, at = 0, -1
        while self._tar.offset:  # 0: it has no entry, for opening it read the first
            member = self._tar.next()
            if member is None:
                break
            self._tar.members = []  # type: ignore[attr-defined]  # it keeps them all otherwise
            if member.offset <= at or member.size < 0:  # tarfile would go round in circles (CVE-2025-8194)
                raise UnpackError(f"is damaged: {_shown(member.name)} has a size that cannot be")
            at = member.offset
            count += 1
            if count > MOST_ENTRIES:
                raise UnpackError(f"holds more than {MOST_ENTRIES} entries: expected an archive of source code")
            self._take(member)
        self._check_end()
        if not self._files and not self._links:
            raise UnpackError("holds no file: expected an archive of source code")
        for path, target in self._links.items():
            self._check_link(path)
            os.symlink(target, self._inside(path))
        return len(self._files) + len(self._links), self._bytes

    def _check_end(self) -> None:
        """tarfile takes a header that it cannot read, or none at all, for the end; the end is a block of zeros (tar(5))."""
        file = self._tar.fileobj
        assert file is not None
        file.seek(self._tar.offset)
        if file.read(_BLOCK) != bytes(_BLOCK):
            at = self._tar.offset
            raise UnpackError(f"is cut off or damaged after {at} bytes of its contents: expected a whole archive")
        while file.read(_CHUNK):
            pass  # to the checksum of what was compressed, which comes last

    def _take(self, member: tarfile.TarInfo) -> None:
        path = _path(member.name)
        if member.isdir():
            self._make_directory(path, member.name)
            return
        if not path:
            raise UnpackError(f"names an entry {_shown(member.name)}: expected the path of a file")
        self._make_directory(os.path.dirname(path), member.name)
        if path in self._directories:
            raise UnpackError(f"has {_shown(member.name)} twice, as a directory and as something else")
        if member.isreg():
            self._write(member, path)
        elif member.issym():
            self._forget(path)
            if not 0 < len(member.linkname) < _LONGEST or "\0" in member.linkname:
                raise UnpackError(f"holds a link {_shown(member.name)} to no path: expected one that can be of a file")
            self._links[path] = member.linkname
        elif member.islnk():
            self._link(member, path)
        else:
            raise UnpackError(f"holds {_kind(member)}, {_shown(member.name)}: expected files, directories and links")

    def _make_directory(self, path: str, name: str) -> None:
        made = ""
        for part in path.split("/") if path else ():
            made = f"{made}/{part}" if made else part
            if made in self._directories:
                continue
            if made in self._files or made in self._links:
                what = "a link" if made in self._links else "a file"
                raise UnpackError(f"has {_shown(made)} as {what} and puts {_shown(name)} below it")
            os.mkdir(self._inside(made), 0o755)
            self._directories.add(made)

    def _write(self, member: tarfile.TarInfo, path: str) -> None:
        free = os.statvfs(self._directory)
        room = free.f_bavail * free.f_frsize - min(SPARE, free.f_blocks * free.f_frsize // 10)
        if free.f_blocks and member.size > room:  # 0: a file system that does not say (statvfs(3))
            raise UnpackError(
                f"does not fit on the disk: {_shown(member.name)} has {_size(member.size)}, and there is room for {_size(room)}"
            )
        source = self._tar.extractfile(member)
        assert source is not None
        self._forget(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._inside(path), flags, 0o600)
        self._files.add(path)
        with open(descriptor, "wb") as target:
            self._bytes += _copy(source, target, member)
            os.fchmod(descriptor, _mode(member.mode))

    def _link(self, member: tarfile.TarInfo, path: str) -> None:
        """A hard link: to something that the archive held before, under the name that it had there."""
        other = _path(member.linkname)
        if other == path:
            return
        if other in self._links:
            self._forget(path)
            self._links[path] = self._links[other]
        elif other in self._files:
            self._forget(path)
            os.link(self._inside(other), self._inside(path))
            self._files.add(path)
        else:
            raise UnpackError(
                f"holds a hard link {_shown(member.name)} to {_shown(member.linkname)}, which is no file before it"
            )

    def _forget(self, path: str) -> None:
        """What an archive holds twice, it holds as it comes last."""
        self._links.pop(path, None)
        if path in self._files:
            self._files.remove(path)
            os.unlink(self._inside(path))

    def _check_link(self, path: str) -> None:
        """Follow a link as the kernel would, by what the archive holds; refuse it where it leaves."""
        here = path.split("/")[:-1]
        left = self._links[path].split("/")
        met = 1
        if self._links[path].startswith("/"):
            raise UnpackError(
                f"holds a link {_shown(path)} to {_shown(self._links[path])}: expected a relative path inside the archive"
            )
        while left:
            part = left.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                if not here:
                    raise UnpackError(
                        f"holds a link {_shown(path)} to {_shown(self._links[path])}, which is outside of the archive"
                    )
                here.pop()
                continue
            here.append(part)
            target = self._links.get("/".join(here))
            if target is None:
                continue
            met += 1
            if met > _LOOPS:
                raise UnpackError(f"holds a link {_shown(path)} that leads back to itself")
            if target.startswith("/"):
                raise UnpackError(
                    f"holds a link {_shown('/'.join(here))} to {_shown(target)}: expected a relative path inside the archive"
                )
            here.pop()
            left = target.split("/") + left

    def _inside(self, path: str) -> str:
        return os.path.join(self._directory, path)


def _path(name: str) -> str:
    """The path of an entry without what means nothing in it; empty for the root. Raises UnpackError where it leads out."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise UnpackError(f"names {_shown(name)}: expected paths inside the archive, without '..' and no absolute ones")
    kept = [part for part in parts if part not in ("", ".")]
    if len(kept) > DEEPEST:
        raise UnpackError(f"names {_shown(name)}, {len(kept)} directories deep: expected {DEEPEST} at most")
    return "/".join(kept)


def _shown(name: str) -> str:
    """A name as a message has it: the reason comes after it, and must not be cut off."""
    return repr(name if len(name) <= _SHOWN else f"{name[: _SHOWN // 2]}…{name[-_SHOWN // 2 :]}")


def _mode(mode: int) -> int:
    """Permission bits of a file: its owner's, and of the others' those to read and, what the owner may execute, to execute."""
    kept = mode & 0o755 | 0o600
    return kept if kept & 0o100 else kept & ~0o111


def _copy(source: IO[bytes], target: IO[bytes], member: tarfile.TarInfo) -> int:
    written = 0
    while True:
        data = source.read(_CHUNK)
        if not data:
            break
        written += target.write(data)
    if written != member.size:
        raise UnpackError(f"is cut off within {_shown(member.name)}: expected a whole archive (was it uploaded whole?)")
    return written


def _kind(member: tarfile.TarInfo) -> str:
    if member.isfifo():
        return "a FIFO"
    return "a device" if member.isdev() else f"an entry of the unknown type {member.type!r}"


def _unreadable(archive: str, error: tarfile.ReadError) -> str:
    with open(archive, "rb") as file:
        head = file.read(512)
    if "unexpected end of data" in str(error):
        return "is cut off: expected a whole archive (was it uploaded whole?)"
    if not head:
        return "is empty: expected a tar archive (was it uploaded whole?)"
    if head.startswith(b"PK\3\4"):
        return "is a zip file: expected a tar archive, such as sourcedir.tar.gz"
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")) or head[257:262] == b"ustar":
        return f"is no tar archive, or a damaged one: {str(error).splitlines()[0].rstrip(':')}"
    return f"is no tar archive: it begins with {head[:16]!r}"


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return f"{max(0, count):.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
