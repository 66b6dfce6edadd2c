"""What is wrong with an image of the local engine, by its configuration and its files. Nothing of it is run."""

from __future__ import annotations

import posixpath
import re

from smentry.ctl.check import dockerfile, drivers, starting
from smentry.ctl.check.finding import Finding
from smentry.ctl.check.starting import MISSING, THERE, File
from smentry.ctl.check.tree import Tree
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from smentry.ctl.check.tree import Entry

_NAME = re.compile(
    r"(?:[A-Za-z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:(?:\.|_{1,2}|-+|/)[a-z0-9]+)*(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
_LISTED = 3
VERBS = ("train", "serve")


def could_be(name: str) -> bool:
    """Whether this can be the name of an image."""
    return bool(_NAME.fullmatch(name.removeprefix("sha256:")))


def findings(name: str) -> list[Finding]:
    """What is wrong with an image of this machine. Raises RefusedError where there is none, or no engine."""
    from smentry.ctl.engine.images import Images

    try:
        images = Images()
        configuration = images.configuration(name)
    except RefusedError as error:
        raise RefusedError(f"{name}: no such file or directory, and as an image: {error.message}") from None
    names = {posixpath.basename(word) for word in configuration.get("Entrypoint") or ()}
    with images.exported(name) as stream:
        tree = Tree(stream, names.union(VERBS))
    return problems(name, configuration, tree)


def problems(name: str, configuration: Mapping[str, Any], tree: Tree) -> list[Finding]:
    """What is wrong with an image of this Config, as `docker inspect` shows it, and of these files."""
    image = _Image(name, configuration, tree)
    found = [*image.starts(), *image.command(), *image.stop_signal(), *image.under_base(), *image.drivers()]
    return sorted(set(found))


class _Image:
    def __init__(self, name: str, configuration: Mapping[str, Any], tree: Tree) -> None:
        self.name = name
        self.configuration = configuration
        self.tree = tree
        self.variables = dict(word.partition("=")[::2] for word in configuration.get("Env") or ())

    def finding(self, code: str, message: str) -> Finding:
        return Finding(self.name, 0, 0, code, message)

    def starts(self) -> Iterator[Finding]:
        words = list(self.configuration.get("Entrypoint") or ())
        train = self._find("train")
        if not words:
            yield from self._verbs()
            return
        text = words[2] if words[:2] == ["/bin/sh", "-c"] and len(words) == 3 else ""
        own, others = starting.problems(words, self._look, THERE if _runs(train) else MISSING)
        for code, message in own:
            if code == "SM102" and text.startswith("["):
                yield self.finding(
                    "SM111", f"{text} is no JSON list of strings, so it is handed to /bin/sh -c as it is"
                )
            else:
                yield self.finding("SM101" if code == "SM102" and text else code, message)
        yield from others
        yield from self._missing(words)

    def _verbs(self) -> Iterator[Finding]:
        found = [entry for entry in map(self._find, VERBS) if entry]
        for entry in found:
            yield from self._of_file(entry)
        if not found:
            yield self.finding("SM104", "there is no ENTRYPOINT, and no executable train or serve on PATH")

    def _of_file(self, entry: Entry) -> Iterator[Finding]:
        file = self._file(entry)
        if file:
            yield from starting.of_file(file, executed=True)
        elif not _runs(entry):
            yield self.finding("SM409", f"{entry.path} is executed, and has no executable bit")
        yield from self._interpreter(entry)

    def _missing(self, words: Sequence[str]) -> Iterator[Finding]:
        entry = self._find(words[0])
        if entry is None or not entry.is_file:
            where = self.variables.get("PATH", dockerfile.PATH)
            how = "is not a file of the image" if "/" in words[0] else f"is not on PATH ({where})"
            yield self.finding("SM201", f"ENTRYPOINT starts {words[0]}, which {how}")
            return
        if not _runs(entry) and not self._file(entry):
            yield self.finding("SM409", f"{entry.path} is executed, and has no executable bit")
        yield from self._interpreter(entry)

    def _interpreter(self, entry: Entry) -> Iterator[Finding]:
        line = (entry.content or b"").partition(b"\n")[0].decode("utf-8", "replace")
        interpreter = line[2:].split()[:1] if line.startswith("#!") and not line.endswith("\r") else []
        if interpreter and not self._find(interpreter[0]):
            yield self.finding("SM201", f"{entry.path} begins with {line}, and the image has no {interpreter[0]}")

    def command(self) -> Iterator[Finding]:
        words = list(self.configuration.get("Cmd") or ())
        if not self.configuration.get("Entrypoint") or not any(words):
            return
        if len(words) > 1 or posixpath.basename(words[0]) not in dockerfile.IDLE:
            yield self.finding("SM105", f"the platform's train or serve replaces CMD: {' '.join(words)}")

    def stop_signal(self) -> Iterator[Finding]:
        value = str(self.configuration.get("StopSignal") or "")
        if not dockerfile.is_term(value):
            yield self.finding("SM109", f"the platform sends SIGTERM, not {value}")

    def under_base(self) -> Iterator[Finding]:
        follows_toolkit = any(name in self.variables for name in dockerfile.TOOLKIT)
        hidden = [
            entry.path
            for entry in self.tree.files()
            if entry.size and dockerfile.is_hidden(entry.path, follows_toolkit)
        ]
        if hidden:
            yield self.finding("SM106", f"{_listed(hidden)} may be hidden by the platform's mounts")
        for place in sorted(self.configuration.get("Volumes") or ()):
            if dockerfile.is_below(place.rstrip("/")):
                yield self.finding("SM107", f"{place} is the platform's to mount")

    def drivers(self) -> Iterator[Finding]:
        # Without size: what the NVIDIA container runtime leaves behind where a driver was mounted while the image was made.
        found = [entry.path for entry in self.tree.files() if entry.size and drivers.is_library(entry.path)]
        if found:
            yield self.finding("SM108", f"parts of an NVIDIA driver: {_listed(found)}")

    def _look(self, name: str) -> File | None:
        entry = self._find(name)
        return self._file(entry) if entry else None

    def _file(self, entry: Entry) -> File | None:
        if entry.content is None or b"\0" in entry.content:
            return None
        return File(f"{self.name}:{entry.path}", entry.content, _runs(entry))

    def _find(self, name: str) -> Entry | None:
        """The file that is started by this word: a path from the working directory, or a name on PATH, executable ones first."""
        if "/" in name:
            return self.tree.find(posixpath.join(self.configuration.get("WorkingDir") or "/", name))
        path = self.variables.get("PATH", dockerfile.PATH)
        found = [self.tree.find(posixpath.join("/", place, name)) for place in path.split(":")]
        files = [entry for entry in found if entry and entry.is_file]
        return next((entry for entry in files if _runs(entry)), files[0] if files else None)


def _runs(entry: Entry | None) -> bool:
    return entry is not None and entry.is_file and bool(entry.mode & 0o111)


def _listed(paths: Sequence[str]) -> str:
    more = len(paths) - _LISTED
    return ", ".join(paths[:_LISTED]) + (f" and {more} more" if more > 0 else "")
