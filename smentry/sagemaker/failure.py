"""The failure file. It knows where it is and that a file system may not answer, not what failed."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from smentry.sagemaker.layout import Layout

LIMIT = 1024
"""Characters of the file that become FailureReason, or a processing job's ExitMessage."""
WITHIN = 1.0
"""Seconds that writing may take where nothing presses."""


def write(layout: Layout, text: str, *, training: bool, within: float = WITHIN) -> str:
    """Write why the job failed where the platform looks for it, unless user code has written something there.

    That is `output/failure` of a training job and `output/message` of a processing job; `training`: it is a training job even
    where nothing of one is laid out. A file that is there and empty is filled; anything else that is there is kept, and no
    link followed. Waits `within` seconds at the longest, for a file system may never answer. Never raises. Returns why it could
    not be written; empty where it was, or is not wanted.
    """
    import _thread

    result = [f"the file system has not answered for {within:g} s"]
    done = _thread.allocate_lock()
    done.acquire()

    def attempt() -> None:
        try:
            result[0] = _write(layout, text[:LIMIT].encode("utf-8", "replace"), training)
        except BaseException as error:
            result[0] = str(error) or type(error).__name__
        finally:
            done.release()

    try:
        _thread.start_new_thread(attempt, ())
    except RuntimeError:  # no thread to be had: rather without a limit than not at all
        attempt()
    done.acquire(timeout=max(0.0, within))
    return result[0]


def _write(layout: Layout, data: bytes, training: bool) -> str:
    # Without a base directory there is no job, and nothing to tell.
    path = _path(layout, training) if os.path.isdir(layout.base) else None
    if path is None:
        return ""
    try:
        descriptor = _open(path)
    except FileExistsError:
        return ""
    except OSError as error:
        return f"{path}: {_reason(error)}"
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        return f"{path}: {_reason(error)}"
    finally:
        os.close(descriptor)
    return ""


def _path(layout: Layout, training: bool) -> str | None:
    if os.path.isdir(layout.config):
        return layout.failure
    if layout.is_processing():
        return layout.message
    return layout.failure if training else None


def _open(path: str) -> int:
    """A new file, or the empty one that is there. Raises FileExistsError where something is there that must be kept."""
    try:
        os.mkdir(os.path.dirname(path))  # and not what is above it
    except FileExistsError:
        pass
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        # O_EXCL: not over an existing file, and not through a link that leads elsewhere (open(2)).
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        if not _is_empty(os.lstat(path)):
            raise
    # Whoever opened it to say why, and died or found no room, has said nothing.
    descriptor = os.open(path, flags)
    if _is_empty(os.fstat(descriptor)):
        return descriptor
    os.close(descriptor)
    raise FileExistsError(errno.EEXIST, "it is there")


def _is_empty(status: os.stat_result) -> bool:
    import stat

    return stat.S_ISREG(status.st_mode) and status.st_size == 0 and status.st_nlink == 1


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
