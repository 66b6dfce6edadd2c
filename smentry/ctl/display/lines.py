"""Pieces of bytes that become lines of text, and what of a line a terminal may get. Pure; it knows no terminal and no clock."""

from __future__ import annotations

import codecs
import re

LONGEST = 1 << 16
"""Bytes of a line. What is longer is several lines: nothing says that it will ever end."""

PATIENCE = 1.0
"""Seconds that the beginning of a line waits for its end, where it cannot be shown as it grows."""

PROGRESS = 10.0
"""Seconds between two states of a progress bar, where it cannot be shown as it changes."""

_UNPRINTABLE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # ECMA-48, 5.4: control sequences
    r"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # and control strings, such as a window's title
    r"|[ -/]*[0-~])?"
    r"|[\x00-\x08\x0a-\x1a\x1c-\x1f\x7f-\x9f]"
)
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
"""ECMA-48, 8.3.117: SELECT GRAPHIC RENDITION, which changes how text looks, and nothing else."""
_PLAIN = "\x1b[0m"


class Lines:
    """Takes what one host writes, in pieces of any size, and gives it back in lines, in time linear to what it gets.

    `\\r` begins the line anew, as a progress bar means it: what was written last is the line. Bytes that are no UTF-8 become
    U+FFFD.
    """

    def __init__(self) -> None:
        self._begun = bytearray()
        self._since: float | None = None
        self._rewritten = False
        self._given = False

    def feed(self, data: bytes, now: float) -> list[str]:
        """The lines that end in this piece."""
        first, *others = data.split(b"\n")
        self._begun += first
        if not others:
            return self._grow(data, now)
        rest = others.pop()
        found = self._end()
        for line in others:
            found += [_text(part) for part in _cut(_last(line))]
        self._begun += rest
        return found + self._grow(rest, now)

    @property
    def begun(self) -> str:
        """What is there of a line that has not ended."""
        return codecs.utf_8_decode(_last(bytes(self._begun)), "replace", False)[0]

    def overdue(self, now: float) -> list[str]:
        """What is there of a line that has waited for its end for too long; what comes of it later is another line."""
        if self._since is None or now - self._since < (PROGRESS if self._rewritten else PATIENCE):
            return []
        line = _last(bytes(self._begun))
        text, used = codecs.utf_8_decode(line, "replace", False)
        if not text.strip():
            return []
        self._begun = bytearray(line[used:])  # the beginning of a character, at most
        self._since = now
        self._given = True
        return [text]

    def end(self) -> list[str]:
        """What is left when nothing comes any more."""
        return self._end() if self._begun else []

    def _grow(self, piece: bytes, now: float) -> list[str]:
        """Note that a line has begun or grown by a piece; what of it is a line already, because it is too long."""
        if not self._begun:
            return []
        if self._since is None:
            self._since = now
        if b"\r" in piece:
            self._rewritten = True
            del self._begun[: self._begun.rstrip(b"\r").rfind(b"\r") + 1]
        if len(self._begun) <= LONGEST:
            return []
        *parts, rest = _cut(bytes(self._begun))
        self._begun = bytearray(rest)
        return [_text(part) for part in parts]

    def _end(self) -> list[str]:
        """The line that was begun, which ends here: no line where all of it has been given away before."""
        line, given = _last(bytes(self._begun)), self._given
        self._begun.clear()
        self._since, self._rewritten, self._given = None, False, False
        return [] if given and not line else [_text(part) for part in _cut(line)]


def clean(text: str, *, colour: bool) -> str:
    """A line without what a terminal would obey: nothing moves the cursor. Colours stay where they may, and end with the line."""
    if text.isprintable():
        return text
    kept = False

    def keep(found: re.Match[str]) -> str:
        nonlocal kept
        if colour and _COLOUR.fullmatch(found.group()):
            kept = True
            return found.group()
        return ""

    cleaned = _UNPRINTABLE.sub(keep, text)
    return cleaned + _PLAIN if kept else cleaned


def _last(line: bytes) -> bytes:
    """What of a line a terminal would show, where it writes the line anew after `\\r`."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]


def _cut(line: bytes) -> list[bytes]:
    """A line in parts of at most LONGEST bytes, none of which ends within a character (utf-8(7))."""
    parts = []
    at = 0
    while len(line) - at > LONGEST:
        end = at + LONGEST
        while end > at + LONGEST - 4 and line[end] & 0xC0 == 0x80:
            end -= 1
        parts.append(line[at:end])
        at = end
    return [*parts, line[at:]]


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")
