"""`python -m smentry.pid1.timeline FILE`: arguments, files and exit codes; smentryctl's
`timeline` is made of it too. It does not know how anything is drawn."""

from __future__ import annotations

import argparse
import codecs
import os
import sys

from smentry.errors import RefusedError
from smentry.picture import bars, record, svg
from smentry.picture.layout import Picture, layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO


def main(argv: list[str]) -> int:
    """Draw the file that `argv` names on stdout; returns the exit code. Wrong usage raises SystemExit, as --help does."""
    parser = argparse.ArgumentParser(
        prog="python -m smentry.pid1.timeline",
        description="Draw a stop from its timeline file: what ran, what it was told and when, and where the time went.",
        epilog="Exit codes: 0 drawn; 1 stdout cannot be written; 2 wrong usage, or there is nothing to draw in FILE: "
        "it cannot be read, is no timeline, or has no such run. COLUMNS and NO_COLOR are honoured.",
    )
    parser.add_argument("file", metavar="FILE", help="what smentry has written with --timeline")
    parser.add_argument("--svg", action="store_true", help="write an SVG instead of drawing in the terminal")
    parser.add_argument("--run", type=int, metavar="N", help="draw run N of the file, from 1 (default: the last)")
    options = parser.parse_args(argv)
    try:
        picture = read(options.file, options.run)
        return write(svg.draw(picture).encode("utf-8") if options.svg else text(picture, sys.stdout))
    except RefusedError as refused:
        print(f"timeline: {refused.message}", file=sys.stderr)
        return refused.code


def read(path: str, number: int | None = None) -> Picture:
    """The picture of run `number`, from 1, of a timeline file; None: of the last. Raises RefusedError."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            runs = record.parse(file)
    except OSError as error:
        raise _refused(f"{path} cannot be read: {error.strerror or error}") from None
    except record.NotATimelineError as error:
        raise _refused(f"{path} is no timeline: {error}") from None
    if number is None:
        number = len(runs)
    if not 1 <= number <= len(runs):
        raise _refused(f"{path} has no run {number}: expected --run from 1 to {len(runs)}")
    return layout(runs[number - 1], number, len(runs))


def text(picture: Picture, stream: TextIO) -> bytes:
    """The picture in characters, as this stream can show them: its encoding, and colour where it is a terminal."""
    encoding = stream.encoding or "ascii"
    drawn = bars.draw(
        picture,
        bars.columns(),
        unicode=codecs.lookup(encoding).name == "utf-8",
        colour=stream.isatty() and not os.environ.get("NO_COLOR"),
    )
    return drawn.encode(encoding, "replace")


def write(data: bytes) -> int:
    """Write to stdout; the exit code, and a line on stderr where it is not 0 and somebody still reads."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the interpreter tries again at its exit, and says so
        if not isinstance(error, BrokenPipeError):
            print(f"timeline: stdout cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _refused(said: str) -> RefusedError:
    return RefusedError("".join(c if c.isprintable() else repr(c)[1:-1] for c in said))
