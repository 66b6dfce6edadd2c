"""Putting something new in the place of something old, at once. It does not know what it is, or who writes it.

A staging place has a hidden name beside the target (`.NAME.smentry-XXXXXXXX`), and is locked while its process lives.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import secrets
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Ask = Callable[[int], None]

_LIBC = ctypes.CDLL(None, use_errno=True)

# renameat2(2), by number because musl has no function for it; only where a pointer has 64 bits is it this number.
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276}.get(os.uname().machine if ctypes.sizeof(ctypes.c_void_p) == 8 else "", -1)
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100

_MARK = ".smentry-"
_SPARE = "-old"
_PLACE = re.compile(re.escape(_MARK) + r"[0-9a-f]{8}")
_MOUNTED = "lost+found"
"""What mkfs.ext4 puts into the root of a file system: it belongs to that, not to what was copied there."""


class Staging:
    """A place for what is to become `target`: `path`, an empty directory or file.

    `inside` the target where there can be none beside it: where the target is a mount point, or may itself be written
    but not the directory that it is in.
    """

    __slots__ = ("_lock", "inside", "path", "target")

    def __init__(self, path: str, target: str, lock: int, inside: bool) -> None:
        self.path = path
        self.target = target
        self.inside = inside
        self._lock = lock

    @classmethod
    def of(cls, target: str, *, directory: bool, ask: Ask | None = None) -> Staging:
        """A new one for `target`, a resolved path; what others for it have left is removed. Raises OSError.

        `ask` as for `remove`, also what it raises.
        """
        parent, name = os.path.split(target)
        stays = directory and os.path.isdir(target)
        _recover(parent, f".{name}", target, ask)
        if stays:
            _recover(target, "", "", ask)
        # A mount point has another device than its parent, except for a bind mount of the same file system.
        inside = stays and (os.stat(target).st_dev != os.stat(parent).st_dev or target in mounts())
        try:
            path, lock = _make(target, "", directory) if inside else _make(parent, f".{name}", directory)
        except OSError as error:
            if inside or not stays or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            inside = True
            path, lock = _make(target, "", directory)
        return cls(path, target, lock, inside)

    def sync(self) -> None:
        """Write all of the file system to disk that the place is on. Raises OSError."""
        # syncfs(2): reports what could not be written since the descriptor was opened, since Linux 5.8.
        try:
            function = _LIBC.syncfs
        except AttributeError:
            os.sync()
            return
        if function(self._lock) != 0:
            number = ctypes.get_errno()
            if number != errno.ENOSYS:
                raise OSError(number, os.strerror(number))
            os.sync()

    def switch(self) -> None:
        """Put what is in the place where the target is; what was there is in the place afterwards. Raises OSError.

        Of a file, of a target that does not exist, and of a directory where renameat2(2) can exchange it, this is one
        step. Where the file system cannot exchange: the old one is renamed to `…-old`, the new one to the target; the
        next copy puts an old one back that finds nothing in its place. Where the target itself cannot be renamed its
        entries are exchanged one after another: all of them or, where one cannot be, none.
        """
        if not self.inside:
            if not os.path.lexists(self.target) or not os.path.isdir(self.path):
                os.rename(self.path, self.target)
                return
            try:
                _swap(self.path, self.target, self.path + _SPARE)
                return
            except OSError as error:
                # EXDEV: a directory of a lower layer of an overlay; EPERM: another's in a sticky directory.
                if error.errno not in (errno.EXDEV, errno.EBUSY, errno.EPERM, errno.EACCES):
                    raise
                if not os.path.isdir(self.target):
                    raise
        _swap_entries(self.path, self.target)

    def sync_names(self) -> None:
        """Write the directory to disk in which the switch took place. Raises OSError."""
        descriptor = os.open(self.target if self.inside else os.path.dirname(self.target), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def clear(self, ask: Ask | None = None) -> None:
        """Remove what is in the place, and the place. Raises OSError, and what `ask` does, as for `remove`."""
        try:
            remove(self.path, ask)
        finally:
            os.close(self._lock)


def mounts() -> list[str]:
    """Every mount point, as far as /proc says (proc(5), mountinfo)."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            points = [line.split(b" ")[4] for line in file]
    except OSError:
        return []
    # Blanks and backslashes are octal there. Not by a codec: whom the hook runs as may not be able to import it.
    return [os.fsdecode(re.sub(rb"\\(\d{3})", lambda octal: bytes([int(octal[1], 8)]), point)) for point in points]


def remove(path: str, ask: Ask | None = None) -> None:
    """Remove a file, or a directory with all that is in it, whatever its mode. Raises OSError.

    Before each file `ask` is called with the bytes that it has on disk: it may raise, and the rest stays.
    """
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        if ask:
            ask(status.st_blocks * 512)
        os.unlink(path)
        return
    directories = [path]
    for directory in directories:
        try:
            os.chmod(directory, 0o700)
        except OSError:
            pass  # not ours; perhaps it can be emptied nevertheless
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.path)
                else:
                    if ask:
                        ask(entry.stat(follow_symlinks=False).st_blocks * 512)
                    os.unlink(entry.path)
    for directory in reversed(directories):
        if ask:
            ask(0)
        os.rmdir(directory)


