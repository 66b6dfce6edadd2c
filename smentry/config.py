"""The options, and what flags, variables and the YAML file say about them. It does not know what a job is."""

from __future__ import annotations

import os

from smentry import values
from smentry.errors import RefusedError
from smentry.pid1 import signals
from smentry.values import Choice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from smentry import processfile
    from smentry.hookfile import Configured
    from smentry.yamlfile import Entry

DEFAULT_FILE = "/etc/smentry.yaml"
DEFAULT_HOOKS = "/etc/smentry/hooks.d"

_SHELL_WORDS = frozenset(("&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "2>&1", "&>"))

# -- the options -----------------------------------------------------------------------------------

FLAG, COUNT, VALUE, COMMAND, LIST = "flag", "count", "value", "command", "list"


class Option:
    """One row of the table. `letters` maps each short option to the value it stands for, or to None."""

    __slots__ = ("attribute", "default", "help", "kind", "letters", "metavar", "name", "read")

    def __init__(
        self,
        name: str,
        kind: str,
        read: Callable[[str], Any],
        help: str,
        metavar: str = "",
        letters: Mapping[str, str | None] | None = None,
        default: Any = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.read = read
        self.help = help
        self.metavar = metavar
        self.letters = letters or {}
        self.default = default
        self.attribute = name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable, such as SMENTRY_STOP_TIMEOUT."""
        return "SMENTRY_" + self.attribute.upper()

    @property
    def takes_value(self) -> bool:
        """Whether the flag is followed by a value."""
        return self.kind not in (FLAG, COUNT)


_SCOPES = ("auto", "main", "group", "all")
_PASSED = ("arguments", "environment", "both", "none")
_LAUNCHERS = ("auto", "torchrun", "mpirun", "none")
PROFILES = ("sagemaker", "ecs", "kubernetes", "batch")
OPTIONS = (
    Option("script", VALUE, values.script, "run this file of that channel", "CHANNEL/PATH"),
    Option("train", COMMAND, values.words, "the program for train", "CMD"),
    Option("serve", COMMAND, values.words, "the program for serve", "CMD"),
    Option("stop-timeout", VALUE, values.above_zero, "when SIGKILL comes (120s; 30s for serve)", "DUR"),
    Option("max-runtime", VALUE, values.above_zero, "stop by itself after so long", "DUR"),
    Option("linger", VALUE, values.duration, "time for what is left at the end (10s)", "DUR", default=10.0),
    Option(
        "scope", VALUE, Choice(*_SCOPES), "auto|main|group|all; -c: main, -g: group", "WHO",
        {"c": "main", "g": "group"}, "auto",
    ),
    Option("stop-signals", LIST, values.caught, "what requests a stop (TERM,INT,QUIT)", "LIST", default=(15, 2, 3)),
    Option("rewrite", LIST, values.rewrite, "pass TO on for FROM; FROM:0 drops it", "FROM:TO", {"r": None}, ()),
    Option("success", LIST, values.code, "exit 0 when the program exits CODE", "CODE", {"e": None}, ()),
    Option("serve-signal", VALUE, values.caught, "what a stop tells the program for serve", "SIGNAL"),
    Option("parent-death", VALUE, signals.number, "get SIGNAL when the parent dies", "SIGNAL", {"p": None}),
    Option("wait-all", FLAG, values.truth, "end with the last process, not the main one", default=False),
    Option("user", VALUE, values.user, "run program and hooks as that user", "USER[:GROUP]"),
    Option("warn-on-reap", FLAG, values.truth, "say when an orphan is reaped", "", {"w": None}, False),
    Option("verbose", COUNT, values.count, "say more; twice: still more", "", {"v": None}, 0),
    Option("quiet", FLAG, values.truth, "say errors only", "", {"q": None}, False),
    Option("log-format", VALUE, Choice("text", "json"), "text|json", "FORMAT", default="text"),
    Option("hooks-dir", VALUE, values.path, "executables in DIR/EVENT/ are hooks", "DIR", default=DEFAULT_HOOKS),
    Option("hyperparameters", VALUE, Choice(*_PASSED), "for train: arguments|environment|both|none", "HOW"),
    Option("requirements", VALUE, Choice("install", "ignore"), "install|ignore requirements.txt", "HOW", default="install"),
    Option("launcher", VALUE, Choice(*_LAUNCHERS), "for train: auto|torchrun|mpirun|none", "HOW", default="auto"),
    Option("launcher-processes", VALUE, values.processes, "processes on each host (its GPUs)", "N"),
    Option("launcher-options", COMMAND, values.words, "further words for the launcher", "ARGS"),
    Option("wait-hosts", VALUE, values.duration, "time for all hosts to resolve (15m; 0: none)", "DUR", default=900.0),
    Option("watch-hosts", VALUE, values.silence, "a host silent so long is lost (30s; 0: never)", "DUR", default=30.0),
    Option("tap", VALUE, Choice("auto", "off"), "auto|off: listen to stderr, to say why it failed", "HOW", default="auto"),
    Option("profile", VALUE, Choice(*PROFILES), "stop timeout: sagemaker|ecs|kubernetes|batch", "PLATFORM", default=PROFILES[0]),
    Option("timeline", VALUE, values.path, "add the events of the run to PATH", "PATH"),
    Option("dry-run", FLAG, values.truth, "print what would run, as YAML; start nothing", default=False),
    Option("config", VALUE, str, f"settings ({DEFAULT_FILE})", "FILE"),
)  # fmt: skip
CONFIG = OPTIONS[-1]

_NOT_OPTIONS = frozenset(
    f"SMENTRY_{name}"
    for name in (
        "GRACE_SECONDS", "PYTHON", "PROGRAM", "EVENT", "REASON", "PID", "EXIT_CODE", "SECONDS_LEFT", "STOP_AT", "HOOK",
    )
)  # fmt: skip


class Settings:
    """The value of every option, and where it came from.

    `origins` maps an attribute to `flag --stop-timeout`, `variable SMENTRY_STOP_TIMEOUT`, `file PATH` or
    `default`. Times are seconds; signals are numbers; `stop_timeout` is None where nobody set it. `hooks` are in the
    order in which those of an event run, `processes` (companions) in that in which they are started.
    """

    __slots__ = ("hooks", "origins", "processes", "warnings", *(option.attribute for option in OPTIONS))

    script: str | None
    train: list[str] | None
    serve: list[str] | None
    stop_timeout: float | None
    max_runtime: float | None
    linger: float
    scope: str
    stop_signals: tuple[int, ...]
    rewrite: tuple[tuple[int, int], ...]
    success: tuple[int, ...]
    serve_signal: int | None
    parent_death: int | None
    wait_all: bool
    user: str | None
    warn_on_reap: bool
    verbose: int
    quiet: bool
    log_format: str
    hooks_dir: str
    hyperparameters: str | None
    requirements: str
    launcher: str
    launcher_processes: int | None
    launcher_options: list[str] | None
    wait_hosts: float
    watch_hosts: float
    tap: str
    profile: str
    timeline: str | None
    dry_run: bool
    config: str | None
    hooks: tuple[Configured, ...]
    processes: tuple[processfile.Configured, ...]
    origins: dict[str, str]
    warnings: list[str]

    def __init__(self) -> None:
        self.origins = {}
        self.warnings = []
        self.hooks = ()
        self.processes = ()
        for option in OPTIONS:
            self.put(option, option.default, "default")

    def put(self, option: Option, value: Any, origin: str) -> None:
        """Set an option's value."""
        setattr(self, option.attribute, value)
        self.origins[option.attribute] = origin

    def where(self, attribute: str) -> str:
        """Where a value came from, for a message: `--user`, `SMENTRY_USER`, `/etc/smentry.yaml: user`."""
        kind, _, name = self.origins[attribute].partition(" ")
        return f"{name}: {attribute}" if kind == "file" else name or attribute

    @property
    def verbosity(self) -> int:
        """-1 for errors only, 0, and one more for each `-v`."""
        return -1 if self.quiet else self.verbose


class Flag:
    """An option as it was given: the option, its text (None where it takes none), and how it was written."""

    __slots__ = ("option", "text", "written")

    def __init__(self, option: Option, text: str | None, written: str) -> None:
        self.option = option
        self.text = text
        self.written = written


# -- flag over SMENTRY_ variable over TINI_ variable over file over default ------------------------


def resolve(flags: Sequence[Flag], environment: Mapping[str, str], default_file: str = DEFAULT_FILE) -> Settings:
    """The settings that flags, variables and the configuration file make. Raises RefusedError."""
    settings = Settings()
    given = environment.get(CONFIG.variable)
    if given:
        settings.put(CONFIG, given, f"variable {CONFIG.variable}")
    for flag in flags:
        if flag.option is CONFIG:
            settings.put(CONFIG, flag.text, f"flag {flag.written}")
    lists: dict[str, Entry] = {}
    if settings.config is not None or os.path.exists(default_file):
        from smentry import configfile  # loads PyYAML: only where there is a file

        lists = configfile.apply(settings, default_file if settings.config is None else settings.config)
    _apply_tini(settings, environment)
    _apply_variables(settings, environment)
    _apply_flags(settings, flags)
    for name in ("train", "serve"):
        warn_of_operators(settings, settings.where(name), getattr(settings, name) or ())
    _warn_of_timeline(settings)
    if "hooks" in lists or settings.origins["hooks_dir"] != "default" or os.path.exists(settings.hooks_dir):
        from smentry import hookfile

        hookfile.apply(settings, lists.get("hooks"), environment)
    if "processes" in lists:
        from smentry import processfile

        processfile.apply(settings, lists["processes"], environment)
    return settings


def warn_of_operators(settings: Settings, where: str, command: Sequence[str]) -> None:
    """Warn of a command that seems to want a shell."""
    operator = next((word for word in command if word in _SHELL_WORDS), "")
    if operator:
        settings.warnings.append(f"{where}: {operator!r} is a word like any other without a shell: use sh -c")


def _warn_of_timeline(settings: Settings) -> None:
    """Warn of a record that could not be written now: it is written when smentry leaves, which is late to hear of it."""
    if settings.timeline is None:
        return
    path = os.path.abspath(settings.timeline)
    directory = os.path.dirname(path)
    if os.path.isdir(path):
        why = f"{path} is a directory: expected a file"
    elif not os.path.isdir(directory):
        why = f"there is no directory {directory}"
    elif not os.access(path if os.path.exists(path) else directory, os.W_OK):
        why = f"no permission to write {path}"
    else:
        return
    settings.warnings.append(f"{settings.where('timeline')}: {why}; no record is kept unless that changes")


def value_of(option: Option, text: str, where: str) -> Any:
    """`text` as a value of `option`; a list's elements are parted by commas or blanks. Raises RefusedError."""
    if "\0" in text:
        raise RefusedError(f"{where}: expected text without NUL characters")
    try:
        if option.kind != LIST:
            return option.read(text)
        parts = text.replace(",", " ").split()
        if not parts:
            raise ValueError(f"expected {option.metavar}, got {text!r}")
        return tuple([option.read(part) for part in parts])
    except ValueError as error:
        raise RefusedError(f"{where}: {error}") from None


def _apply_flags(settings: Settings, flags: Sequence[Flag]) -> None:
    seen: set[str] = set()
    for flag in flags:
        option = flag.option
        again = option.attribute in seen
        seen.add(option.attribute)
        value: Any = True
        if option.kind == COUNT:
            value = getattr(settings, option.attribute) + 1 if again else 1
        elif option.takes_value:
            value = value_of(option, flag.text or "", flag.written)
            if option.kind == LIST and again:
                value = getattr(settings, option.attribute) + value
        settings.put(option, value, f"flag {flag.written}")
    if "verbose" in seen and "quiet" not in seen:
        settings.quiet = False


def _apply_variables(settings: Settings, environment: Mapping[str, str]) -> None:
    known = {option.variable: option for option in OPTIONS}
    for name in [name for name in environment if name.startswith("SMENTRY_")]:
        option = known.get(name)
        if option is not None:
            if environment[name]:  # an empty variable is how a Dockerfile's ENV is taken back
                settings.put(option, value_of(option, environment[name], name), f"variable {name}")
                if option.name == "verbose" and not environment.get("SMENTRY_QUIET"):
                    settings.quiet = False
        elif name not in _NOT_OPTIONS and not _of_kubernetes(name, environment[name]):
            settings.warnings.append(f"{name} is no variable of smentry{values.nearest(name, known)}")


def _of_kubernetes(name: str, value: str) -> bool:
    """Whether the kubelet made this variable for a service whose name begins with `smentry`."""
    return "_SERVICE_" in name or "_PORT_" in name or (name.endswith("_PORT") and "://" in value)


def _apply_tini(settings: Settings, environment: Mapping[str, str]) -> None:
    """tini's variables; TINI_SUBREAPER is needless, for smentry is a subreaper wherever it is not PID 1."""
    options = {option.name: option for option in OPTIONS}
    if "TINI_KILL_PROCESS_GROUP" in environment:
        settings.put(options["scope"], "group", "variable TINI_KILL_PROCESS_GROUP")
    text = environment.get("TINI_VERBOSITY", "")
    if text:
        level = value_of(options["verbose"], text, "TINI_VERBOSITY")  # tini's 1 is smentry's 0
        settings.put(options["verbose"], max(0, level - 1), "variable TINI_VERBOSITY")
        settings.put(options["quiet"], level == 0, "variable TINI_VERBOSITY")
