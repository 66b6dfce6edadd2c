"""A picture drawn with characters, for a terminal. It knows columns, and nothing of what a run is.

A tool's part: PID 1 never imports it.
"""

from __future__ import annotations

import shutil
import unicodedata
from typing import TYPE_CHECKING

from smentry.picture.record import CONTINUED, KILLED, SIGNAL, TOLD

if TYPE_CHECKING:
    from smentry.picture.layout import Picture, Row

NARROWEST, WIDEST = 40, 400

_LETTERS = {TOLD: "T", SIGNAL: "S", CONTINUED: "C", KILLED: "K"}
_PLAIN, _BOLD, _DIM, _RED, _YELLOW, _CYAN = "", "1", "2", "31", "33", "36"
_STYLES = {TOLD: "1;33", SIGNAL: _BOLD, CONTINUED: _BOLD, KILLED: "1;31"}

# Drawn with these, and with their stand-ins where there is ASCII only.
_PROCESS, _HOOK, _END, _OPEN, _FROM, _TICK, _LINE = "━", "▒", "┫", "▸", "◂", "┬", "─"
_LEVELS = "▁▂▃▄▅▆▇█"
_LIMITS = "┊║"
_ASCII = str.maketrans("━▒┫▸◂┬─▁▂▃▄▅▆▇█┊║×…", "=#|><+-....====:!x~")

Text = list[tuple[str, str]]
"""A line: pieces of text, each with its style."""


def columns() -> int:
    """The width of the terminal, or what COLUMNS says, within reason."""
    return min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)


