"""The command line: from argv and environment to a running job, or to a line that says why not."""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import NoReturn

    from smentry.config import Flag, Option
    from smentry.pid1.stderr import Log

# Only what the interpreter itself has loaded is imported here: the rest waits until sys.path is sanitised.

_LICENSE = """\
smentry is licensed under the Apache License, Version 2.0: you may use it only in
compliance with that license, and you have a copy of it in the file LICENSE of this
distribution and at https://www.apache.org/licenses/LICENSE-2.0. It comes as it is,
without warranties or conditions of any kind, express or implied.
"""

_USAGE = """\
usage: smentry [OPTIONS] train|serve [ARG...]   the program for the verb
       smentry [OPTIONS] --script CHANNEL/PATH [train|serve] [ARG...]
       smentry [OPTIONS] [--] COMMAND [ARG...]  any command, as under tini
       smentry                                  train, where a job is laid out
"""

_NOTES = """\
  -s                          for tini's sake, needless  -l  show the licence
  -h, --help                  show this                  -V, --version
Each option is also a variable (SMENTRY_STOP_TIMEOUT=90s) and a key of FILE
(stop_timeout: 90s); flag over variable over file. DUR: 90, 90s, 2m, 1h, 500ms.
processes, hooks: keys of FILE; executables in DIR/EVENT/ are hooks; see docs/.
python -m smentry.pid1.timeline PATH draws what --timeline wrote.
SMENTRY_PYTHON: the Python for scripts. SAGEMAKER_BASE_DIR: instead of /opt/ml.
Exit code: the program's; 128+N if it died of signal N; 126 not executable;
127 not found; 2 usage or configuration; 1 smentry failed.
"""

_ACTIONS = {
    "help": "help",
    "version": "version",
    "license": "license",
    "h": "help",
    "V": "version",
    "l": "license",
}


class Invocation:
    """What the arguments say: `action` (help, version, license) or flags, verb and words.

    Without a verb the words are a command, or the arguments of the script. In a `dry_run` nothing is written.
    """

    __slots__ = ("action", "dry_run", "flags", "verb", "words")

    def __init__(self) -> None:
        self.action: str | None = None
        self.dry_run = False
        self.flags: list[Flag] = []
        self.verb: str | None = None
        self.words: list[str] = []


def main(mask: Iterable[int]) -> NoReturn:
    """Do what `sys.argv` and the environment ask for, and end the process with smentry's exit code.

    `mask` is the signal mask that smentry was started with, which the program gets back.
    """
    _fill_standard_descriptors()
    _sanitise_path()
    from smentry.errors import RefusedError
    from smentry.pid1.stderr import Log

    environment = _environment()
    log = Log(0, json=environment.get("SMENTRY_LOG_FORMAT") == "json")
    invocation = Invocation()
    try:
        code = _run(sys.argv, environment, invocation, mask, log)
    except RefusedError as refused:
        from smentry import outcome

        code = outcome.refused(refused, invocation.verb, environment, log, tell=not _is_dry(invocation, environment))
        _last_lines(log)
    except BaseException as error:
        from smentry import outcome

        code = outcome.broken(error, invocation.verb, environment, log, tell=not _is_dry(invocation, environment))
        _last_lines(log)
    # Tearing the interpreter down would cost milliseconds, and there is nothing that it could save.
    os._exit(code)


def _last_lines(log: Log) -> None:
    """Nothing runs: whoever reads stderr has some time for the lines that say why, unless a stop comes."""
    if log.waiting:
        from smentry.pid1 import signals
        from smentry.pid1.stderr import LATE, Patience

        log.catch_up(Patience(time.monotonic() + LATE, (signals.INT, signals.QUIT, signals.TERM)))


def _run(argv: list[str], environment: dict[str, str], invocation: Invocation, mask: Iterable[int], log: Log) -> int:
    from smentry import config, job
    from smentry.errors import RefusedError

    parse(argv, invocation)
    if invocation.action:
        return _print(invocation.action)
    if not invocation.verb and not invocation.words and _is_laid_out(environment):
        invocation.verb = "train"  # no argument at all is how local mode starts a training image
    for flag in invocation.flags:
        log.json = flag.text == "json" if flag.option.name == "log-format" else log.json
    settings = config.resolve(invocation.flags, environment)
    log.verbosity = settings.verbosity
    log.json = settings.log_format == "json"
    invocation.dry_run = settings.dry_run
    if not invocation.verb and not invocation.words and settings.script is None:
        raise RefusedError("no train, serve or command was given, and no --script; smentry --help shows how")
    found = job.resolve(invocation.verb, invocation.words, settings, environment, argv[0])
    if settings.dry_run:
        from smentry import dryrun

        return _write(dryrun.render(found, settings))
    from smentry import run

    return run.run(found, settings, environment, mask, log)


# -- the arguments ---------------------------------------------------------------------------------


def parse(argv: list[str], invocation: Invocation) -> None:
    """Read the arguments into `invocation`; options end at the first word that is none. Raises RefusedError.

    Under the name `train` or `serve` that is the verb, and every argument is the program's.
    """
    from smentry.job import VERBS

    name = os.path.basename(argv[0]) if argv else ""
    if name in VERBS:
        invocation.verb = name
        invocation.words = argv[1:]
        return
    words = argv[1:]
    try:
        while words and words[0].startswith("-") and words[0] != "-":
            word = words.pop(0)
            if word == "--":
                break
            if word.startswith("--"):
                _long(word, words, invocation)
            else:
                _cluster(word, words, invocation)
            if invocation.action:
                return
    finally:
        # After an error too: whether it is a training job decides about the failure file.
        if words and words[0] in VERBS:
            invocation.verb = words.pop(0)
    invocation.words = words