# -- places, and what is left of them --------------------------------------------------------------


def _is_place(name: str, prefix: str) -> bool:
    """Whether `_make` gives such names with this prefix."""
    return name.startswith(prefix) and _PLACE.fullmatch(name, len(prefix)) is not None


def _make(parent: str, prefix: str, directory: bool) -> tuple[str, int]:
    """Make a locked place; its path, and the descriptor that has the lock."""
    while True:
        path = os.path.join(parent, prefix + _MARK + secrets.token_hex(4))
        if directory:
            os.mkdir(path, 0o700)
            try:
                os.chmod(path, 0o700)  # without the setgid bit that it has from its parent, and would hand on
                lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue  # as below
            try:
                os.removexattr(lock, "system.posix_acl_default")  # acl(5): would take the place of every mode
            except OSError:
                pass
        else:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        if _locked(lock) is not False and _is(path, lock):
            return path, lock
        os.close(lock)  # who clears up was there between its making and its lock, and removes it


def _locked(descriptor: int) -> bool | None:
    """Lock it; False where another process has it locked, None where this file system has no such locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except OSError:
        return False


def _recover(parent: str, prefix: str, target: str, ask: Ask | None) -> None:
    """Remove the places of processes that are gone; one that was killed between its two renames is undone.

    Where it is, there is a `target`. Nothing else is touched whose name begins alike.
    """
    try:
        # A place inside its target (which has no target here) has no spare beside it.
        names = [
            name for name in os.listdir(parent) if _is_place(name.removesuffix(_SPARE) if target else name, prefix)
        ]
    except OSError:
        return  # not there yet, or not for us to read
    for name in sorted(names, reverse=True):  # X-old before X, whose lock is the lock of both
        path = os.path.join(parent, name)
        base = path.removesuffix(_SPARE)
        lock = -1
        try:
            mode = os.lstat(path).st_mode
            if not (stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and target)):
                continue
            try:
                lock = os.open(base, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except FileNotFoundError:
                if base == path:
                    continue
            if lock >= 0 and not _locked(lock):
                continue
            if base != path and target and not os.path.lexists(target):
                os.rename(path, target)
            else:
                remove(path, ask)
        except OSError:
            pass  # another user's: it stays
        finally:
            if lock >= 0:
                os.close(lock)


# -- the switch ------------------------------------------------------------------------------------


def _exchange(one: str, other: str) -> None:
    """Let two paths change places, in one step (renameat2(2)). Raises OSError."""
    arguments = [os.fsencode(one), os.fsencode(other)]
    if _RENAMEAT2 < 0:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    here = ctypes.c_long(_AT_FDCWD)
    result = _LIBC.syscall(
        ctypes.c_long(_RENAMEAT2), here, arguments[0], here, arguments[1], ctypes.c_ulong(_RENAME_EXCHANGE)
    )
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), one, None, other)


def _swap(new: str, old: str, spare: str) -> None:
    """Let `new` and `old` change places, by three renames where they cannot be exchanged. Raises OSError."""
    try:
        _exchange(new, old)
        return
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
    os.rename(old, spare)
    try:
        os.rename(new, old)
    except OSError:
        os.rename(spare, old)
        raise
    os.rename(spare, new)


def _swap_entries(place: str, target: str) -> None:
    """Let the entries of two directories change places, back to back; all of them, or none."""
    new = os.listdir(place)
    old = [name for name in os.listdir(target) if name != _MOUNTED and not _is_place(name, "")]
    new_modes, old_modes = _make_movable(place, new), _make_movable(target, old)
    fresh, there = set(new), set(old)
    spare = os.path.join(place, _MARK + _SPARE)
    moves = [(os.path.join(place, name), os.path.join(target, name), name in there) for name in new]
    moves += [(os.path.join(target, name), os.path.join(place, name), False) for name in old if name not in fresh]
    done = 0
    try:
        for start, end, both in moves:
            if both:
                _swap(start, end, spare)
            else:
                os.rename(start, end)
            done += 1
    except OSError:
        for start, end, both in reversed(moves[:done]):
            if both:
                _swap(start, end, spare)
            else:
                os.rename(end, start)
        new_modes = old_modes
        raise
    finally:
        for name, mode in new_modes.items():
            os.chmod(os.path.join(target, name), mode)


def _make_movable(parent: str, names: list[str]) -> dict[str, int]:
    """Let the owner write in these directories, without which rename(2) does not move one to another directory.

    Returns the modes that were changed.
    """
    modes: dict[str, int] = {}
    if os.geteuid() == 0:
        return modes
    for name in names:
        path = os.path.join(parent, name)
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o200 and status.st_uid == os.geteuid():
            modes[name] = status.st_mode & 0o7777
            os.chmod(path, modes[name] | 0o200)
    return modes
