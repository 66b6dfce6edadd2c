"""Fetching the code of a job into its code directory, all of it or nothing. It runs in a child process, and may take its time.

What it fetches is written to a directory within it, whose name says that the rest is not whole, and is moved up from there: half
of it, left by a container that was killed and started again, is never taken for the code. It is not exchanged for another
directory: it may be a mount point, or where PID 1, hooks and companions are (WORKDIR).
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


class _FetchError(Exception):
    pass


def fetch(source: Source, layout: Layout, owner: tuple[int, int] | None, say: Callable[[str], None]) -> int:
    """Fill the code directory, which belongs to `owner` (uid, gid) then; return an exit code, having said what was wrong."""
    code = os.path.realpath(layout.code)
    if is_there(layout):
        say(f"{code} holds files already: left alone")
        return 0
    mark = os.path.basename(layout.unfinished)
    staging = os.path.join(code, mark)
    try:
        if os.path.lexists(staging):  # of a run that was killed: all that is there came from it
            _clear(code, mark)
        os.makedirs(code, exist_ok=True)
        os.mkdir(staging, 0o700)
        tree = os.path.join(staging, "code")
        os.mkdir(tree, 0o755)
        _bring(source, tree, os.path.join(staging, "archive"), code, say)
        names = sorted(os.listdir(tree))
        if mark in names:
            raise _FetchError(f"holds {mark!r}: that name is smentry's own")
        if owner is not None:
            _give(tree, *owner)
            os.chown(code, *owner)
        for name in names:
            os.rename(os.path.join(tree, name), os.path.join(code, name))
        os.rmdir(tree)
        os.rmdir(staging)  # now it is whole
    except (DownloadError, UnpackError, _FetchError) as error:
        return _failed(f"{source.origin}: {source.text}: {error}", code, mark, say)
    except OSError as error:
        return _failed(f"{source.origin}: {source.text}: {_why(error, source, code)}", code, mark, say)
    return 0


def _failed(text: str, code: str, mark: str, say: Callable[[str], None]) -> int:
    """Say what was wrong, and leave nothing behind that could be taken for code."""
    say(text)
    try:
        if os.path.lexists(os.path.join(code, mark)):
            _clear(code, mark)
    except OSError as error:
        say(f"cannot remove what is left of it in {code}: {error.strerror or error}")
    return 1


def _why(error: OSError, source: Source, code: str) -> str:
    path, reason = str(error.filename or code), (error.strerror or str(error)).lower()
    if source.path and (path + "/").startswith(source.path.rstrip("/") + "/"):
        return f"cannot be read: {path}: {reason} (smentry runs as uid {os.geteuid()})"
    hint = ""
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = f": smentry runs as uid {os.geteuid()}, which must be able to write there"
    elif error.errno in (errno.EEXIST, errno.ENOTDIR):
        hint = ": expected a directory, or nothing"
    elif error.errno == errno.EROFS:
        hint = ": mount something there that can be written to"
    return f"cannot be put into {code}: {reason}{hint}"


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
            shutil.copytree(source.path, tree, dirs_exist_ok=True, ignore=_links_left_out(source.path))
        except shutil.Error as error:
            path, _, reason = error.args[0][0]  # the reason is an OSError's text: [Errno 28] No space …: 'from' -> 'to'
            raise _FetchError(f"cannot be copied: {path}: {reason.split('] ', 1)[-1].split(': ')[0].lower()}") from None
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


def _links_left_out(source: str) -> Callable[[str, list[str]], list[str]]:
    """For copytree, which copies what links lead to: those that lead nowhere are left out (its own option for that takes
    relative ones for ones of the working directory), and one to a directory that it is in would be copied for ever."""

    def left_out(directory: str, names: list[str]) -> list[str]:
        links = [name for name in names if os.path.islink(os.path.join(directory, name))]
        above, path = set(), directory
        while links and len(path) >= len(source):
            above.add(os.path.realpath(path))
            path = os.path.dirname(path)
        for name in links:
            link = os.path.join(directory, name)
            if os.path.realpath(link) in above:
                raise _FetchError(f"holds a link {link} to {os.path.realpath(link)}, which it is in itself: remove it")
        return [name for name in links if not os.path.exists(os.path.join(directory, name))]

    return left_out


def _give(tree: str, uid: int, gid: int) -> None:
    try:
        os.chown(tree, uid, gid)
        for directory, directories, files in os.walk(tree):
            for name in directories + files:
                os.lchown(os.path.join(directory, name), uid, gid)
    except PermissionError:
        raise _FetchError(f"cannot be given to uid {uid}: smentry needs CAP_CHOWN for --user") from None


def _clear(code: str, mark: str) -> None:
    """Empty the code directory; the mark that says that it is not whole goes last."""
    for name in [name for name in os.listdir(code) if name != mark] + [mark]:
        _remove(os.path.join(code, name))


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
