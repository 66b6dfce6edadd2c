"""Where the files of an image come from, so far as a Dockerfile and the directory it is built from show it. It knows no rule."""

from __future__ import annotations

import os
import posixpath
import shlex
from dataclasses import dataclass
from pathlib import Path

from smentry.ctl.check import shell
from smentry.ctl.check.starting import File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from smentry.ctl.check.instructions import Instruction

_LEVELS = 3
"""How far above the Dockerfile the build context is looked for: docker build -f docker/train/Dockerfile ."""
_GLOB = frozenset("*?[")


@dataclass(frozen=True)
class Copy:
    """A COPY or ADD."""

    instruction: Instruction
    sources: tuple[str, ...]
    target: str
    """Absolute and normalised; a `$` in it where a variable is not known."""
    is_directory: bool
    """The target is a directory by the way it is written."""
    is_foreign: bool
    """From another stage or image, an address or an archive: what comes is not in the build context."""
    mode: str
    """--chmod, or nothing."""

    def goes_to(self, path: str) -> bool:
        """Whether it may make the file of this absolute path."""
        return path == self.target or path.startswith(self.target.rstrip("/") + "/")


@dataclass(frozen=True)
class Unseen:
    """A file that may be there, or may be otherwise than it seems."""


def copy(instruction: Instruction, directory: str) -> Copy | None:
    """What a COPY or ADD says, with the working directory it happens in; None where Docker would refuse it."""
    flags, words = _words(instruction)
    if len(words) < 2:
        return None
    *sources, target = words
    options = dict(flag.partition("=")[::2] for flag in flags)
    is_directory = len(sources) > 1 or target.endswith("/") or target in (".", "..")
    foreign = "--from" in options or any(_is_elsewhere(source, instruction.name) for source in sources)
    place = posixpath.normpath(posixpath.join(directory, target))
    return Copy(instruction, tuple(sources), place, is_directory, foreign, options.get("--chmod", ""))


def _words(instruction: Instruction) -> tuple[list[str], list[str]]:
    rest = instruction.expanded
    flags = []
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        flags.append(flag)
        rest = rest.lstrip()
    if rest.startswith("["):
        import json

        try:
            listed = json.loads(rest)
        except ValueError:
            listed = None
        if isinstance(listed, list) and all(isinstance(word, str) for word in listed):
            return flags, listed
    try:
        return flags, shlex.split(rest)
    except ValueError:
        return flags, rest.split()


def _is_elsewhere(source: str, name: str) -> bool:
    if "://" in source or source.startswith("git@"):
        return True
    return name == "ADD" and source.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".txz"))


class Files:
    """The files that the copies of a Dockerfile make."""

    def __init__(self, dockerfile: Path, copies: Sequence[Copy], runs: Iterable[str]) -> None:
        self._dockerfile = dockerfile
        self._copies = copies
        self._made_executable = [
            word
            for run in runs
            for command in shell.commands(run)
            if command.words[0] == "chmod"
            for word in command.words[1:]
        ]
        self.context = _context(dockerfile, copies)

    def look(self, path: str) -> File | Unseen | None:
        """The file of an absolute path; None where no copy makes it."""
        for one in reversed(self._copies):
            if "$" in one.target:
                continue
            if one.goes_to(path):
                found = self._from(one, path)
                if found:
                    return found
        return None

    def _from(self, one: Copy, path: str) -> File | Unseen | None:
        if one.is_foreign or (self.context is None and one.sources and not self._heredoc(one, path)):
            names = [posixpath.basename(source) for source in one.sources]
            is_other = one.is_directory and all("." in name for name in names)  # COPY --from=x /a/b.so /usr/lib/
            return None if is_other and posixpath.basename(path) not in names else Unseen()
        document = self._heredoc(one, path)
        if document:
            return document
        for source in one.sources:
            for local in self._local(source):
                file = self._file(one, local, path)
                if file:
                    return file
        return None

    def _heredoc(self, one: Copy, path: str) -> File | None:
        documents = list(one.instruction.heredocs)
        for source in one.sources:
            if not source.startswith("<<") or not documents:
                continue
            heredoc = documents.pop(0)
            name = source.lstrip("<-")
            if path == (posixpath.join(one.target, name) if one.is_directory else one.target):
                return File(
                    str(self._dockerfile), heredoc.text.encode(), self._executable(one, path, False), heredoc.line - 1
                )
        return None

    def _local(self, source: str) -> list[Path]:
        assert self.context is not None
        relative = source.lstrip("/")
        if _GLOB.intersection(relative):
            try:
                return sorted(self.context.glob(relative))
            except (ValueError, NotImplementedError):
                return []
        return [self.context / relative]

    def _file(self, one: Copy, local: Path, path: str) -> File | None:
        if local.is_dir():
            relative = posixpath.relpath(path, one.target)
            local = local / relative
        else:
            inside = posixpath.join(one.target, local.name)
            if path != inside and (one.is_directory or path != one.target):
                return None  # otherwise the target may be a directory that was there before
        if not local.is_file():
            return None
        return File(os.path.normpath(local), local.read_bytes(), self._executable(one, path, os.access(local, os.X_OK)))

    def _executable(self, one: Copy, path: str, itself: bool) -> bool | None:
        if one.mode:
            return any(digit in "1357" for digit in one.mode) or "x" in one.mode
        if itself:
            return True
        name = posixpath.basename(path)
        for word in self._made_executable:
            if posixpath.basename(word) == name or _GLOB.intersection(word) or "$" in word:
                return None
            if posixpath.join("/", word).rstrip("/") != "/" and path.startswith(
                posixpath.join("/", word).rstrip("/") + "/"
            ):
                return None  # chmod -R
        return False


def _context(dockerfile: Path, copies: Sequence[Copy]) -> Path | None:
    """The directory the image seems to be built from: the first, from the Dockerfile's upwards, that has all that is copied."""
    wanted = [
        source.lstrip("/")
        for one in copies
        if not one.is_foreign
        for source in one.sources
        if not source.startswith("<<") and not _GLOB.intersection(source) and "$" not in source
    ]
    place = dockerfile.parent
    for _ in range(_LEVELS):
        if all((place / source).exists() for source in wanted):
            return place
        if (place / ".git").exists():
            return None
        place = place / ".." if str(place) in (".", "") or place.name == ".." else place.parent
    return None
