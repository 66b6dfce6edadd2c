"""Fetching the code of a job into its code directory, all of it or nothing. It runs in a child process, and may take its time.

What it fetches is written beside the directory, or within it under a name of its own, and takes its place when it is whole: half
of it, left by a container that was killed and started again, is never taken for the code.
"""

from __future__ import annotations

import errno
import os
import shutil
import time

from smentry.sagemaker.code import Source, is_there
from smentry.sagemaker.download import DownloadError, download
from smentry.sagemaker.unpack import UnpackError, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from smentry.sagemaker.layout import Layout

MEMORY = 2 << 30
"""Bytes more that unpacking may take: the headers of a hostile archive are as long as it says."""
_SPECIAL = (errno.EACCES, errno.EPERM, errno.EROFS)


class _FetchError(Exception):
    pass


def fetch(source: Source, layout: Layout, owner: tuple[int, int] | None, say: Callable[[str], None]) -> int:
    """Fill the code directory, which belongs to `owner` (uid, gid) then; return an exit code, having said what was wrong."""
    code = os.path.realpath(layout.code)
    if is_there(layout):
        say(f"{code} holds files already: left alone")
        return 0
    mark = os.path.basename(layout.unfinished)
    staging = ""
    try:
        staging = _staging(code, mark)
        tree = os.path.join(staging, "code")
        os.mkdir(tree, 0o755)
        _bring(source, tree, os.path.join(staging, "archive"), code, say)
        if owner is not None:
            _give(tree, *owner)
        if mark in os.listdir(tree):
            raise _FetchError(f"holds {mark!r}: that name is smentry's own")
        _put(tree, staging, code)
    except (DownloadError, UnpackError, _FetchError) as error:
        return _failed(f"{source.origin}: {source.text}: {error}", staging, code, say)
    except OSError as error:
        path = f"{error.filename}: " if error.filename else ""
        why = f"cannot be put into {code}: {path}{(error.strerror or str(error)).lower()}"
        return _failed(f"{source.origin}: {source.text}: {why}", staging, code, say)
    shutil.rmtree(staging, ignore_errors=True)
    return 0


def _failed(text: str, staging: str, code: str, say: Callable[[str], None]) -> int:
    """Say what was wrong, and leave nothing behind that could be taken for code."""
    say(text)
    try:
        if os.path.dirname(staging) == code:
            _clear(code, os.path.basename(staging))
        elif staging:
            _remove(staging)
    except OSError as error:
        say(f"cannot remove what is left of it in {staging}: {error.strerror or error}")
    return 1


def _staging(code: str, mark: str) -> str:
    """A new directory on the same file system: beside the code directory, or within it where that cannot be exchanged."""
    within = os.path.join(code, mark)
    if os.path.lexists(within):  # of a run that was killed: all that is there came from it
        _clear(code, mark)
    if not os.path.ismount(code):
        beside = os.path.join(os.path.dirname(code), mark)
        try:
            _remove(beside)
            os.makedirs(os.path.dirname(code), exist_ok=True)
            os.mkdir(beside, 0o700)
            return beside
        except OSError as error:
            if error.errno not in _SPECIAL:
                raise
    os.makedirs(code, exist_ok=True)
    os.mkdir(within, 0o700)
    return within


def _bring(source: Source, tree: str, archive: str, code: str, say: Callable[[str], None]) -> None:
    began = time.monotonic()
    if source.bucket:
        say(f"fetching {source.text}")
        count = download(source.bucket, source.key, archive, os.environ)
        say(f"fetched {count} bytes in {time.monotonic() - began:.1f} s")
        _unpack(archive, tree, code, say)
        os.unlink(archive)
    elif os.path.isdir(source.path):
        real = os.path.realpath(source.path)
        if (code + "/").startswith(real.rstrip("/") + "/"):
            raise _FetchError(f"is the code directory {code} itself, or above it: expected another directory")
        try:
            shutil.copytree(source.path, tree, dirs_exist_ok=True, ignore_dangling_symlinks=True)
        except shutil.Error as error:
            failures = error.args[0]
            raise _FetchError(f"cannot be copied: {failures[0][0]}: {failures[0][2]}") from None
        say(f"copied {source.path} to {code}")
    elif not os.path.isfile(source.path):
        raise _FetchError("is neither a file nor a directory")
    elif is_archive(source.path):
        _unpack(source.path, tree, code, say)
    else:
        shutil.copy2(source.path, tree)
        say(f"copied {source.path} to {code}")


def _unpack(archive: str, tree: str, code: str, say: Callable[[str], None]) -> None:
    _limit_memory()
    files, count = unpack(archive, tree)
    say(f"unpacked {files} {'file' if files == 1 else 'files'}, {count} bytes, to {code}")


def _limit_memory() -> None:
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[0])  # all that it has mapped (proc(5))
    limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY or soft > limit:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def is_archive(path: str) -> bool:
    """Whether a file is, or by its name is to be, a tar archive; anything else is a program by itself."""
    if path.endswith((".tar", ".gz", ".tgz", ".bz2", ".xz", ".zip")):
        return True
    with open(path, "rb") as file:
        head = file.read(512)
    return head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")) or head[257:262] == b"ustar"


def _put(tree: str, staging: str, code: str) -> None:
    """In one step where it was written beside; else entry by entry, and the mark goes last."""
    if os.path.dirname(staging) != code:
        os.rename(tree, code)  # rename(2): an empty directory is replaced
        return
    for name in sorted(os.listdir(tree)):
        os.rename(os.path.join(tree, name), os.path.join(code, name))


def _give(tree: str, uid: int, gid: int) -> None:
    os.chown(tree, uid, gid)
    for directory, directories, files in os.walk(tree):
        for name in directories + files:
            os.lchown(os.path.join(directory, name), uid, gid)


def _clear(code: str, mark: str) -> None:
    """Empty the code directory; the mark that says that it is not whole goes last."""
    for name in [name for name in os.listdir(code) if name != mark] + [mark]:
        _remove(os.path.join(code, name))


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
