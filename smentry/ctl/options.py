"""What options of several verbs have in common: the options themselves, and what their values may be. It knows no verb."""

from __future__ import annotations

import argparse
import re

from smentry import values

ENGINES = DOCKER, PROCESS = "docker", "process"


def add_colour(parser: argparse._ActionsContainer) -> None:
    """The options that say whether the log is coloured."""
    parser.add_argument(
        "--colour",
        "--color",
        metavar="WHEN",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto, always or never (%(default)s)",
    )
    parser.add_argument(
        "--no-colour", "--no-color", dest="colour", action="store_const", const="never", help="as --colour never"
    )


def add_stop_timeout(parser: argparse._ActionsContainer, seconds: float) -> None:
    """The option for how long a host has for its end; `seconds`: what the platform gives."""
    parser.add_argument(
        "--stop-timeout",
        metavar="DUR",
        type=duration,
        default=seconds,
        help=f"from SIGTERM to SIGKILL (the platform's {seconds:g}s)",
    )


def add_gpus(parser: argparse._ActionsContainer) -> None:
    """The option for GPUs; None where it is not given."""
    parser.add_argument("--gpus", metavar="N|all", type=gpus, help="as `docker run --gpus`")


def pair(text: str) -> tuple[str, str]:
    """K=V."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, value


def count(text: str) -> int:
    """A whole number from 1."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def duration(text: str) -> float:
    """Seconds of a duration: `90`, `90s`, `2m`, `1h`, `500ms`."""
    try:
        return values.duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def gpus(text: str) -> str:
    """`all` or a number from 1."""
    if text != "all" and not re.fullmatch("[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"expected all or a number, got {text!r}")
    return text
