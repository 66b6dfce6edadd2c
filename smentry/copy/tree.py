"""Writing a file or a tree a second time, in a place that nobody looks at yet. It knows neither hooks nor targets.

Symbolic links that stay inside the tree are kept; FIFOs, sockets and devices are left out. What is kept of a file or a
directory is said in `files`. Only in a process of its own: it forks, and its children change their umask.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from smentry.copy import crew
from smentry.copy.files import BusyError, CopyError, Files, GoneError, adopt, permitted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from smentry.copy.crew import Send

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW

_MANY = 1000
"""Files from which on more than one process copies."""
_CREW = 4
_TASKS = 1000
"""Tasks at most: their numbers, four bytes each, fit into the smallest pipe (pipe(7): one page)."""
_REMOVED = 8e9
"""Bytes that are removed in a second, of large files."""


class Tree:
    """A source as it was found: its directories (each before what it holds), files and links, and what was left out.

    All paths are relative to the source. `files` pairs a directory with the names of files in it; a source that is a
    file has no directories.
    """

    __slots__ = ("changed", "directories", "files", "links", "skipped", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.directories: list[tuple[str, os.stat_result]] = []
        self.files: list[tuple[str, list[str]]] = []
        self.links: list[tuple[str, str, os.stat_result]] = []
        self.skipped: list[str] = []
        self.changed = 0


class Watch:
    """How much has been copied, and whether there is time for more.

    `deadline` is seconds on the monotonic clock, or infinite. The time that it takes to remove what was copied is kept back.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._started = time.monotonic()
        self.files = 0
        self.bytes = 0
        self.begun = 0  # bytes of large files that are perhaps copied

    def left(self) -> float:
        """Seconds left; none or less is too late."""
        removal = 0.15 + self.files * 30e-6 + max(self.bytes, self.begun) / _REMOVED
        return self._deadline - removal - time.monotonic()

    def check_removal(self, size: int = 0) -> None:
        """Raises LateError where it is too late even to remove a file of so many bytes."""
        if self._deadline - 0.05 - size / _REMOVED <= time.monotonic():
            raise crew.LateError

    def copied(self, counts: tuple[int, int, int]) -> None:
        """So many files and bytes more have been copied, and so many bytes begun."""
        self.files += counts[0]
        self.bytes += counts[1]
        self.begun += counts[2]

    def check(self) -> None:
        """Raises LateError where it is too late."""
        if self.left() <= 0:
            raise crew.LateError

    def so_far(self) -> str:
        """What was copied when it was too late."""
        most = "at most " if self.begun > self.bytes else ""
        return f"{self.seconds():.2f} s, with {most}{amount(self.files, max(self.bytes, self.begun))} copied"

    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started

    def __str__(self) -> str:
        return f"{amount(self.files, self.bytes)} in {self.seconds():.2f} s"


def amount(files: int, size: int) -> str:
    """`3 files, 1.5 GB`."""
    number = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    return f"{files:,} {'file' if files == 1 else 'files'}, {number:.{0 if unit == 'bytes' else 1}f} {unit}"


def write(source: str, place: str, target: str, watch: Watch) -> Tree:
    """Copy `source`, a resolved path, to `place`: an empty file or directory of one's own. Return what was copied.

    `target` is the name that messages have for the place. Raises CopyError, its GoneError and BusyError, and LateError;
    what has been written by then is left to the caller.
    """
    tree = Tree(source)
    try:
        if stat.S_ISDIR(os.stat(place).st_mode):
            _lay_out(tree, place, watch)
            tasks = _tasks(tree.files)
            several = sum([len(names) for _, names in tree.files]) >= _MANY
            children = min(_CREW, len(os.sched_getaffinity(0))) if several else min(len(tasks), 1)
            if tasks:
                crew.work(_copying(tree, tasks, place, target), children, watch.copied, watch.left)
            _link(tree, place, watch)
            _finish(tree, place, watch)
        else:
            crew.work(lambda send: _copy_alone(source, place, target, send), 1, watch.copied, watch.left)
    except OSError as error:
        raise _explained(error, source, target) from None
    except crew.LostError as error:
        raise CopyError(f"{source} was not copied: {error}") from None
    return tree


def flush(sync: Callable[[], None], watch: Watch) -> None:
    """Call `sync` in a child, for nothing can interrupt it. Raises CopyError and LateError."""

    def job(_: Send) -> None:
        try:
            sync()
        except OSError as error:
            raise CopyError(f"what was copied cannot be written to disk: {reason(error)}") from None

    try:
        crew.work(job, 1, watch.copied, watch.left)
    except crew.LostError as error:
        raise CopyError(f"what was copied was not written to disk: {error}") from None


def reason(error: OSError) -> str:
    """What the kernel says, in the middle of a sentence."""
    text = error.strerror or str(error)
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


# -- what there is to copy -------------------------------------------------------------------------


