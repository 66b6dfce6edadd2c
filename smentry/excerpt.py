"""As much as there is room for: lines and their ends, cut between characters. It does not know what they are about."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from smentry.words import Words

_ELLIPSIS = "…"
"""Stands for what is left out."""
_SHORTEST = 20
"""Characters of a piece of a line that is still worth showing."""
_ABOUT = 160
"""Characters of a line that is shown out of its turn."""


def body(words: Words, line: str, room: int) -> list[str]:
    """The traceback, or the last lines, in `room` characters, without what the first line `line` says already."""
    message = [text for text in words.message if text.strip()]
    if len(message) == 1 and message[0].strip() in line:
        message = []
    lines = [text for text in words.lines if text.strip()]
    if words.first:
        return head([text for text in lines if not line.endswith(f": {text.strip()}")], room)
    if not message and lines and line.endswith(f": {lines[-1].strip()}"):
        lines = lines[:-1]
    message = head(message, room // 2)
    room -= _taken(message)
    kept = end(lines, room)
    if len(kept) < len(lines):
        about = [words.earlier and f"First: {words.earlier}", *([] if words.own[:1] == kept[1:2] else words.own)]
        about = [cut(text, _ABOUT) for text in about if text and text not in kept]
        needed = _taken(about)
        if about and needed < room // 2:
            kept = [*about, *end(lines, room - needed)]
    return [*kept, *message]


def end(lines: Sequence[str], room: int) -> list[str]:
    """The last lines, as many as fit in `room` characters, line ends included; a mark stands for the others."""
    if _taken(lines) <= room:
        return list(lines)
    kept: list[str] = []
    for line in reversed(lines):
        if len(line) + 1 + len(_ELLIPSIS) + 1 > room:
            if not kept and room > _SHORTEST:
                start = len(line) - room + 2
                return [_ELLIPSIS + line[_boundary(line, start, 1) :]]
            return [_ELLIPSIS, *reversed(kept)] if kept else []
        kept.append(line)
        room -= len(line) + 1
    return kept[::-1]


def head(lines: Sequence[str], room: int) -> list[str]:
    """The first lines, as many as fit in `room` characters, line ends included; a mark stands for the others."""
    if _taken(lines) <= room:
        return list(lines)
    kept: list[str] = []
    for line in lines:
        if len(line) + 1 + len(_ELLIPSIS) + 1 > room:
            if not kept and room > _SHORTEST:
                return [cut(line, room - 1)]
            return [*kept, _ELLIPSIS] if kept else []
        kept.append(line)
        room -= len(line) + 1
    return kept


def _taken(lines: Sequence[str]) -> int:
    """Characters that lines take, line ends included."""
    return sum([len(line) + 1 for line in lines])


def cut(text: str, length: int) -> str:
    """The text, or its beginning and a mark, in `length` characters."""
    return text if len(text) <= length else text[: _boundary(text, length - len(_ELLIPSIS), -1)].rstrip() + _ELLIPSIS


def _boundary(text: str, at: int, step: int) -> int:
    """A place to cut that is not between a letter and the marks that belong to it."""
    import unicodedata

    for place in range(at, at + 20 * step, step):
        if not 0 < place < len(text) or not unicodedata.category(text[place]).startswith("M"):
            return place
    return at


def printable(text: str) -> str:
    """The text with a blank for each character that a terminal or a log would take for something else."""
    return text if text.isprintable() else "".join([c if c.isprintable() else " " for c in text])
