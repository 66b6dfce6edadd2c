"""Which match of a pattern is copied: the newest that is complete and was left alone. It copies nothing."""

from __future__ import annotations

import glob
import os
import re
import stat
import time

from smentry.copy.files import CopyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from smentry.pid1.hooks import Copy


class Match:
    """A match of a pattern: its resolved `path`, and its last `change`, in nanoseconds of Unix time."""

    __slots__ = ("change", "complete", "path")

    def __init__(self, path: str, change: int, complete: bool) -> None:
        self.path = path
        self.change = change
        self.complete = complete


def choose(copy: Copy, aside: Collection[str], ended: float | None, say: Callable[[str], None]) -> str:
    """The match of `newest` to copy. Raises CopyError where there is none."""
    end = time.time() if ended is None else ended
    paths = {os.path.realpath(path) for path in glob.glob(copy.newest, recursive=True)}
    paths -= {os.path.realpath(copy.to)}
    matches = []
    for path in paths:
        try:
            complete = not copy.complete or (
                os.path.isdir(path) and os.path.lexists(os.path.join(path, os.path.normpath(copy.complete)))
            )
            matches.append(Match(path, last_change(path), complete))
        except OSError:
            pass  # gone, a link that leads nowhere, or not for us to read
    whole = [match for match in matches if match.complete and match.path not in aside]
    match = newest(whole, round((end - copy.settled) * 1e9))
    if match is None:
        if not matches:
            raise CopyError(f"nothing matches {copy.newest}")
        if aside:
            raise CopyError(f"every match of {copy.newest} that could be copied is still being written")
        raise CopyError(f"none of {len(matches)} matches of {copy.newest} holds {copy.complete}: none is complete")
    before = end - match.change / 1e9
    if before < copy.settled:
        when = f"{before:.2f} s before" if before >= 0 else f"{-before:.2f} s after"
        what = "now" if ended is None else "the program's end"
        say(
            f"warning: nothing that matches {copy.newest} was left alone for {copy.settled:g} s: taking the newest,"
            f" {match.path}, though it changed {when} {what}"
        )
    return match.path


def newest(matches: Iterable[Match], settled: int) -> Match | None:
    """The match that changed last, of those that changed at `settled` (nanoseconds of Unix time) or before.

    Is there none, the one that changed last of all. Of those that changed at the same time it is the last by name, where
    `step-10` comes after `step-9`.
    """

    def order(match: Match) -> tuple[bool, int, list[tuple[int, str]]]:
        name = [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", match.path)]
        return match.change <= settled, match.change, name

    return max(matches, key=order, default=None)


def last_change(path: str) -> int:
    """The newest time of modification of a path and all below it, links themselves, in nanoseconds. Raises OSError."""
    status = os.lstat(path)
    change = status.st_mtime_ns
    pending = [path] if stat.S_ISDIR(status.st_mode) else []
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    change = max(change, entry.stat(follow_symlinks=False).st_mtime_ns)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except OSError:
            pass  # gone meanwhile; what cannot be read is said when it is copied
    return change