def _lay_out(tree: Tree, place: str, watch: Watch) -> None:
    """Go through the source, and make its directories: for the owner alone until they are full."""
    source, target = os.open(tree.source, _DIRECTORY), os.open(place, _DIRECTORY)
    try:
        pending = ["."]
        while pending:
            watch.check()
            here = pending.pop()
            descriptor = os.open(here, _DIRECTORY, dir_fd=source)
            try:
                if here != ".":
                    os.mkdir(here, 0o700, dir_fd=target)
                tree.directories.append((here, os.fstat(descriptor)))
                names = []
                with os.scandir(descriptor) as entries:
                    for entry in entries:
                        if entry.is_symlink():
                            path = _join(here, entry.name)
                            text = link_text(tree.source, path, os.readlink(path, dir_fd=source))
                            tree.links.append((path, text, os.lstat(path, dir_fd=source)))
                        elif entry.is_dir(follow_symlinks=False):
                            pending.append(_join(here, entry.name))
                        elif entry.is_file(follow_symlinks=False):
                            names.append(entry.name)
                        else:
                            tree.skipped.append(_join(here, entry.name))
                if names:
                    tree.files.append((here, names))
            except OSError as error:
                raise _explained(error, os.path.join(tree.source, here), place) from None
            finally:
                os.close(descriptor)
    finally:
        os.close(source)
        os.close(target)


def _join(directory: str, name: str) -> str:
    return name if directory == "." else f"{directory}/{name}"


def link_text(source: str, path: str, text: str) -> str:
    """What the copy of the link at `path` below `source` says, whose own text is `text`.

    A relative link that stays inside is kept, dangling or not; an absolute one into the tree becomes a relative one, so
    that it leads into the copy. Raises CopyError for one that leads out.
    """
    directory = os.path.join(source, os.path.dirname(path))
    real = os.path.realpath(os.path.join(directory, text))
    inside = real == source or real.startswith(source.rstrip("/") + "/")
    if inside and not text.startswith("/"):
        # One that goes out and comes back by the source's own name would lead out of the copy.
        steps = os.path.normpath(os.path.join(os.path.dirname(path), text))
        inside = steps != ".." and not steps.startswith("../")
    if not inside:
        raise CopyError(f"the link {os.path.join(source, path)} leads out of what is copied, to {text}")
    return os.path.relpath(real, directory) if text.startswith("/") else text


def _tasks(files: list[tuple[str, list[str]]]) -> list[list[tuple[str, list[str]]]]:
    """The files in shares of about the same size, so that each of several processes can take the next."""
    share = max(64, sum([len(names) for _, names in files]) // _TASKS + 1)
    tasks: list[list[tuple[str, list[str]]]] = []
    room = 0
    for directory, names in files:
        at = 0
        while at < len(names):
            if room == 0:
                tasks.append([])
                room = share
            some = names[at : at + room]
            tasks[-1].append((directory, some))
            at += len(some)
            room -= len(some)
    return tasks


# -- the files -------------------------------------------------------------------------------------


def _copying(tree: Tree, tasks: list[list[tuple[str, list[str]]]], place: str, target: str) -> Callable[[Send], None]:
    """The job of each child: to copy the next task until there is none."""
    queue, queued = os.pipe()
    os.set_blocking(queued, False)
    os.write(queued, b"".join([number.to_bytes(4, "little") for number in range(len(tasks))]))
    os.close(queued)

    def job(send: Send) -> None:
        os.umask(0)
        source, copy = os.open(tree.source, _DIRECTORY), os.open(place, _DIRECTORY)
        files = Files(send)
        while number := os.read(queue, 4):
            for directory, names in tasks[int.from_bytes(number, "little")]:
                here = there = -1
                name = "."
                try:
                    here = os.open(directory, _DIRECTORY, dir_fd=source)
                    there = os.open(directory, _DIRECTORY, dir_fd=copy)
                    for name in names:
                        files.copy(here, name, there)
                except (OSError, BusyError) as error:
                    raise _explained(error, os.path.join(tree.source, _join(directory, name)), target) from None
                finally:
                    for descriptor in (here, there):
                        if descriptor >= 0:
                            os.close(descriptor)
            files.tell()

    return job


def _copy_alone(source: str, place: str, target: str, send: Send) -> None:
    """The same for a source that is a file, and a place that is one already."""
    os.umask(0)
    files = Files(send)
    directory, name = os.path.split(source)
    here = there = -1
    try:
        here = os.open(directory, _DIRECTORY)
        there = os.open(os.path.dirname(place), _DIRECTORY)
        files.copy(here, name, there, os.path.basename(place))
    except (OSError, BusyError) as error:
        raise _explained(error, source, target) from None
    files.tell()


# -- links, and what directories get at last -------------------------------------------------------


def _link(tree: Tree, place: str, watch: Watch) -> None:
    for path, text, status in tree.links:
        watch.check()
        link = os.path.join(place, path)
        os.symlink(text, link)
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            permitted(os.lchown, link, status.st_uid, status.st_gid)
        permitted(os.utime, link, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _finish(tree: Tree, place: str, watch: Watch) -> None:
    """Modes and times of the directories, from the bottom up: writing in one changes its time, and may need its mode."""
    for path, status in reversed(tree.directories):
        watch.check()
        directory = os.path.normpath(os.path.join(place, path))
        adopt(directory, status)
        permitted(os.utime, directory, ns=(status.st_atime_ns, status.st_mtime_ns))
        try:
            tree.changed += os.stat(os.path.join(tree.source, path)).st_mtime_ns != status.st_mtime_ns
        except OSError:
            tree.changed += 1


def _explained(error: OSError | BusyError, path: str, target: str) -> CopyError:
    """An error about one path of the source."""
    path = os.path.normpath(path)
    if isinstance(error, BusyError):
        return BusyError(f"{path} {error}")
    if error.errno in (errno.ENOENT, errno.ESTALE, errno.ENOTDIR):
        return GoneError(f"{path} disappeared while it was copied")
    return CopyError(f"{path} cannot be copied to {target}: {reason(error)}")