def _long(word: str, words: list[str], invocation: Invocation) -> None:
    from smentry import config, values
    from smentry.errors import RefusedError

    name, equals, text = word[2:].partition("=")
    if name in _ACTIONS and len(name) > 1 and not equals:
        invocation.action = _ACTIONS[name]
        return
    letters = {"single-child": "c"}  # dumb-init's name for its -c
    if name in letters and not equals:
        _cluster(f"-{letters[name]}", words, invocation)
        return
    options = {option.name: option for option in config.OPTIONS}
    option = options.get(name)
    if option is None:
        raise RefusedError(
            f"unknown option --{name}{values.nearest(name, [*options, *_ACTIONS], '--')}; see smentry --help"
        )
    if not option.takes_value:
        if equals:
            raise RefusedError(f"--{name} takes no value, got {text!r}")
        invocation.flags.append(config.Flag(option, None, f"--{name}"))
        return
    invocation.flags.append(config.Flag(option, text if equals else _next(f"--{name}", option, words), f"--{name}"))


def _cluster(word: str, words: list[str], invocation: Invocation) -> None:
    """Short options in one word: -vvg, -e143, or -ve 143."""
    from smentry import config, values
    from smentry.errors import RefusedError

    options = {letter: option for option in config.OPTIONS for letter in option.letters}
    rest = word[1:]
    while rest:
        letter, rest = rest[0], rest[1:]
        if letter in _ACTIONS:
            invocation.action = _ACTIONS[letter]
            return
        if letter == "s":
            continue
        option = options.get(letter)
        if option is None:
            within = f" in {word}" if len(word) > 2 else ""
            name = word[1:].partition("=")[0]
            meant = "" if len(name) < 3 else values.nearest(name, [o.name for o in config.OPTIONS], "--")
            raise RefusedError(f"unknown option -{letter}{within}{meant}; see smentry --help")
        text = option.letters[letter]
        if text is None and option.takes_value:
            text, rest = (rest, "") if rest else (_next(f"-{letter}", option, words), "")
        invocation.flags.append(config.Flag(option, text, f"-{letter}"))


def _next(written: str, option: Option, words: list[str]) -> str:
    from smentry.errors import RefusedError

    if not words:
        raise RefusedError(f"{written} needs a value: expected {written} {option.metavar}")
    return words.pop(0)


# -- what is said ----------------------------------------------------------------------------------


def _is_dry(invocation: Invocation, environment: Mapping[str, str]) -> bool:
    """Whether nothing is to be written, as far as that is known after an error."""
    asked = any(flag.option.name == "dry-run" for flag in invocation.flags)
    return invocation.dry_run or asked or bool(environment.get("SMENTRY_DRY_RUN"))


def _is_laid_out(environment: Mapping[str, str]) -> bool:
    from smentry.sagemaker.layout import Layout

    return os.path.isdir(Layout.of(environment).config)


def _print(action: str) -> int:
    from smentry import __version__

    if action == "version":
        return _write(f"smentry {__version__}\n")
    return _write(_LICENSE if action == "license" else help_text())


def help_text() -> str:
    """The text of --help, made from the table of options."""
    from smentry import config

    lines = [_USAGE]
    for option in config.OPTIONS:
        letter = next((letter for letter, implied in option.letters.items() if implied is None), "")
        left = f"  {'-' + letter + ',' if letter else '   '} --{option.name} {option.metavar}".rstrip()
        lines.append(f"{left:<29} {option.help}\n")
    return "".join([*lines, _NOTES])


def _write(text: str) -> int:
    """Write to stdout; 1 where that fails."""
    data = text.encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        return 1
    return 0


# -- the surroundings ------------------------------------------------------------------------------


def _fill_standard_descriptors() -> None:
    """Put /dev/null where stdin, stdout or stderr is closed: a pipe of smentry's own would take its number, and get what
    is meant for stderr. The program finds them closed as they were (os.open makes descriptors close at exec)."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            try:
                os.open("/dev/null", os.O_RDWR)  # the lowest free number, open(2)
            except OSError:
                pass  # an image without /dev; then nothing is said


def _sanitise_path() -> None:
    """Take the user's directories out of sys.path: a `yaml.py` beside a training script must not break PID 1.

    The directory that smentry itself was loaded from stays, as the last.
    """
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    theirs = {os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(":") if entry}
    theirs.add(os.path.dirname(os.path.abspath(sys.argv[0])))
    theirs.add(os.path.realpath("/proc/self/cwd"))  # os.getcwd() fails where the directory is gone
    kept = [entry for entry in sys.path if entry and os.path.abspath(entry) not in theirs]
    if own not in kept:
        kept.append(own)
    sys.path[:] = kept


def _environment() -> dict[str, str]:
    """The environment that smentry was started with.

    CPython may have put LC_CTYPE into it (PEP 538, locale coercion): the program is not to get that.
    """
    environment = dict(os.environ)
    environment.pop("", None)  # `=x=1`: no program could be executed with it
    if environment.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8"):
        try:
            with open("/proc/self/environ", "rb") as file:
                if b"\0LC_CTYPE=" not in b"\0" + file.read():
                    del environment["LC_CTYPE"]
        except OSError:
            pass  # without /proc there is no telling: leave it
    return environment
