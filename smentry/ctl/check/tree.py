"""The files of an image, by their paths: read from a tar stream once, without unpacking it. It knows no rule."""

from __future__ import annotations

import posixpath
import tarfile
from dataclasses import dataclass

from smentry.ctl.engine import tarstream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_LARGEST = 1 << 20
"""Bytes of a file that is kept for its name."""
_SCRIPT = 1 << 16
"""Bytes of an executable with a `#!` that is kept whatever its name: a link may lead to it."""
_LINKS = 40
"""How many links a path may lead through (path_resolution(7))."""


@dataclass(frozen=True)
class Entry:
    """What a path leads to."""

    path: str
    """Absolute; without links where it was resolved."""
    kind: bytes
    """As tarfile names it: REGTYPE, DIRTYPE, SYMTYPE, …."""
    mode: int
    size: int
    link: str = ""
    content: bytes | None = None
    """None: too large to be kept, or of no use."""

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.kind in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.LNKTYPE)


class Tree:
    """All files of an image."""

    def __init__(self, stream: Iterable[bytes], names: Collection[str]) -> None:
        """Read the stream. The content is kept of files whose last name is one of `names`."""
        self._entries: dict[str, Entry] = {}
        for archive, member in tarstream.members(stream):
            path = "/" + member.name.strip("/").removeprefix("./")
            content = _content(archive, member, posixpath.basename(path) in names)
            self._entries[path] = Entry(path, member.type, member.mode, member.size, member.linkname, content)

    def find(self, path: str) -> Entry | None:
        """What an absolute path leads to, links followed; None where nothing is."""
        parts = [part for part in path.split("/") if part][::-1]
        here: list[str] = []
        links = 0
        while parts:
            part = parts.pop()
            if part == "..":
                del here[-1:]
                continue
            if part == ".":
                continue
            entry = self._entries.get("/" + "/".join([*here, part]))
            if entry is not None and entry.kind == tarfile.SYMTYPE:
                links += 1
                if links > _LINKS:
                    return None
                if entry.link.startswith("/"):
                    here = []
                parts.extend(reversed([step for step in entry.link.split("/") if step]))
                continue
            here.append(part)
        found = self._entries.get("/" + "/".join(here))
        if found is not None and found.kind == tarfile.LNKTYPE:
            return self._entries.get("/" + found.link.strip("/").removeprefix("./"), found)
        return found

    def files(self) -> Iterator[Entry]:
        """Every regular file, by path."""
        return (entry for _, entry in sorted(self._entries.items()) if entry.is_file)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, is_named: bool) -> bytes | None:
    executable = bool(member.mode & 0o111) or member.name.endswith((".sh", ".py"))
    limit = _LARGEST if is_named else _SCRIPT if executable and "site-packages" not in member.name else 0
    if not member.isreg() or member.size > limit:
        return None
    file = archive.extractfile(member)
    content = file.read() if file else b""
    return content if is_named or content.startswith(b"#!") else None
