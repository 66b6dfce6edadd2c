"""The copy hook: what is chosen, what it may replace, and that it is whole. It knows no other hook, and no event.

What is promised, and what is not:

- The target (`to`) is the copy itself, not a directory to copy into; but a file goes into a directory that is there, or
  into one that `to` names with a slash at its end, under its own name. Of a link the place it leads to is replaced. A
  directory that is in the place goes with all that it holds. Parents that are missing are made.
- Killed at any moment the copy leaves the old target or the new one whole: the new one is written beside it under a
  hidden name, synced, and exchanged with it in one step. The sync is that of the whole file system.
- What is old is removed afterwards, while there is time; a copy has succeeded then, whatever remains. That, and what a
  killed copy has left, the next one to this target removes (not on a file system without flock(2), such as some network
  ones): what is called as smentry calls it, and nothing else.
- A target that is a directory of an image (of a lower layer of an overlay) cannot be exchanged: its entries are, one
  after another, as in a mount point. Each rename of a file of the image copies that file first, so it takes as long as
  reading and writing the old target, not microseconds, and nothing stops it at the deadline. Where the old target holds
  a directory of the image, the copy fails, and leaves all as it was. A target that is no part of the image has none of that.
- Where the target is a mount point, or may be written itself but not the directory that it is in, the new one is written
  inside it, in `.smentry-XXXXXXXX/`, and its entries are exchanged back to back when all are written and synced. Killed in these
  microseconds an entry may be new and the next one old; with a single entry it is still one step. The directory itself
  keeps its owner, mode and time then, and `lost+found`. Where the file system cannot exchange at all (vfat, NFS), it is
  renamed away and the new one renamed to its name: killed between the two it is there as `.NAME.smentry-XXXXXXXX-old`, and
  the next copy puts it back.
- A link that leads out of the source is an error; an absolute one into it becomes relative, so that it leads into the
  copy. What else is kept is said in `files`.
- A source that is removed or still being written: `newest` is chosen anew, without the one that is still being
  written; `source` is an error, after some tries. What comes into a directory while it is copied is not in the copy.
"""

from __future__ import annotations

import errno
import os
import stat

from smentry.copy import choose, staging, tree
from smentry.copy.crew import LateError
from smentry.copy.files import BusyError, CopyError, GoneError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from smentry.pid1.hooks import Copy

_ATTEMPTS = 10
"""How often a copy is begun whose source disappears meanwhile."""


def run(copy: Copy, *, ended: float | None, deadline: float, say: Callable[[str], None]) -> None:
    """Copy what `copy` says, and tell the user about it by `say`, a line at a time.

    `ended` is when the program ended, in Unix time, None while it runs; `deadline` is when this process is killed, on the
    monotonic clock, perhaps infinite: the copy gives up a little before. Raises CopyError; nothing has been replaced then.
    """
    aside: set[str] = set()
    for attempt in range(1, _ATTEMPTS + 1):
        source = os.path.realpath(copy.source) if copy.source else choose.choose(copy, aside, ended, say)
        try:
            _replace(source, copy, tree.Watch(deadline), say)
            return
        except GoneError as error:
            if attempt == _ATTEMPTS or (copy.source and not os.path.lexists(source)):
                raise
            say(f"{error}: trying again")
        except BusyError as error:
            if copy.source:
                raise
            say(f"{error}: choosing another one")
            aside.add(source)
        except OSError as error:
            where = f"{error.filename}: " if isinstance(error.filename, str) else ""
            raise CopyError(f"{source} cannot be copied to {copy.to}: {where}{tree.reason(error)}") from None


# -- what it replaces ------------------------------------------------------------------------------


