"""Copying one file after another, and what else than contents a copy gets. It does not know of trees.

Kept are contents and holes, permission bits, times in nanoseconds, and owners where that is permitted. Not kept are hard
links (each name becomes a file of its own) and extended attributes. The kernel copies where it can, by reflinks where the
file system has them (copy_file_range(2)).
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from smentry.copy.crew import Send

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # open(2): a FIFO in the place of a file must not block
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW

_SMALL = 128 << 10
"""Bytes up to which a file is copied by one read and one write; above, by the kernel where it can."""
_CHUNK = 0x7FFFF000
"""Bytes at a time, after which a child says how far it has come: as many as the kernel takes (copy_file_range(2)).
Pieces of 256 MB took twice as long on ext4; the parent's kill interrupts a call."""
_LARGE = 64 << 20
"""Bytes from which on a child says what it begins: it may be stopped in the middle."""
_TRIES = 3
"""How often a file is copied that changes meanwhile."""

# copy_file_range(2): not between these files, not on this file system, not in this kernel, forbidden by a filter.
_NOT_BY_KERNEL = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EBADF, errno.EIO)
# chown(2), chmod(2), utimensat(2): what file systems without owners, modes or times of their own answer, and who may not.
_NOT_PERMITTED = (errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


class CopyError(Exception):
    """Nothing was copied; the text is one line for the user."""


class GoneError(CopyError):
    """What was to be copied, or a part of it, was removed meanwhile."""


class BusyError(CopyError):
    """What was to be copied is still being written."""


class Files:
    """Copies files, one after another."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._owner = (os.geteuid(), os.getegid())
        self._by_kernel = hasattr(os, "copy_file_range")
        self._buffer = bytearray()
        self._files = 0
        self._bytes = 0

    def tell(self) -> None:
        """Say what was copied since the last time."""
        self._send((self._files, self._bytes, 0))
        self._files = self._bytes = 0

    def copy(self, here: int, name: str, there: int, new: str = "") -> None:
        """Copy the file `name` of the directory `here` to `there`, where one called `new` is there already.

        Raises OSError, and BusyError with the rest of a sentence about the file.
        """
        reading = os.open(name, _READ, dir_fd=here)
        try:
            before = os.fstat(reading)
            if not stat.S_ISREG(before.st_mode):
                raise BusyError("became something else than a file while it was copied")
            flags = os.O_WRONLY | os.O_NOFOLLOW if new else _WRITE
            writing = os.open(new or name, flags, before.st_mode & 0o777, dir_fd=there)
            try:
                for _ in range(_TRIES):
                    self._contents(reading, writing, before)
                    after = os.fstat(reading)
                    if after.st_size == before.st_size and after.st_mtime_ns == before.st_mtime_ns:
                        break
                    os.ftruncate(writing, 0)
                    before = after
                else:
                    raise BusyError(f"is still being written: it changed each time in {_TRIES} tries")
                if new or (before.st_uid, before.st_gid) != self._owner or before.st_mode & 0o7000:
                    adopt(writing, before)
                permitted(os.utime, writing, ns=(before.st_atime_ns, before.st_mtime_ns))
            finally:
                os.close(writing)
        finally:
            os.close(reading)
        self._files += 1

    def _contents(self, reading: int, writing: int, status: os.stat_result) -> None:
        size = status.st_size
        if size <= _SMALL:
            data = os.pread(reading, size, 0) if size else b""
            written = 0
            while written < len(data):
                written += os.pwrite(writing, data[written:], written)
            self._bytes += size
            return
        start = 0
        sparse = status.st_blocks * 512 < size
        while start < size:
            end = size
            if sparse:
                try:
                    start = os.lseek(reading, start, os.SEEK_DATA)
                    end = os.lseek(reading, start, os.SEEK_HOLE)
                except OSError as error:
                    if error.errno == errno.ENXIO:  # lseek(2): only a hole is left
                        break
                    sparse = False
            while start < end:
                part = min(end - start, _CHUNK)
                if part > _LARGE and self._by_kernel:
                    self._send((0, 0, part))
                count = self._part(reading, writing, start, part)
                if count == 0:
                    return  # shorter than it was: it has changed
                start += count
                self._bytes += count
                if self._bytes >= _CHUNK:
                    self.tell()
        if sparse:
            os.ftruncate(writing, size)

    def _part(self, reading: int, writing: int, start: int, count: int) -> int:
        """Copy up to `count` bytes; 0 at the end of the file."""
        if self._by_kernel:
            try:
                copied = os.copy_file_range(reading, writing, count, start, start)
            except OSError as error:
                if error.errno not in _NOT_BY_KERNEL:
                    raise
                copied = 0
            if copied:
                return copied
            self._by_kernel = False  # copy_file_range(2): of some file systems it copies nothing, and gives no error
        if not self._buffer:
            self._buffer = bytearray(1 << 20)
        got = os.preadv(reading, [memoryview(self._buffer)[:count]], start)
        written = 0
        while written < got:
            written += os.pwrite(writing, memoryview(self._buffer)[written:got], start + written)
        return got


def adopt(copy: str | int, status: os.stat_result) -> None:
    """Give a copy its owner, then its mode: chown(2) clears the setuid bits, which only go with their owner."""
    mode = status.st_mode & 0o7777
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()) and not permitted(
        os.chown, copy, status.st_uid, status.st_gid
    ):
        mode &= 0o1777
        permitted(os.chown, copy, -1, status.st_gid)
    permitted(os.chmod, copy, mode)


def permitted(act: Callable[..., None], *arguments: Any, **options: Any) -> bool:
    """Do it where it is permitted, and possible on this file system; whether it was."""
    try:
        act(*arguments, **options)
    except OSError as error:
        if error.errno not in _NOT_PERMITTED:
            raise
        return False
    return True
