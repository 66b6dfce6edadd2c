"""The command line of smentryctl: one parser, and in it one for each verb. It knows their names, and nothing they do."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys

import smentry
from smentry.ctl import interrupts
from smentry.errors import USAGE, RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

DESCRIPTION = "Show on this machine what the platform would do with a training image, before paying for it."

COMMANDS = (
    "smentry.ctl.run.command",
    "smentry.ctl.serve.command",
    "smentry.ctl.check.command",
    "smentry.ctl.request.command",
    "smentry.ctl.explain",
    "smentry.ctl.timeline",
    "smentry.ctl.manual.command",
)
"""The modules with an `add(commands)`, which adds their verbs to the parser and sets `call` for each: a function
from the parsed arguments to the exit code. They import libraries only inside of what `call` runs."""

FAILED = 1
"""The exit code of what has failed after something was started."""

LIBRARIES = ("boto3", "botocore", "docker", "dockerfile_parse", "regex", "rich", "shtab")
"""What the extra `ctl` installs, as it is imported."""

EXIT_CODES = (
    (0, "done: the Completed of run, a check without findings"),
    (1, "the Failed of run, a check with findings, or what was asked for has failed"),
    (2, "refused before anything was started: a line on stderr says why, and what to do"),
    (3, "the Stopped of run"),
    (130, "interrupted by ^C, SIGTERM or SIGHUP"),
)


class _Parser(argparse.ArgumentParser):
    """Wrong usage is one line, as everything else that is refused. The parsers of the verbs are of this class too."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"smentryctl: {message.removeprefix('argument ')}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """The parser, which is also what the completion and the man page are made from."""
    codes = "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES)
    made = _Parser("smentryctl", description=DESCRIPTION, epilog=f"Exit codes: {codes}.", allow_abbrev=False)
    made.add_argument("-V", "--version", action="version", version=f"smentryctl {smentry.__version__}")
    commands = made.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name in COMMANDS:
        importlib.import_module(name).add(commands)
    return made


def main(words: Sequence[str] | None = None) -> int:
    """Run smentryctl with these words, or with `sys.argv`. Its exit code: 2 where nothing was started."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may be no UTF-8, and a terminal may know ASCII only
            stream.reconfigure(errors="backslashreplace")
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed: what is opened takes the lowest free descriptor, which is its own
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    try:
        with interrupts.raising():
            try:
                return _run(words)
            finally:
                if sys.stdout:
                    sys.stdout.flush()
    except BrokenPipeError:  # `smentryctl … | head`: what reads has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the interpreter tries again at its exit, and says so
        return 1
    except OSError as error:  # a full disk, most likely
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"smentryctl: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(words: Sequence[str] | None) -> int:
    arguments = parser().parse_args(words)
    interrupts.check()
    try:
        code = int(arguments.call(arguments))
        interrupts.check()
        return code
    except RefusedError as refused:
        print(f"smentryctl: {refused.message}", *refused.details, sep="\n", file=sys.stderr)
        return FAILED if refused.code == FAILED else USAGE
    except ModuleNotFoundError as missing:
        library = (missing.name or "").partition(".")[0]
        if library not in LIBRARIES:
            raise
        print(
            f"smentryctl: the Python package {library!r} is not installed; run: pip install 'smentry[ctl]'",
            file=sys.stderr,
        )
        return USAGE