def _replace(source: str, copy: Copy, watch: tree.Watch, say: Callable[[str], None]) -> None:
    """Let the target be a copy of `source`. Raises CopyError, OSError, and GoneError and BusyError of the source."""
    try:
        mode = os.stat(source).st_mode
    except FileNotFoundError:
        raise GoneError(f"{source} does not exist") from None
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise CopyError(f"{source} is neither a file nor a directory")
    name = os.path.basename(copy.source.rstrip("/") or source)
    target = _target(copy.to, name, into=stat.S_ISREG(mode))
    _check(source, target, directory=stat.S_ISDIR(mode))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        place = staging.Staging.of(target, directory=stat.S_ISDIR(mode), ask=watch.check_removal)
    except LateError:
        raise CopyError(
            f"{source} was not copied to {target}: out of time while what earlier copies to it have left was removed"
        ) from None
    try:
        try:
            copied = tree.write(source, place.path, target, watch)
            tree.flush(place.sync, watch)
            watch.check()
        except LateError:
            raise CopyError(f"{source} was not copied to {target}: out of time after {watch.so_far()}") from None
        try:
            place.switch()
        except OSError as error:
            hint = ", being a directory of the image: mount a volume there" if error.errno == errno.EXDEV else ""
            raise CopyError(f"{target} cannot be replaced: {tree.reason(error)}{hint}") from None
    except BaseException:
        try:
            place.clear(watch.check_removal)
        except (OSError, LateError) as error:
            say(f"warning: what was copied so far is left as {place.path}: {_why(error)}")
        raise
    _report(copied, target, place, watch, say)


def _target(to: str, name: str, *, into: bool) -> str:
    """The resolved path of what is replaced. Raises CopyError."""
    if not to:
        raise CopyError("expected the path of a target, got an empty one")
    target = os.path.realpath(to)
    if into and (os.path.isdir(target) or to.endswith("/")):
        target = os.path.realpath(os.path.join(target, name))
        if os.path.isdir(target):
            raise CopyError(f"{target} is a directory, and what would take its place a file")
    if target == "/":
        raise CopyError("/ cannot be replaced: expected the path of a file or directory below it")
    return target


def _check(source: str, target: str, *, directory: bool) -> None:
    """Refuse what would destroy the source, or what is no copy's to replace. Raises CopyError and OSError."""
    if _lies_in(target, source):
        raise CopyError(f"{source} cannot be copied onto or into itself ({target})")
    if _lies_in(source, target):
        raise CopyError(f"{source} is inside {target}, which would be replaced by it")
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise CopyError(f"{target} is neither a file nor a directory: it is not replaced")
    if directory and stat.S_ISDIR(mode):
        within = [point for point in staging.mounts() if point.startswith(target + "/")]
        if within:
            raise CopyError(f"{target} cannot be replaced as a whole: {within[0]} in it is a mount point")


def _lies_in(path: str, other: str) -> bool:
    """Whether a path is `other` or below it, by whatever name (a bind mount)."""
    try:
        wanted = os.stat(other)
    except FileNotFoundError:
        return False
    while True:
        try:
            if os.path.samestat(os.stat(path), wanted):
                return True
        except FileNotFoundError:
            pass
        if path == "/":
            return False
        path = os.path.dirname(path)


def _report(
    copied: tree.Tree, target: str, place: staging.Staging, watch: tree.Watch, say: Callable[[str], None]
) -> None:
    """Say what was copied, and clear up; nothing can fail any more."""
    try:
        place.sync_names()
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EACCES):  # fsync(2): not for this kind of file; not for us to open
            say(f"warning: the new name of {target} may not be on disk yet: {tree.reason(error)}")
    if copied.skipped:
        more = f" and {len(copied.skipped) - 3} more" if len(copied.skipped) > 3 else ""
        say(f"warning: left out, being neither files nor directories nor links: {', '.join(copied.skipped[:3])}{more}")
    if copied.changed:
        say(f"warning: {copied.source} changed while it was copied: what came later is not in the copy")
    say(f"copied {copied.source} to {target}: {watch}")
    try:
        place.clear(watch.check_removal)
    except FileNotFoundError:
        pass  # the target did not exist, or was a file
    except (OSError, LateError) as error:
        say(f"warning: what was {target} before is left as {place.path}: {_why(error)}")


def _why(error: OSError | LateError) -> str:
    """Why something was not removed."""
    if isinstance(error, OSError):
        return tree.reason(error)
    return "no time is left to remove it; the next copy to this target does"
