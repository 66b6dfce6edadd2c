"""Checkpoints that are whole or not there. It knows files and names, neither what is in them nor when to save.

A checkpoint is a directory `save-00000012`, or `save-00000012-step-3400`, with what was written and `complete.json`: the
names and sizes of its files. It is written under a hidden name, `.save-XXXXXXXX`, synced, and renamed. The number
counts the saves of the directory, so the highest one is the last, whatever the steps are.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Union

    Directory = Union[str, os.PathLike[str]]

MANIFEST = "complete.json"
"""What is beside the data in each checkpoint: `{"name": …, "step": …, "files": {name: bytes}}`."""

_UNFINISHED = ".save-"


def save_checkpoint(
    directory: Directory,
    write: Callable[[str], object],
    *,
    keep: int | None = 3,
    step: int | None = None,
    name: str = "checkpoint",
) -> str:
    """Save a checkpoint that is whole or not there, whenever the process is killed; its path, as `latest_checkpoint` gives it.

    - `directory` is where the checkpoints are, made where it is missing: `/opt/ml/checkpoints`, which the platform keeps.
    - `write(path)` writes a file or a directory at `path`, where nothing is. What it returns is not looked at; what it
      raises is passed on, and nothing is left of it then.
    - `keep` is how many are kept, 1 or more; None: all. The disk must hold one more. Old ones go when the new one is on
      disk; one that cannot be removed is a RuntimeWarning, not an error.
    - `step` goes into the directory's name. It need not grow: the last one saved is the latest.
    - `name` is what `path` is called, for libraries that go by endings: `model.keras`.

    It can be called in several threads or processes at once; each call is a checkpoint of its own. What a killed call has
    left, the next one removes, on file systems with flock(2).

    Raises OSError (the disk is full, a directory is read-only), FileNotFoundError where `write` has written nothing, and
    ValueError for a `keep`, `step` or `name` that cannot be.
    """
    _check(keep, step, name)
    directory = os.path.abspath(os.fspath(directory))
    os.makedirs(directory, exist_ok=True)
    _clear(directory)
    place, lock = _make(directory)
    try:
        path = os.path.join(place, name)
        write(path)
        if not os.path.exists(path):
            raise FileNotFoundError(errno.ENOENT, "write(path) has written nothing at its path", path)
        finish(place, name, step)
        number, final = _commit(directory, place, step)
        _sync(directory)
    except BaseException:
        _remove(place)
        raise
    finally:
        os.close(lock)
    if keep is not None:
        _retire(directory, number, keep)
    return os.path.join(final, name)


def latest_checkpoint(directory: Directory) -> str | None:
    """The path of the last checkpoint that is complete, the file or directory that `write` wrote; None where there is none.

    Complete is what has all of its files in their sizes: one that S3 gave back in part, because its upload was interrupted,
    is passed over. What is in the files is not looked at. A directory that is not there holds none. Raises OSError where it,
    or a checkpoint in it, cannot be read: to begin anew then would be worse.
    """
    directory = os.path.abspath(os.fspath(directory))
    before = None
    while True:
        saved = _saved(directory)
        for _, final in reversed(saved):
            name = complete_name(final)
            if name is not None:
                return os.path.join(final, name)
        if saved == before:
            return None
        before = saved  # again: a newer one may have taken the place of those that were there a moment ago


def checkpoints(directory: Directory) -> list[tuple[str, int | None]]:
    """All checkpoints that are complete, the oldest first: the path, as `latest_checkpoint` gives the last one's, and the step.

    The step is what `save_checkpoint` was told, else None. By it several hosts find the last one that all of them have. Raises
    OSError where one cannot be read; one that another process removes meanwhile is not among them.
    """
    found = []
    for _, final in _saved(os.path.abspath(os.fspath(directory))):
        name = complete_name(final)
        if name is not None:
            found.append((os.path.join(final, name), _step(final)))
    return found


# -- writing one -----------------------------------------------------------------------------------


def _check(keep: int | None, step: int | None, name: str) -> None:
    if keep is not None and keep < 1:
        raise ValueError(f"keep is {keep}: expected 1 or more, or None for all")
    if step is not None and step < 0:
        raise ValueError(f"step is {step}: expected 0 or more")
    if name in ("", ".", "..", MANIFEST) or "/" in name or "\0" in name:
        raise ValueError(f"name is {name!r}: expected the name of a file, and not {MANIFEST}")


def _make(directory: str) -> tuple[str, int]:
    """A new place to write in, and the descriptor that has it locked."""
    while True:
        place = os.path.join(directory, _UNFINISHED + os.urandom(4).hex())
        try:
            os.mkdir(place)
            lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        except (FileExistsError, FileNotFoundError):  # taken; or who clears up was there before the lock
            continue
        if _locks(lock) is not False and os.path.isdir(place):
            return place, lock
        os.close(lock)


def _locks(descriptor: int) -> bool | None:
    """Lock it; False where somebody else has it locked, None where this file system has no such locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def finish(place: str, name: str, step: int | None) -> None:
    """Write everything to disk, and what there is to the manifest. Of a place that is all data the `name` is `.`."""
    import json

    files = {}
    for found in _walk(os.path.join(place, name)):
        status = os.stat(found)  # of a link what it leads to: that is what is uploaded
        if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
            _sync(found)
        if stat.S_ISREG(status.st_mode):
            files[os.path.relpath(found, place)] = status.st_size
    with open(os.path.join(place, MANIFEST), "x", encoding="utf-8") as file:
        json.dump({"name": name, "step": step, "files": files}, file)
        file.flush()
        os.fsync(file.fileno())
    _sync(place)