def draw(picture: Picture, width: int, *, unicode: bool, colour: bool) -> str:
    """The picture in lines of at most `width` (at least NARROWEST) columns; without `unicode`, in ASCII."""
    wide = width >= 60
    label = min(max((_width(row.label) for row in picture.rows), default=0), max(12, width // 4))
    outcome = min(max((len(row.outcome) for row in picture.rows), default=0), width // 5) if wide else 0
    chart = _Chart(picture, width - label - 1 - (outcome + 1 if wide else 0))
    lines: list[Text] = [*_wrapped(picture.title, width, _BOLD)]
    for text in picture.heading:
        lines += _wrapped(text, width)
    lines += [[], *_axis(chart, label)]
    for row in picture.rows:
        cells = chart.row(row)
        end = [(" " + _fit(row.outcome, outcome), _RED if row.bad else _DIM)] if wide else []
        lines.append([(_label(row, label) + " ", _PLAIN), *cells, *end])
    lines.append([])
    for (at, text), sign in zip(picture.limits, _LIMITS):
        lines += _wrapped(f"{sign} {text}: {at:g} s", width, _YELLOW if sign == _LIMITS[0] else _RED, "  ")
    lines += _legend(picture, width)
    for when, kind, text in picture.deeds:
        lines += _wrapped(f"{_LETTERS.get(kind, ' ')} {when:>7} {text}", width, indent=" " * 10)
    for text in picture.notes:
        lines += _wrapped(text, width, indent="  ")
    return "".join(_finished(line, unicode=unicode, colour=colour) + "\n" for line in lines)


class _Chart:
    """The columns of the axis."""

    def __init__(self, picture: Picture, width: int) -> None:
        self.picture = picture
        self.width = width

    def column(self, at: float) -> int:
        """The column of a time; outside of the chart it is the first or the last."""
        part = (at - self.picture.start) / (self.picture.end - self.picture.start)
        return min(max(int(part * self.width), 0), self.width - 1)

    def empty(self) -> Text:
        """A row with nothing in it but the limits."""
        cells = [(" ", _PLAIN)] * self.width
        for (at, _), sign in zip(self.picture.limits, _LIMITS):
            cells[self.column(at)] = (sign, _YELLOW if sign == _LIMITS[0] else _RED)
        return cells

    def row(self, row: Row) -> Text:
        """A row's bar, with the marks on it."""
        cells = self.empty()
        style = _CYAN if row.hook else _PLAIN
        for (since, part), (until, _) in zip(row.alive, row.alive[1:]):
            for column in range(self.column(since), self.column(until) + 1):
                if part > 0 and until >= self.picture.start:
                    cells[column] = (self.bar(row, part, cells[column][0]), style)
        used: dict[int, str] = {}
        if row.alive[0][0] < self.picture.start:
            self.put(cells, used, self.picture.start, _FROM, style)
        for mark in row.marks:
            if mark.at >= self.picture.start:
                self.put(cells, used, mark.at, _LETTERS[mark.kind], _STYLES[mark.kind])
        self.put(cells, used, row.alive[-1][0], _OPEN if row.ended is None else _END, _RED if row.bad else style)
        return cells

    def bar(self, row: Row, part: float, there: str) -> str:
        """The sign for so many parts of 1 alive: of what falls into one column, the most."""
        if row.hook:
            return _HOOK
        if part >= 1 and row.count == 1:
            return _PROCESS
        level = _LEVELS[min(int(part * len(_LEVELS)), len(_LEVELS) - 1)]
        return max(level, there) if there in _LEVELS else level

    def put(self, cells: Text, used: dict[int, str], at: float, sign: str, style: str) -> None:
        """Put a mark at its column, or at the next that is free; the same mark once in a column."""
        for column in range(self.column(at), self.width):
            if used.get(column) == sign:
                return
            if column not in used:
                used[column] = sign
                cells[column] = (sign, style)
                return


def _axis(chart: _Chart, indent: int) -> list[Text]:
    """The times, and the line below them."""
    ticks = chart.picture.ticks(max(2, chart.width // 8))
    times, line = [" "] * (chart.width + 8), [_LINE] * chart.width
    free = 0
    for at, text in ticks:
        column = chart.column(at)
        line[column] = _TICK
        word = f"{text} s" if at == ticks[-1][0] else text
        begin = min(max(column - len(text) // 2, 0), chart.width - len(word))
        if begin >= free:
            times[begin : begin + len(word)] = word
            free = begin + len(word) + 1
    return [[(" " * (indent + 1), _PLAIN), ("".join(signs[: chart.width]), _DIM)] for signs in (times, line)]


def _legend(picture: Picture, width: int) -> list[Text]:
    """What the letters that are there mean."""
    kinds = {mark.kind for row in picture.rows for mark in row.marks if mark.at >= picture.start}
    words = [f"{letter} {word}" for kind, letter, word in (
        (TOLD, "T", "told"), (SIGNAL, "S", "signal"), (CONTINUED, "C", "continued"), (KILLED, "K", "killed"),
    ) if kind in kinds]  # fmt: skip
    if any(row.ended is not None for row in picture.rows):
        words.append(f"{_END} ended")
    if any(row.ended is None for row in picture.rows):
        words.append(f"{_OPEN} end not known")
    if any(row.count > 1 for row in picture.rows):
        words.append(f"{_LEVELS[2]}{_LEVELS[-1]} how many are alive")
    if any(row.hook for row in picture.rows):
        words.append(f"{_HOOK} hook")
    return _wrapped("   ".join(words), width, _DIM)


# Text in columns.


def _width(text: str) -> int:
    return sum(map(_cell_width, text))


def _cell_width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _cut(text: str, width: int) -> str:
    """As much of `text` as `width` columns hold."""
    for index, char in enumerate(text):
        width -= _cell_width(char)
        if width < 0:
            return text[:index]
    return text


def _fit(text: str, width: int) -> str:
    """`text` in exactly `width` columns, shortened or filled up."""
    text = _shown(text)
    if _width(text) > width:
        text = _cut(text, width - 1) + "…"
    return text + " " * (width - _width(text))


def _label(row: Row, width: int) -> str:
    room = width - _width(row.prefix + row.suffix)
    if _width(_shown(row.label)) <= width or room < 4:
        return _fit(row.label, width)
    return _fit(row.prefix + _fit(row.name, room).rstrip() + row.suffix, width)


def _wrapped(text: str, width: int, style: str = _PLAIN, indent: str = "") -> list[Text]:
    """`text` on as many lines as it needs, those after the first one indented."""
    lines: list[Text] = []
    rest = _shown(text).rstrip()
    while rest:
        piece = _cut(rest, width)
        if len(piece) < len(rest) and " " in piece[len(indent) + 1 :] and rest[len(piece)] != " ":
            piece = piece[: piece.rindex(" ")]
        lines.append([(piece.rstrip(), style)])
        rest = rest[len(piece) :].strip()
        rest = indent + rest if rest else ""
    return lines


def _shown(text: str) -> str:
    """`text` without what would move the cursor, turn the direction or colour the terminal."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def _plain(char: str) -> str:
    """An ASCII character, or question marks of the same width."""
    return char if char.isascii() else "?" * _cell_width(char)


def _finished(line: Text, *, unicode: bool, colour: bool) -> str:
    if not unicode:
        line = [("".join(map(_plain, text.translate(_ASCII))), style) for text, style in line]
    if not colour:
        return "".join(text for text, _ in line).rstrip()
    parts, current = [], _PLAIN
    for text, style in line:
        if style != current:
            parts.append(f"\033[0;{style}m" if style else "\033[0m")
            current = style
        parts.append(text)
    return "".join(parts).rstrip() + ("\033[0m" if current else "")
