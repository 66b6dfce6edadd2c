"""A picture drawn as an SVG that stands on its own. It knows pixels, and nothing of what a run is.

A tool's part: PID 1 never imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smentry.picture.record import CONTINUED, KILLED, SIGNAL, TOLD

if TYPE_CHECKING:
    from smentry.picture.layout import Picture, Row

_WIDTH, _MARGIN = 960, 24
_LEFT, _RIGHT = 212, 812
"""Where the chart begins and ends; the labels are left of it, the outcomes right."""
_ROW, _BAR, _LINE = 24, 12, 18
"""Heights: of a row, of a bar in it, of a line of text."""
_APART = 9
"""How far marks of one row are apart at least, so that each can be seen."""
_CHARACTER = 6.6
"""The width of a character of 12 px, on the safe side: fonts differ."""

_WORDS = {TOLD: "told", SIGNAL: "signal", CONTINUED: "continued", KILLED: "killed"}
_STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.quiet { fill: #6b7280 }
.bad { fill: #b42318 }
.grid { stroke: #e7e9ee }
.zero { stroke: #8b93a1 }
.limit0 { stroke: #b7791f; stroke-dasharray: 4 3 }
.limit1 { stroke: #b42318; stroke-width: 1.5 }
.process { fill: #8fb0d9 }
.hook { fill: #8cc7a1 }
.cap { fill: none; stroke: #8cc7a1; stroke-dasharray: 3 2 }
.failed { fill: #e5a29b }
.end { stroke: #24292f; stroke-width: 2 }
.told { fill: #1d4e89 }
.signal { fill: #fff; stroke: #1d4e89; stroke-width: 1.5 }
.continued { fill: #1d4e89 }
.killed { stroke: #b42318; stroke-width: 2.5; fill: none }
"""


def draw(picture: Picture) -> str:
    """The picture as the text of an SVG file, to be written as UTF-8."""
    body: list[str] = []
    y = _MARGIN + 10.0
    for index, line in enumerate(_wrapped(picture.title, 100)):
        body.append(_text(_MARGIN, y + 20 * index, line, "title"))
        y += 20 * index
    for text in picture.heading:
        for line in _wrapped(text, 136):
            y += _LINE
            body.append(_text(_MARGIN, y, line, "quiet"))
    y += 20
    top = y + _LINE * len(picture.limits)
    bottom = top + _ROW * len(picture.rows) + 6
    body += _axis(picture, top, bottom)
    for index, row in enumerate(picture.rows):
        body += _row(picture, row, top + 4 + _ROW * index)
    body += _limits(picture, y, bottom)
    y = bottom + 44
    body += _legend(picture, y)
    y += 10
    for at, kind, text in picture.deeds:
        y += _LINE
        if kind:
            body.append(_mark(kind, _MARGIN + 5, y - 4))
        body.append(_text(_MARGIN + 70, y, at, "quiet", "end"))
        lines = _wrapped(text, 120)
        body += [_text(_MARGIN + 80, y + _LINE * number, line) for number, line in enumerate(lines)]
        y += _LINE * (len(lines) - 1)
    y += 6 if picture.notes else 0
    for text in picture.notes:
        for line in _wrapped(text, 136):
            y += _LINE
            body.append(_text(_MARGIN, y, line))
    height = int(y + _MARGIN)
    rows = (f"{row.label}: {'; '.join(row.said[1:])}" for row in picture.rows)
    said = "\n".join([*picture.heading, *rows, *(f"{at}: {text}" for at, _, text in picture.deeds), *picture.notes])
    return "\n".join([
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        ' role="img" aria-labelledby="title desc">',
        f'<title id="title">{_escaped(picture.title)}</title>',
        f'<desc id="desc">{_escaped(said)}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="#fff" stroke="#d5d9e0"/>',
        *body,
        "</svg>\n",
    ])  # fmt: skip


def _x(picture: Picture, at: float) -> float:
    """Where a time is; outside of the chart it is at its edge."""
    part = (at - picture.start) / (picture.end - picture.start)
    return _LEFT + min(max(part, 0.0), 1.0) * (_RIGHT - _LEFT)


def _axis(picture: Picture, top: float, bottom: float) -> list[str]:
    ticks = picture.ticks(9)
    lines = []
    for at, text in ticks:
        x = _x(picture, at)
        lines.append(_vertical(x, top, bottom, "zero" if at == 0 else "grid"))
        lines.append(_text(x, bottom + 14, f"{text} s" if at == ticks[-1][0] else text, "quiet", "middle"))
    return lines


def _limits(picture: Picture, y: float, bottom: float) -> list[str]:
    lines = []
    for number, (at, text) in enumerate(picture.limits):
        x = _x(picture, at)
        level = y + _LINE * (len(picture.limits) - 1 - number)  # the later one higher: no line crosses a text
        lines.append(_vertical(x, level - 10, bottom, f"limit{number}"))
        left = x > (_LEFT + _RIGHT) / 2
        lines.append(_text(x - 6 if left else x + 6, level, f"{text}: {at:g} s", "", "end" if left else "start"))
    return lines


