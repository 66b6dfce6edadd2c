"""`python -m smentry.pid1.timeline FILE`: arguments, files and exit codes. It does not know how anything is drawn."""

from __future__ import annotations

import argparse
import codecs
import os
import sys

from smentry.picture import bars, record, svg
from smentry.picture.layout import layout


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
        with open(options.file, encoding="utf-8", errors="replace") as file:
            runs = record.parse(file)
    except OSError as error:
        return _refuse(f"{options.file} cannot be read: {error.strerror or error}")
    except record.NotATimelineError as error:
        return _refuse(f"{options.file} is no timeline: {error}")
    number = len(runs) if options.run is None else options.run
    if not 1 <= number <= len(runs):
        return _refuse(f"{options.file} has no run {number}: expected --run from 1 to {len(runs)}")
    picture = layout(runs[number - 1], number, len(runs))
    if options.svg:
        return _write(svg.draw(picture).encode("utf-8"))
    encoding = sys.stdout.encoding or "ascii"
    text = bars.draw(
        picture,
        bars.columns(),
        unicode=codecs.lookup(encoding).name == "utf-8",
        colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"),
    )
    return _write(text.encode(encoding, "replace"))


def _refuse(text: str) -> int:
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    print(f"timeline: {line}", file=sys.stderr)
    return 2


def _write(data: bytes) -> int:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the interpreter tries again at its exit, and says so
        if not isinstance(error, BrokenPipeError):
            print(f"timeline: stdout cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return 0
