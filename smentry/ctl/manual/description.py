"""What there is to say of smentry and of smentryctl: their arguments, as argparse has them, and what goes with them.

The arguments are those of the help itself: smentry's table of options, smentryctl's parser. It knows no shell and no roff.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import takewhile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Rows = Sequence[tuple[str, str]]
    """What it is, and what is said of it."""

PROGRAMS = ("smentryctl", "smentry")


@dataclass(frozen=True)
class Description:
    """A program. Its name is the parser's `prog`."""

    parser: argparse.ArgumentParser
    summary: str
    """What it is, in less than a line."""
    usage: tuple[str, ...]
    """Each way to call it, a line."""
    paragraphs: tuple[str, ...]
    exit_codes: Rows
    environment: Rows
    files: Rows
    see_also: tuple[str, ...]


def of(program: str) -> Description:
    """The description of one of PROGRAMS."""
    return _smentry() if program == "smentry" else _smentryctl()


def verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the verbs, in the order in which the help lists them."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _smentryctl() -> Description:
    from smentry.ctl import main

    parser = main.parser()
    usages = [verb.format_usage() for verb in verbs(parser).values()]
    return Description(
        parser=parser,
        summary="see what the platform would do with a training image",
        usage=(f"{parser.prog} [-h] [-V]", *(" ".join(usage.split()[1:]) for usage in usages)),
        paragraphs=(
            main.DESCRIPTION,
            "It is no part of what runs in the container: that is smentry(1). The libraries that it uses come with the extra "
            "ctl: pip install 'smentry[ctl]'.",
        ),
        exit_codes=tuple((str(code), meaning) for code, meaning in main.EXIT_CODES),
        environment=(
            ("DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH", "where the container engine is, as for docker"),
            ("AWS_ENDPOINT_URL, AWS_PROFILE, AWS_REGION, …", "where S3 is, and with whose rights, as for aws"),
            ("TMPDIR", "where the files of a job are laid out; the engine must see this directory"),
            ("SMENTRYCTL_NAMESPACES", "no: --engine process starts plain processes, whatever the kernel would give"),
            ("NO_COLOR", "where it is not empty, nothing is coloured"),
            ("COLUMNS", "the width, where there is no terminal"),
        ),
        files=(),
        see_also=("smentry(1)", "docker(1)"),
    )


def _smentry() -> Description:
    from smentry import cli, config

    return Description(
        parser=_parser(),
        summary="PID 1 for machine-learning training containers",
        usage=tuple(line[7:].partition("  ")[0] for line in takewhile(_is_usage, cli.help_text().splitlines())),
        paragraphs=(
            "smentry starts one program as PID 1 of a container, hands on the signals it gets, and reaps every process that "
            "ends. Asked to stop, it tells those processes that want to be told, gives them nearly all of the time that the "
            "platform gives, kills what is left, and exits before the platform's SIGKILL.",
            "train and serve are the two words with which the platform starts an image: the program for them is found, any "
            "other word is a command. Options end at the first word that is none.",
            "Each option is also a variable (SMENTRY_STOP_TIMEOUT=90s) and a key of the settings file (stop_timeout: 90s); flag "
            "counts over variable, variable over file. A time (DUR) is 90, 90s, 2m, 1h or 500ms.",
        ),
        exit_codes=(
            ("0, …", "the program's own"),
            ("128+N", "the program died of signal N"),
            ("126", "the program was found, but cannot be executed"),
            ("127", "the program was not found"),
            ("2", "wrong usage or configuration; nothing was started"),
            ("1", "smentry itself failed"),
        ),
        environment=(
            ("SMENTRY_…", "each long option, in capitals and with _ for -: SMENTRY_LOG_FORMAT is --log-format"),
            ("SMENTRY_PYTHON", "the Python that runs scripts; else python3, else python on PATH"),
            ("SAGEMAKER_BASE_DIR", "the base directory, instead of /opt/ml"),
            ("TINI_KILL_PROCESS_GROUP, TINI_VERBOSITY", "as for tini"),
        ),
        files=(
            (config.DEFAULT_FILE, "the settings, where it exists; processes and hooks are keys of it alone"),
            (f"{config.DEFAULT_HOOKS}/EVENT/", "executables that are hooks of that event"),
            ("/opt/ml/input/config/", "where it is there, smentry without arguments is smentry train"),
            ("/opt/ml/output/failure", "why a training job failed"),
        ),
        see_also=("smentryctl(1)", "docker-run(1)", "signal(7)"),
    )


def _is_usage(line: str) -> bool:
    return line.startswith(("usage: ", " " * 7))


def _parser() -> argparse.ArgumentParser:
    """smentry's table of options as a parser: never used to parse, for PID 1 does that without argparse."""
    from smentry import config, job, values
    from smentry.pid1 import signals

    made = argparse.ArgumentParser("smentry", add_help=False, allow_abbrev=False)
    for option in config.OPTIONS:
        own = [f"-{letter}" for letter, value in option.letters.items() if value is None]
        names = [*own, f"--{option.name}"]
        if not option.takes_value:
            made.add_argument(*names, action="store_true", help=option.help)
            continue
        choices: list[str] | None = None
        if isinstance(option.read, values.Choice):
            choices = list(option.read.allowed)
        elif option.metavar == "SIGNAL":
            choices = [signals.name(number).removeprefix("SIG") for number in range(1, 32)]
        repeats = "append" if option.kind == config.LIST else "store"
        made.add_argument(*names, metavar=option.metavar, choices=choices, action=repeats, help=option.help)
        for letter, value in option.letters.items():
            if value is not None:
                made.add_argument(f"-{letter}", action="store_true", help=f"--{option.name} {value}")
    made.add_argument("-s", action="store_true", help="for tini's sake, needless")
    made.add_argument("-l", action="store_true", help="show the licence")
    made.add_argument("-h", "--help", action="help", help="show the help")
    made.add_argument("-V", "--version", action="version", version="", help="show the version")
    made.add_argument("command", metavar="VERB|COMMAND", choices=job.VERBS, help="train, serve or a command")
    made.add_argument("arguments", metavar="ARG", nargs=argparse.REMAINDER, help="its arguments")
    return made