def _row(picture: Picture, row: Row, y: float) -> list[str]:
    middle = y + _BAR / 2
    before = row.alive[0][0] < picture.start
    style = "process" if not row.hook else "failed" if row.bad else "hook"
    parts = [f"<g><title>{_escaped(chr(10).join(row.said))}</title>"]
    parts.append(_text(_LEFT - 12, middle + 4, _short(row.prefix, row.name, row.suffix), "", "end"))
    if row.cap is not None and row.cap > picture.start:
        x = _x(picture, row.alive[0][0])
        width = max(0.0, _x(picture, row.cap) - x)
        parts.append(f'<rect class="cap" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_BAR}"/>')
    parts.append(f'<path class="{style}" d="{_outline(picture, row, y)}"/>')
    if before:
        parts.append(f'<path class="{style}" d="M{_LEFT} {y:.1f}l-6 {_BAR / 2:g}l6 {_BAR / 2:g}z"/>')
    end = _x(picture, row.alive[-1][0])
    if row.ended is not None:
        parts.append(_vertical(end, y - 1, y + _BAR + 1, "end"))
    else:
        parts.append(f'<path class="{style}" d="M{end:.1f} {y:.1f}l6 {_BAR / 2:g}l-6 {_BAR / 2:g}z"/>')
    drawn: dict[str, float] = {}
    for mark in row.marks:
        x = _x(picture, mark.at)
        if mark.at >= picture.start and x - drawn.get(mark.kind, 0) > 3:
            x = max([x, *(other + _APART for other in drawn.values())]) if x < _RIGHT - _APART else x
            drawn[mark.kind] = x
            parts.append(_mark(mark.kind, x, middle))
    parts.append(_text(_RIGHT + 14, middle + 4, _clipped(row.outcome, 19), "bad" if row.bad else "quiet"))
    return [*parts, "</g>"]


def _outline(picture: Picture, row: Row, y: float) -> str:
    """The bar: as high as many are alive, and at least 1 px wide."""
    points: list[tuple[float, float]] = []
    height = 0.0
    for at, part in row.alive:
        x = _x(picture, at)
        points += [(x, height), (x, part * _BAR)]
        height = part * _BAR
    if points[-1][0] - points[0][0] < 1:
        points = [(points[0][0], _BAR), (points[0][0] + 1, _BAR)]
    begin, *rest = [(points[0][0], 0.0), *points, (points[-1][0], 0.0)]
    words = [f"M{begin[0]:.1f} {y + _BAR:.1f}"]
    last = ""
    for x, height in rest:
        word = f"L{x:.1f} {y + _BAR - height:.1f}"
        if word != last:
            words.append(word)
        last = word
    return "".join(words) + "z"


def _mark(kind: str, x: float, y: float) -> str:
    """The shape of a mark, its centre at x and y."""
    if kind == TOLD:
        shape = f"M{x - 5:.1f} {y - 5:.1f}h10l-5 9z"
    elif kind == SIGNAL:
        return f'<circle class="signal" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    elif kind == CONTINUED:
        shape = f"M{x - 4:.1f} {y - 5:.1f}v10l8 -5z"
    else:
        shape = f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"
    return f'<path class="{kind}" d="{shape}"/>'


def _legend(picture: Picture, y: float) -> list[str]:
    kinds = {mark.kind for row in picture.rows for mark in row.marks if mark.at >= picture.start}
    items = [(_mark(kind, 6, 0), word) for kind, word in _WORDS.items() if kind in kinds]
    if any(row.ended is not None for row in picture.rows):
        items.append((_vertical(6, -7, 7, "end"), "ended"))
    bars = {("process" if not row.hook else "failed" if row.bad else "hook") for row in picture.rows}
    for style, word in (("process", "process"), ("hook", "hook"), ("failed", "hook that failed")):
        if style in bars:
            items.append((f'<rect class="{style}" x="0" y="-6" width="16" height="{_BAR}"/>', word))
    if any(row.cap is not None for row in picture.rows):
        items.append((f'<rect class="cap" x="0" y="-6" width="16" height="{_BAR}"/>', "the time a hook has"))
    if any(row.count > 1 for row in picture.rows):
        items.append(('<path class="process" d="M0 6V-6H7V0H16V6z"/>', "how many are alive"))
    lines, x = [], float(_MARGIN)
    for shape, word in items:
        lines.append(f'<g transform="translate({x:.0f} {y - 4:.1f})">{shape}{_text(22, 4, word, "quiet")}</g>')
        x += 22 + _CHARACTER * len(word) + 18
    return lines


def _vertical(x: float, top: float, bottom: float, style: str) -> str:
    return f'<line class="{style}" x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{bottom:.1f}"/>'


# Text.


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    attributes = f' class="{style}"' if style else ""
    attributes += f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    """`text` for XML, without characters that it may not hold or that turn the direction of what follows."""
    text = "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _size(text: str) -> int:
    """How much room `text` takes, in Latin letters: what is beyond Latin, Greek and Cyrillic may be twice as wide."""
    return sum(2 if char >= "\u1100" and char not in "…–×" else 1 for char in text)


def _clipped(text: str, most: int) -> str:
    if _size(text) <= most:
        return text
    while text and _size(text) > most - 1:
        text = text[:-1]
    return text + "…"


def _short(prefix: str, name: str, suffix: str) -> str:
    """A label that fits, with its number kept where that can be."""
    most = int((_LEFT - 12 - _MARGIN) / _CHARACTER)
    room = most - _size(prefix + suffix)
    return prefix + _clipped(name, room) + suffix if room > 3 else _clipped(prefix + name + suffix, most)


def _wrapped(text: str, most: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and _size(lines[-1]) + 1 + _size(word) > most:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return [_clipped(line, most) for line in lines]
