"""The verb `timeline`: a recorded timeline as text or SVG. How it is read and drawn is smentry.picture's."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add the verb to the parser."""
    made = commands.add_parser(
        "timeline",
        help="draw what smentry has recorded with --timeline",
        description="Draw a stop from its timeline file: what ran, what it was told and when, and where the time went.",
        allow_abbrev=False,
    )
    made.add_argument("file", metavar="FILE", help="what smentry has written with --timeline")
    made.add_argument("--svg", action="store_true", help="an SVG instead of text")
    made.add_argument("--run", type=int, metavar="N", help="run N of the file, from 1 (default: the last)")
    made.add_argument("-o", "--output", metavar="FILE", help="write to this file, not to stdout")
    made.set_defaults(call=_call)


def _call(arguments: argparse.Namespace) -> int:
    import sys

    from smentry.errors import RefusedError
    from smentry.picture import svg, tool

    picture = tool.read(arguments.file, arguments.run)
    if arguments.output is None:
        return tool.write(svg.draw(picture).encode() if arguments.svg else tool.text(picture, sys.stdout))
    try:
        with open(arguments.output, "w", encoding="utf-8") as file:
            file.buffer.write(svg.draw(picture).encode() if arguments.svg else tool.text(picture, file))
    except OSError as error:
        raise RefusedError(f"--output {arguments.output} cannot be written: {error.strerror or error}") from None
    return 0