def _walk(path: str) -> Iterator[str]:
    """A path and everything below it, directories after what is in them. Links are not followed."""
    if stat.S_ISDIR(os.lstat(path).st_mode):
        for entry in os.listdir(path):
            yield from _walk(os.path.join(path, entry))
    yield path


def _sync(path: str) -> None:
    """Write a file or the names in a directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # fsync(2): these say that it is not for directories here.
        if error.errno not in (errno.EINVAL, errno.EBADF) or not os.path.isdir(path):
            raise
    finally:
        os.close(descriptor)


def _commit(directory: str, place: str, step: int | None) -> tuple[int, str]:
    """Give the place its name, after all that are there."""
    saved = _saved(directory)
    number = saved[-1][0] + 1 if saved else 1
    while True:
        final = os.path.join(directory, f"save-{number:08}" + ("" if step is None else f"-step-{step}"))
        # Of the same number with another step there may be two, by two at once: both are whole, and the names order them.
        try:
            os.rename(place, final)
            return number, final
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            number += 1  # somebody else was faster


# -- reading them ----------------------------------------------------------------------------------


def _saved(directory: str) -> list[tuple[int, str]]:
    """The number and the path of every checkpoint, complete or not, the oldest first."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted((_number(name), os.path.join(directory, name)) for name in names if _number(name))


def _number(name: str) -> int:
    """The number in the name of a checkpoint, from 1 on; 0 where it is the name of something else."""
    word, number, *step = name.split("-") if "-" in name else ("", "")
    is_ours = word == "save" and len(number) >= 8 and number.isdecimal()
    return (
        int(number) if is_ours and (not step or (len(step) == 2 and step[0] == "step" and step[1].isdecimal())) else 0
    )


def _step(final: str) -> int | None:
    """The step in the name of a checkpoint."""
    step = os.path.basename(final).partition("-step-")[2]
    return int(step) if step else None


def _is_unfinished(name: str) -> bool:
    mark = name[len(_UNFINISHED) :]
    return name.startswith(_UNFINISHED) and len(mark) == 8 and not mark.strip("0123456789abcdef")


def complete_name(final: str) -> str | None:
    """What the data of a checkpoint is called; None where anything of it is missing. Raises OSError."""
    import json

    try:
        with open(os.path.join(final, MANIFEST), encoding="utf-8") as file:
            manifest = json.load(file)
        name, files = manifest["name"], manifest["files"]
        whole = all(os.stat(os.path.join(final, each)).st_size == size for each, size in files.items())
        return name if isinstance(name, str) and whole and os.path.exists(os.path.join(final, name)) else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None  # not a manifest of ours, or a torn one


# -- removing them ---------------------------------------------------------------------------------


def _retire(directory: str, number: int, keep: int) -> None:
    """Remove what is older than the `keep` last complete ones, the one with this `number` being the last."""
    import warnings

    try:
        left = keep
        for each, final in reversed(_saved(directory)):
            if left > 0 or each >= number:
                left -= complete_name(final) is not None
                continue
            # Renamed first: it is no checkpoint any more before the first of its files goes.
            gone = os.path.join(directory, _UNFINISHED + os.urandom(4).hex())
            try:
                os.rename(final, gone)
            except FileNotFoundError:
                continue  # somebody else was faster
            _remove(gone)
            if os.path.lexists(gone):
                warnings.warn(
                    f"an old checkpoint was not removed, or not all of it: {gone}", RuntimeWarning, stacklevel=3
                )
    except OSError as error:
        warnings.warn(f"an old checkpoint was not removed: {error}", RuntimeWarning, stacklevel=3)


def _clear(directory: str) -> None:
    """Remove what was left unfinished by processes that are gone, or only half removed."""
    for name in os.listdir(directory):
        if not _is_unfinished(name):
            continue
        place = os.path.join(directory, name)
        try:
            lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # gone, or another user's
        try:
            if _locks(lock):
                _remove(place)
        finally:
            os.close(lock)


def _remove(place: str) -> None:
    """Remove a directory as far as possible; the next save tries again."""
    import shutil

    shutil.rmtree(place, ignore_errors=True)
