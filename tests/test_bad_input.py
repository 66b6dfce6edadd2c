"""Wrong command lines, variables, files and channel layouts: one clear line each, and nothing is started."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from container import PYTHON, SHELL, TOUCH, Directory, Executable, Fifo, Link, Tree

if TYPE_CHECKING:
    from running import Starter


class Case(NamedTuple):
    """Something wrong, smentry's exit code for it, and what its one line must say."""

    name: str
    arguments: list[str]
    code: int
    says: tuple[str, ...]
    variables: dict[str, str] = {}  # noqa: RUF012 - never changed
    files: dict[str, Any] = {}  # noqa: RUF012
    config: str | bytes | None = None
    listed: bool = False

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def flags(name: str, arguments: list[str], *says: str) -> Case:
    """A wrong option before a command that would leave a trace."""
    return Case(f"flag {name}", [*arguments, *TOUCH], 2, says)


def last(name: str, arguments: list[str], *says: str) -> Case:
    """Arguments that are wrong as a whole."""
    return Case(f"line {name}", arguments, 2, says)


def variable(name: str, value: str, *says: str) -> Case:
    """A variable with a wrong value."""
    return Case(f"variable {name}={value!r}", TOUCH, 2, (name + ":", *says), {name: value})


def file(name: str, text: str | bytes, *says: str) -> Case:
    """A wrong configuration file."""
    return Case(f"file {name}", TOUCH, 2, ("bad.yaml", *says), config=text)


def command(name: str, arguments: list[str], code: int, *says: str, **files: Any) -> Case:
    """A plain command that cannot be run."""
    return Case(f"command {name}", arguments, code, says, files={f"bin/{key}": value for key, value in files.items()})


def train(name: str, code: int, *says: str, listed: bool = False, **more: Any) -> Case:
    """`smentry train` in a tree that is wrong."""
    return Case(f"train {name}", ["train"], code, says, listed=listed, **more)


def script(name: str, text: str, code: int, *says: str, **more: Any) -> Case:
    """`smentry --script TEXT`."""
    return Case(f"script {name}", ["--script", text], code, says, **more)


def channel(mode: str = "File", distribution: str = "FullyReplicated") -> dict[str, str]:
    return {"TrainingInputMode": mode, "S3DistributionType": distribution}


DATA = "input/data"
DESCRIBED = "input/config/inputdataconfig.json"
PARAMETERS = "input/config/hyperparameters.json"
CODE = f"{DATA}/code"
BOM = "\ufeff"

FLAGS = [
    flags("unknown", ["--bogus"], "unknown option --bogus", "smentry --help"),
    flags("misspelt scope", ["--scop=main"], "unknown option --scop", "did you mean --scope?"),
    flags("misspelt stop-timeout", ["--stop-timout", "3s"], "--stop-timout", "did you mean --stop-timeout?"),
    flags("underscore", ["--stop_timeout=3s"], "--stop_timeout", "did you mean --stop-timeout?"),
    flags("misspelt script", ["--scrpt=a/b"], "did you mean --script?"),
    flags("misspelt quiet", ["--quite"], "did you mean --quiet?"),
    flags("misspelt version", ["--versoin"], "did you mean --version?"),
    flags("abbreviated", ["--rew=TERM:INT"], "unknown option --rew"),
    flags("upper case", ["--SCOPE=main"], "unknown option --SCOPE"),
    flags("triple dash", ["---scope=main"], "unknown option ---scope"),
    flags("equals only", ["--=x"], "unknown option --"),
    flags("unknown letter", ["-x"], "unknown option -x"),
    flags("unknown letter in cluster", ["-vxw"], "unknown option -x in -vxw"),
    flags("digit", ["-9"], "unknown option -9"),
    flags("single dash long", ["-quiet"], "unknown option -u in -quiet", "did you mean --quiet?"),
    flags("umlaut", ["-ü"], "unknown option -ü"),
    flags("wait-all with value", ["--wait-all=yes"], "--wait-all takes no value", "'yes'"),
    flags("quiet with value", ["--quiet="], "--quiet takes no value"),
    flags("verbose with value", ["--verbose=2"], "--verbose takes no value", "'2'"),
    flags("dry-run with value", ["--dry-run=false"], "--dry-run takes no value"),
    flags("warn-on-reap with value", ["--warn-on-reap=1"], "takes no value"),
    flags("help with value", ["--help=me"], "unknown option --help"),
    flags("scope", ["--scope=everyone"], "--scope:", "expected auto, main, group or all", "'everyone'"),
    flags("scope empty", ["--scope="], "--scope:", "got ''"),
    flags("scope upper", ["--scope", "MAIN"], "--scope:", "'MAIN'"),
    flags("log-format", ["--log-format=xml"], "--log-format:", "expected text or json", "'xml'"),
    flags("log-format empty", ["--log-format", ""], "--log-format:", "got ''"),
    flags("success too big", ["-e", "256"], "-e:", "exit code from 0 to 255", "'256'"),
    flags("success joined", ["-e1000"], "-e:", "'1000'"),
    flags("success negative", ["-e", "-1"], "-e:", "'-1'"),
    flags("success word", ["--success=ok"], "--success:", "'ok'"),
    flags("success fraction", ["--success=1.5"], "--success:", "'1.5'"),
    flags("success hex", ["--success=0x10"], "--success:", "'0x10'"),
    flags("success empty", ["--success="], "--success:", "expected CODE"),
    flags("success list with word", ["-e", "3,four"], "-e:", "'four'"),
    flags("success digit of another script", ["-e", "٣"], "-e:", "exit code from 0 to 255"),
    flags("rewrite without colon", ["-r", "TERM"], "-r:", "expected FROM:TO", "'TERM'"),
    flags("rewrite without target", ["-r", "TERM:"], "-r:", "expected FROM:TO", "'TERM:'"),
    flags("rewrite without source", ["--rewrite=:INT"], "--rewrite:", "expected FROM:TO"),
    flags("rewrite three", ["-rTERM:INT:QUIT"], "-r:", "'INT:QUIT' is not a signal"),
    flags("rewrite unknown source", ["-rFOO:INT"], "-r:", "'FOO' is not a signal"),
    flags("rewrite unknown target", ["-r", "TERM:FOO"], "-r:", "'FOO' is not a signal"),
    flags("rewrite number too big", ["-r", "65:15"], "-r:", "'65' is not a signal", "from 1 to 64"),
    flags("rewrite from 0", ["-r", "0:15"], "-r:", "'0' is not a signal"),
    flags("rewrite KILL", ["-r", "KILL:TERM"], "-r:", "can be caught", "'KILL'"),
    flags("rewrite STOP", ["-r", "19:TERM"], "-r:", "can be caught", "'19'"),
    flags("rewrite CHLD", ["-r", "CHLD:TERM"], "-r:", "CHLD", "reaped"),
    flags("rewrite empty", ["--rewrite="], "--rewrite:", "expected FROM:TO"),
    flags("rewrite equals", ["-r", "TERM=INT"], "-r:", "expected FROM:TO"),
    flags("parent-death unknown", ["-p", "SIGFOO"], "-p:", "'SIGFOO' is not a signal"),
    flags("parent-death 0", ["-p0"], "-p:", "'0' is not a signal"),
    flags("parent-death real-time out of range", ["--parent-death=RTMIN+99"], "--parent-death:", "RTMIN+99"),
    flags("parent-death empty", ["--parent-death="], "--parent-death:", "is not a signal"),
    flags("stop-signals unknown", ["--stop-signals=TERM,FOO"], "--stop-signals:", "'FOO' is not a signal"),
    flags("stop-signals KILL", ["--stop-signals=KILL"], "--stop-signals:", "can be caught"),
    flags("stop-signals empty", ["--stop-signals="], "--stop-signals:", "expected LIST"),
    flags("stop-signals commas", ["--stop-signals=,,"], "--stop-signals:", "expected LIST", "',,'"),
    flags("stop-timeout word", ["--stop-timeout=soon"], "--stop-timeout:", "90s, 2m, 1h or 500ms", "'soon'"),
    flags("stop-timeout unit", ["--stop-timeout=3d"], "--stop-timeout:", "'3d'"),
    flags("stop-timeout unit only", ["--stop-timeout=s"], "--stop-timeout:", "'s'"),
    flags("stop-timeout negative", ["--stop-timeout=-5"], "--stop-timeout:", "'-5'"),
    flags("stop-timeout two units", ["--stop-timeout=1m30s"], "--stop-timeout:", "'1m30s'"),
    flags("stop-timeout infinite", ["--stop-timeout=inf"], "--stop-timeout:", "'inf'"),
    flags("stop-timeout nan", ["--stop-timeout=nan"], "--stop-timeout:", "'nan'"),
    flags("stop-timeout exponent", ["--stop-timeout=1e3"], "--stop-timeout:", "'1e3'"),
    flags("stop-timeout empty", ["--stop-timeout="], "--stop-timeout:", "got ''"),
    flags("stop-timeout zero", ["--stop-timeout=0"], "--stop-timeout:", "above 0"),
    flags(
        "stop-timeout 1s",
        ["--stop-timeout=1s"],
        "--stop-timeout:",
        "leaves the program 0.9 s",
        "1.12s or more",
    ),
    flags("stop-timeout 500ms", ["--stop-timeout", "500ms"], "--stop-timeout:", "leaves the program 0.45 s"),
    flags("stop-timeout years", ["--stop-timeout=99999h"], "--stop-timeout:", "at most 366 days"),
    flags("stop-timeout astronomical", ["--stop-timeout=" + "9" * 400], "--stop-timeout:", "at most 366 days"),
    flags("stop-timeout eats the verb", ["--stop-timeout", "train"], "--stop-timeout:", "got 'train'"),
    flags("max-runtime zero", ["--max-runtime=0s"], "--max-runtime:", "above 0", "'0s'"),
    flags("max-runtime word", ["--max-runtime", "forever"], "--max-runtime:", "'forever'"),
    flags("max-runtime comma", ["--max-runtime=1,5h"], "--max-runtime:", "'1,5h'"),
    flags("linger word", ["--linger=long"], "--linger:", "'long'"),
    flags("linger negative", ["--linger=-1s"], "--linger:", "'-1s'"),
    flags("linger dots", ["--linger=1.2.3s"], "--linger:", "'1.2.3s'"),
    flags("user unknown", ["--user=no-such-user"], "--user:", "no user 'no-such-user' in /etc/passwd"),
    flags(
        "user unknown group",
        ["--user=root:no-such-group"],
        "--user:",
        "no group 'no-such-group' in /etc/group",
    ),
    flags("user empty", ["--user="], "--user:", "expected USER or USER:GROUP"),
    flags("user empty group", ["--user=root:"], "--user:", "USER:GROUP", "'root:'"),
    flags("user group only", ["--user", ":root"], "--user:", "':root'"),
    flags("user too big", ["--user=4294967295"], "--user:", "from 0 to 4294967294"),
    flags("user much too big", ["--user=99999999999999999999"], "--user:", "from 0 to 4294967294"),
    flags("group too big", ["--user=0:4294967295"], "--user:", "from 0 to 4294967294"),
    flags("user negative", ["--user=-1"], "--user:", "no user '-1'"),
    flags("train empty", ["--train="], "--train:", "expected a command", "''"),
    flags("train blanks", ["--train", "  "], "--train:", "expected a command"),
    flags("train open quote", ["--train", "python 'x"], "--train:", "no closing quotation"),
    flags("serve open quote", ["--serve", 'python "x'], "--serve:", "no closing quotation"),
    flags("serve trailing backslash", ["--serve", "python \\"], "--serve:", "no escaped character"),
    flags("train quoted nothing", ["--train", "''"], "--train:", "expected a command"),
    flags("script without slash", ["--script=train.py"], "--script:", "expected CHANNEL/PATH", "'train.py'"),
    flags("script without path", ["--script=code/"], "--script:", "CHANNEL/PATH", "'code/'"),
    flags("script without channel", ["--script=/train.py"], "--script:", "CHANNEL/PATH"),
    flags("script absolute", ["--script=/opt/ml/input/data/code/train.py"], "--script:", "CHANNEL/PATH"),
    flags("script absolute in channel", ["--script=code//etc/passwd"], "--script:", "inside the channel"),
    flags("script dots", ["--script=code/../other/x.sh"], "--script:", "no '..'"),
    flags("script dots first", ["--script=../x.sh"], "--script:", "'../x.sh'"),
    flags("script dots last", ["--script=code/a/.."], "--script:", "no '..'"),
    flags("script dot channel", ["--script=./x.sh"], "--script:", "'./x.sh'"),
    flags("script empty", ["--script="], "--script:", "got ''"),
    flags("config missing", ["--config=/no/such/file.yaml"], "--config: /no/such/file.yaml", "no such file"),
    flags("config directory", ["--config", "/etc"], "--config: /etc is a directory", "expected a YAML file"),
    flags("config device", ["--config=/dev/zero"], "--config: /dev/zero is not a regular file"),
    flags("config empty name", ["--config="], "--config:", "got ''"),
    flags("config below a file", ["--config=/etc/passwd/x.yaml"], "--config:", "not a directory"),
    flags(
        "config is passwd",
        ["--config=/etc/passwd"],
        "/etc/passwd:1",
        "expected keys and values",
        "plain text",
    ),
]

LINES = [
    last("nothing", [], "no train, serve or command was given", "smentry --help"),
    last("only dashes", ["--"], "no train, serve or command"),
    last("only options", ["-v", "--scope=main"], "no train, serve or command"),
    last("success without value", ["-e"], "-e needs a value: expected -e CODE"),
    last("cluster without value", ["-vwe"], "-e needs a value"),
    last("rewrite without value", ["-r"], "-r needs a value: expected -r FROM:TO"),
    last("parent-death without value", ["-v", "-p"], "-p needs a value: expected -p SIGNAL"),
    last("stop-timeout without value", ["--stop-timeout"], "--stop-timeout needs a value", "DUR"),
    last("script without value", ["--script"], "--script needs a value", "CHANNEL/PATH"),
    last("config without value", ["-q", "--config"], "--config needs a value", "FILE"),
    last("train option without value", ["--train"], "--train needs a value", "CMD"),
    last("unknown before train", ["--bogus", "train"], "unknown option --bogus"),
    last("bad value before train", ["--linger=x", "train"], "--linger:", "'x'"),
    last("bad value before serve", ["--linger=x", "serve"], "--linger:", "'x'"),
    last("budget of serve", ["--stop-timeout=1s", "serve"], "leaves the program 0.9 s"),
]

VARIABLES = [
    variable("SMENTRY_SCOPE", "everybody", "expected auto, main, group or all", "'everybody'"),
    variable("SMENTRY_STOP_TIMEOUT", "soon", "'soon'"),
    variable("SMENTRY_STOP_TIMEOUT", "1s", "leaves the program 0.9 s"),
    variable("SMENTRY_STOP_TIMEOUT", "0", "above 0"),
    variable("SMENTRY_MAX_RUNTIME", "-1", "'-1'"),
    variable("SMENTRY_MAX_RUNTIME", "0", "above 0"),
    variable("SMENTRY_LINGER", "10 seconds", "'10 seconds'"),
    variable("SMENTRY_STOP_SIGNALS", "TERM INTERRUPT", "'INTERRUPT' is not a signal"),
    variable("SMENTRY_STOP_SIGNALS", " ", "expected LIST"),
    variable("SMENTRY_REWRITE", "TERM:INT,HUP", "expected FROM:TO", "'HUP'"),
    variable("SMENTRY_REWRITE", "KILL:TERM", "can be caught"),
    variable("SMENTRY_SUCCESS", "0,256", "'256'"),
    variable("SMENTRY_SUCCESS", "0;3", "'0;3'"),
    variable("SMENTRY_PARENT_DEATH", "yes", "'yes' is not a signal"),
    variable("SMENTRY_WAIT_ALL", "maybe", "expected true or false", "'maybe'"),
    variable("SMENTRY_WAIT_ALL", "2", "expected true or false"),
    variable("SMENTRY_WARN_ON_REAP", "x", "expected true or false"),
    variable("SMENTRY_QUIET", "very", "expected true or false"),
    variable("SMENTRY_DRY_RUN", "please", "expected true or false"),
    variable("SMENTRY_VERBOSE", "much", "from 0 to 9"),
    variable("SMENTRY_VERBOSE", "-1", "from 0 to 9"),
    variable("SMENTRY_LOG_FORMAT", "JSON5", "expected text or json"),
    variable("SMENTRY_USER", "no-such-user", "no user 'no-such-user'"),
    variable("SMENTRY_USER", "root:no-such-group", "no group 'no-such-group'"),
    variable("SMENTRY_TRAIN", "python 'x", "no closing quotation"),
    variable("SMENTRY_SERVE", "   ", "expected a command"),
    variable("SMENTRY_SCRIPT", "x.sh", "expected CHANNEL/PATH"),
    variable("SMENTRY_SCRIPT", "code/../../x.sh", "no '..'"),
    variable("SMENTRY_CONFIG", "/no/such.yaml", "/no/such.yaml cannot be read", "no such file"),
    variable("SMENTRY_CONFIG", "/proc", "/proc is a directory"),
    variable("TINI_VERBOSITY", "loud", "from 0 to 9", "'loud'"),
]

FILES = [
    file("unknown key", "stop_timeot: 90s\n", ":1: 'stop_timeot' is no key", "did you mean stop_timeout?"),
    file("dashes in key", "stop-timeout: 90s\n", ":1: 'stop-timeout'", "did you mean stop_timeout?"),
    file("nothing like a key", "frobnicate: 1\n", ":1: 'frobnicate' is no key", "the keys are script, train"),
    file("second line", "scope: main\nlingr: 3s\n", ":2: 'lingr'", "did you mean linger?"),
    file("config in the file", "config: /etc/x.yaml\n", ":1: 'config' is no key"),
    file("hooks of tomorrow", "hooks: []\n", ":1: 'hooks' is no key"),
    file("duplicate key", "scope: main\nlinger: 3s\nscope: all\n", ":3: scope is there twice, first in line 1"),
    file("list", "- scope\n- main\n", ":1: expected keys and values", "a list"),
    file("text", "just text\n", ":1: expected keys and values", "plain text"),
    file("number", "42\n", "expected keys and values"),
    file("two documents", "scope: main\n---\nscope: all\n", ":2:1: not YAML", "document"),
    file("tab", "train:\n\t- python\n", ":2:1: not YAML", "'\\\\t'"),
    file("open bracket", "train: [python, x.py\n", "not YAML"),
    file("open quote", "train: 'python\nx.py\n", "not YAML", "quoted scalar"),
    file("bad indentation", "scope: main\n  linger: 3s\n", ":2:", "not YAML"),
    file("two colons", "scope: main: all\n", ":1:12: not YAML"),
    file("undefined alias", "train: *python\n", ":1:8: not YAML", "alias"),
    file("bad directive", "%YAML 9.9\n---\nscope: main\n", "not YAML"),
    file("at sign", "scope: @main\n", ":1:8: not YAML"),
    file("control character", b"scope: ma\x07in\n", "not YAML"),
    file("latin-1", "scope: main\n# für\n".encode("latin-1"), ":2: expected UTF-8 text", "0xfc"),
    file("UTF-16", "scope: main\n".encode("utf-16"), ":1: expected UTF-8 text", "0xff"),
    file("binary", b"\x7fELF\x02\x01\x01\x00\x00", "not YAML"),
    file("deep", "[" * 3000, "nested too deeply"),
    file("large", "# " + "x" * (1 << 20), "larger than 1 MiB"),
    file("key is a list", "[a, b]: c\n", ":1: expected a key"),
    file("scope wrong", "scope: everybody\n", ":1: scope: expected auto, main, group or all", "'everybody'"),
    file("scope list", "scope: [main]\n", ":1: scope: expected WHO", "a list"),
    file("scope nothing", "scope:\n", ":1: scope: expected WHO", "nothing"),
    file("scope mapping", "scope: {main: 1}\n", ":1: scope: expected WHO", "a mapping"),
    file("stop_timeout word", "stop_timeout: soon\n", ":1: stop_timeout: expected a time such as", "'soon'"),
    file("stop_timeout list", "stop_timeout: [1, 2]\n", ":1: stop_timeout: expected DUR", "a list"),
    file("stop_timeout nothing", "stop_timeout: ~\n", ":1: stop_timeout: expected DUR", "nothing"),
    file("stop_timeout true", "stop_timeout: true\n", ":1: stop_timeout:", "'true'"),
    file(
        "stop_timeout budget",
        "stop_timeout: 1\n",
        "stop_timeout: a stop timeout of 1 s leaves the program 0.9 s",
    ),
    file("max_runtime zero", "max_runtime: 0\n", ":1: max_runtime:", "above 0"),
    file("linger negative", "linger: -3s\n", ":1: linger:", "'-3s'"),
    file("rewrite element", "rewrite: [TERM:INT, HUP]\n", ":1: rewrite[1]: expected FROM:TO", "'HUP'"),
    file("rewrite element on a line", "rewrite:\n  - TERM:INT\n  - HUP:FOO\n", ":3: rewrite[1]:", "'FOO'"),
    file("rewrite with blank", "rewrite:\n  - TERM: INT\n", ":2: rewrite[0]: expected FROM:TO", "a mapping"),
    file("rewrite mapping", "rewrite: {TERM: INT}\n", ":1: rewrite:", "a mapping"),
    file("rewrite empty list", "rewrite: []\n", ":1: rewrite: expected", "an empty one"),
    file("rewrite sexagesimal", "rewrite: [65:15]\n", ":1: rewrite[0]:", "'65' is not a signal"),
    file("rewrite nothing", "rewrite: [TERM:INT, ~]\n", ":1: rewrite[1]: expected FROM:TO", "nothing"),
    file("rewrite nested", "rewrite: [[TERM:INT]]\n", ":1: rewrite[0]: expected FROM:TO", "a list"),
    file("rewrite of itself", "rewrite: &x [*x]\n", "rewrite[0]: expected FROM:TO", "a list"),
    file("success element", "success: [0, 3, 256]\n", ":1: success[2]: expected an exit code", "'256'"),
    file("success word", "success: ok\n", ":1: success: expected an exit code", "'ok'"),
    file("success true", "success: [true]\n", ":1: success[0]:", "'true'"),
    file("stop_signals KILL", "stop_signals: [TERM, KILL]\n", ":1: stop_signals[1]:", "can be caught"),
    file("stop_signals empty", "stop_signals: []\n", ":1: stop_signals: expected", "an empty one"),
    file("parent_death", "parent_death: SIGFOO\n", ":1: parent_death: 'SIGFOO' is not a signal"),
    file("wait_all word", "wait_all: sometimes\n", ":1: wait_all: expected true or false", "'sometimes'"),
    file("wait_all number", "wait_all: 7\n", ":1: wait_all: expected true or false"),
    file("wait_all list", "wait_all: [true]\n", ":1: wait_all: expected true or false", "a list"),
    file("verbose word", "verbose: much\n", ":1: verbose: expected a number from 0 to 9"),
    file("quiet number", "quiet: 3\n", ":1: quiet: expected true or false"),
    file("log_format", "log_format: xml\n", ":1: log_format: expected text or json"),
    file("train empty", "train: ''\n", ":1: train: expected a command"),
    file("train empty list", "train: []\n", ":1: train: expected a command", "an empty one"),
    file("train mapping", "train: {python: x.py}\n", ":1: train: expected a command", "a mapping"),
    file("train nothing", "train:\n", ":1: train: expected a command", "nothing"),
    file("train with mapping", "train: [python, {x: y}]\n", ":1: train[1]: expected a word", "a mapping"),
    file("train with nothing", "train:\n  - python\n  -\n", ":3: train[1]: expected a word", "nothing"),
    file("train NUL", 'train: ["py\\0thon"]\n', ":1: train[0]: expected text without NUL"),
    file("serve open quote", "serve: python 'x\n", ":1: serve:", "no closing quotation"),
    file("script", "script: x.sh\n", ":1: script: expected CHANNEL/PATH", "'x.sh'"),
    file("script dots", "script: code/../x.sh\n", ":1: script:", "no '..'"),
    file("script NUL", 'script: "code/x\\0.sh"\n', ":1: script: expected text without NUL"),
    file("user", "user: no-such-user\n", "user: no user 'no-such-user'"),
    file("user list", "user: [root, root]\n", ":1: user: expected USER[:GROUP]", "a list"),
]

COMMANDS = [
    command("missing", ["no-such-command"], 127, "no-such-command: not found on PATH"),
    command("empty word", [""], 127, "the command is an empty word"),
    command("missing path", ["/no/such/command"], 127, "/no/such/command: no such file"),
    command("missing relative", ["./no-such-command"], 127, "./no-such-command: no such file"),
    command("dash", ["-"], 127, "-: not found on PATH"),
    command("below a file", ["/etc/passwd/x"], 127, "not a directory"),
    command("directory", ["/etc"], 126, "/etc: is a directory"),
    command("device", ["/dev/null"], 126, "/dev/null: is a device"),
    command("no bit", ["{bin}/plain"], 126, "has no executable bit", "chmod +x", plain="#!/bin/sh\n" + SHELL),
    command("no bit on PATH", ["plain"], 126, "has no executable bit", plain="#!/bin/sh\n" + SHELL),
    command("directory on PATH", ["folder"], 126, "is a directory", folder=Directory()),
    command("FIFO on PATH", ["fifo"], 126, "is a FIFO", fifo=Fifo()),
    command("empty", ["nothing"], 126, "is empty", nothing=Executable("")),
    command("dangling link", ["{bin}/link"], 127, "is a link to", "not there", link=Link("{other}/gone")),
    command("CRLF", ["dos"], 126, "CRLF", "'/bin/sh\\\\r'", dos=Executable("#!/bin/sh\r\ntouch x\r\n")),
    command("CRLF without #!", ["dos"], 126, "CRLF", dos=Executable('touch "$MARKER"\r\nexit 0\r\n')),
    command("interpreter", ["x"], 127, "interpreter is missing", "/no/such", x=Executable("#!/no/such\n")),
    command("env", ["x"], 127, "'no-such' is not found", x=Executable("#!/usr/bin/env no-such\n")),
    command("env -S", ["x"], 127, "'nope' is not found", x=Executable("#!/usr/bin/env -S nope -u\n")),
    command("env -S variable", ["x"], 127, "'nope'", x=Executable("#!/usr/bin/env -S A=1 nope -u\n")),
    command("env without -S", ["x"], 127, "'sh -e'", "-S", x=Executable("#!/usr/bin/env sh -e\n")),
    command("no interpreter", ["x"], 126, "names no interpreter", x=Executable("#!\n" + SHELL)),
    command("blank interpreter", ["x"], 126, "names no interpreter", x=Executable("#!  \n" + SHELL)),
    command("directory interpreter", ["x"], 126, "cannot be executed", x=Executable("#!/etc\n" + SHELL)),
    command("plain interpreter", ["x"], 126, "cannot be executed", x=Executable("#!/etc/passwd\n" + SHELL)),
    command("byte order mark", ["x"], 126, "byte order mark", x=Executable(BOM + "#!/bin/sh\n" + SHELL)),
    command("after dashes", ["--", "no-such-command"], 127, "no-such-command: not found"),
    command("looks like a verb", ["Train"], 127, "Train: not found on PATH"),
]

SCRIPTS = [
    script("no channels", "code/x.sh", 127, "no channel 'code'", "there are no channels"),
    script("unknown channel", "cod/x.sh", 127, "no channel 'cod'", "the channels are code, data",
           files={f"{CODE}/x.sh": SHELL, f"{DATA}/data/x": "1"}),
    script("described channel only", "x/x.sh", 127, "no channel 'x'", "the channels are code",
           files={DESCRIBED: {"code": channel()}}),
    script("no such file", "code/y.sh", 127, "no file 'y.sh' in channel code", "it holds a.txt, x.sh",
           files={f"{CODE}/x.sh": SHELL, f"{CODE}/a.txt": "1"}),
    script("no such file below", "code/sub/x.sh", 127, "no file 'sub/x.sh'", files={f"{CODE}/x.sh": SHELL}),
    script("empty channel", "code/x.sh", 127, "no file 'x.sh'", "it is empty", files={CODE: Directory()}),
    script("channel without directory", "code/x.sh", 127, "no file 'x.sh'", "cannot be listed",
           files={DESCRIBED: {"code": channel()}}),
    script("file as directory", "code/x.sh/y", 127, "no file 'x.sh/y'", files={f"{CODE}/x.sh": SHELL}),
    script("Pipe", "code/x.sh", 126, "InputMode Pipe", "use InputMode File",
           files={DESCRIBED: {"code": channel("Pipe")}, f"{DATA}/code_0": Fifo()}),
    script("Pipe without description", "code/x.sh", 126, "InputMode Pipe", files={f"{DATA}/code_0": Fifo()}),
    script("directory", "code/sub", 126, "is a directory", files={f"{CODE}/sub/x.sh": SHELL}),
    script("FIFO", "code/x.sh", 126, "is a FIFO", files={f"{CODE}/x.sh": Fifo()}),
    script("empty", "code/x.sh", 126, "is empty", files={f"{CODE}/x.sh": ""}),
    script("empty Python", "code/x.py", 126, "is empty", files={f"{CODE}/x.py": ""}),
    script("unknown ending", "code/x.txt", 126, "nothing says how to run it", ".py or .sh",
           files={f"{CODE}/x.txt": SHELL}),
    script("no ending", "code/run", 126, "nothing says how to run it", files={f"{CODE}/run": SHELL}),
    script("link out", "code/x.sh", 126, "is a link out of channel code",
           files={f"{DATA}/other/x.sh": SHELL, f"{CODE}/x.sh": Link("{base}/input/data/other/x.sh")}),
    script("relative link out", "code/x.sh", 126, "is a link out of channel code",
           files={f"{DATA}/other/x.sh": SHELL, f"{CODE}/x.sh": Link("../other/x.sh")}),
    script("link directory out", "code/sub/x.sh", 126, "is a link out of channel code",
           files={f"{DATA}/other/x.sh": SHELL, f"{CODE}/sub": Link("../other")}),
    script("link to a sibling's prefix", "code/x.sh", 126, "is a link out of channel code",
           files={f"{DATA}/code2/x.sh": SHELL, f"{CODE}/x.sh": Link("../code2/x.sh")}),
    script("link to the shell", "code/x", 126, "is a link out of channel code",
           files={f"{CODE}/x": Link("/bin/sh")}),
    script("dangling link", "code/x.sh", 127, "is a link to", "not there",
           files={f"{CODE}/x.sh": Link("gone.sh")}),
    script("link loop", "code/x.sh", 126, "x.sh", "symbolic links", files={f"{CODE}/x.sh": Link("x.sh")}),
    script("CRLF", "code/x.sh", 126, "CRLF", "dos2unix", files={f"{CODE}/x.sh": "#!/bin/sh\r\ntouch x\r\n"}),
    script("CRLF without #!", "code/x.sh", 126, "CRLF", "dos2unix",
           files={f"{CODE}/x.sh": "touch x\r\nexit\r\n"}),
    script("CRLF below a good #!", "code/x.sh", 126, "CRLF",
           files={f"{CODE}/x.sh": "#!/bin/bash\ntouch x\r\ntrue\r\nexit\r\n"}),
    script("CRLF in the first line only", "code/x.sh", 126, "CRLF",
           files={f"{CODE}/x.sh": "set -e\r\ntouch x\nexit\n"}),
    script("CRLF behind env", "code/x.sh", 126, "CRLF", "'bash\\\\r'",
           files={f"{CODE}/x.sh": "#!/usr/bin/env bash\r\ntouch x\r\n"}),
    script("CRLF Python with bit", "code/x.py", 126, "CRLF",
           files={f"{CODE}/x.py": Executable("#!/usr/bin/env python3\r\nprint()\r\n")}),
    script("byte order mark", "code/x.sh", 126, "byte order mark", files={f"{CODE}/x.sh": BOM + SHELL}),
    script("missing interpreter", "code/x.sh", 127, "interpreter is missing", "/opt/none/bash",
           files={f"{CODE}/x.sh": "#!/opt/none/bash\n" + SHELL}),
    script("missing interpreter with bit", "code/x", 127, "interpreter is missing", "#!/opt/none/bash -e",
           files={f"{CODE}/x": Executable("#!/opt/none/bash -e\n" + SHELL)}),
    script("missing behind env", "code/x.py", 127, "'python9' is not found on PATH",
           files={f"{CODE}/x.py": "#!/usr/bin/env python9\n" + PYTHON}),
    script("missing behind env -S", "code/x.py", 127, "'python9'",
           files={f"{CODE}/x.py": "#!/usr/bin/env -S python9 -u\n" + PYTHON}),
    script("relative interpreter", "code/x.sh", 127, "interpreter is missing",
           files={f"{CODE}/x.sh": "#!bash-of-mine\n" + SHELL}),
    script("no Python", "code/x.py", 127, "no Python", "SMENTRY_PYTHON",
           files={f"{CODE}/x.py": PYTHON}, variables={"PATH": "/no/such"}),
    script("wrong SMENTRY_PYTHON", "code/x.py", 127, "SMENTRY_PYTHON:", "/no/python",
           files={f"{CODE}/x.py": PYTHON}, variables={"SMENTRY_PYTHON": "/no/python"}),
    script("SMENTRY_PYTHON not on PATH", "code/x.py", 127, "SMENTRY_PYTHON:", "python9: not found on PATH",
           files={f"{CODE}/x.py": PYTHON}, variables={"SMENTRY_PYTHON": "python9"}),
    script("SMENTRY_PYTHON not executable", "code/x.py", 126, "SMENTRY_PYTHON:", "has no executable bit",
           files={f"{CODE}/x.py": PYTHON}, variables={"SMENTRY_PYTHON": "/etc/passwd"}),
    script("broken description", "code/x.sh", 2, "inputdataconfig.json:2:1: not JSON",
           "an object of channels",
           files={f"{CODE}/x.sh": SHELL, DESCRIBED: '{"code":\n'}),
]  # fmt: skip

JSON = {f"{CODE}/train.sh": SHELL}
TREES = [
    train("nothing", 127, "no program for train", listed=True),
    train("only data", 127, "no program for train", listed=True, files={f"{DATA}/data/x.csv": "1"}),
    train("train.sh in another channel", 127, "no program for train", listed=True,
          files={f"{DATA}/data/train.sh": SHELL}),
    train("entrypoint in a FastFile channel", 127, "no program for train", listed=True,
          files={f"{DATA}/x/custom_entrypoint.sh": SHELL, DESCRIBED: {"x": channel("FastFile")}}),
    train("code channel is a Pipe", 127, "no program for train", listed=True,
          files={DESCRIBED: {"code": channel("Pipe")}}),
    train("only a directory named train", 127, "no program for train", listed=True,
          files={f"{CODE}/train/__init__.py": ""}),
    train("only serve.sh", 127, "no program for train", listed=True, files={f"{CODE}/serve.sh": SHELL}),
    train("two channels", 127, "more than one channel",
          "a/custom_entrypoint.sh, b/custom_entrypoint.py", "--script",
          files={f"{DATA}/a/custom_entrypoint.sh": SHELL, f"{DATA}/b/custom_entrypoint.py": PYTHON}),
    train("base directory missing", 127, "no program for train", listed=True,
          variables={"SAGEMAKER_BASE_DIR": "/no/such/directory"}),
    train("base directory is a file", 127, "no program for train", listed=True,
          variables={"SAGEMAKER_BASE_DIR": "/etc/passwd"}),
    train("train.sh with CRLF", 126, "train.sh", "CRLF", files={f"{CODE}/train.sh": "#!/bin/sh\r\n:\r\n"}),
    train("empty train.py", 126, "train.py: is empty", files={f"{CODE}/train.py": ""}),
    train("train is a FIFO", 126, "train: is a FIFO", files={f"{CODE}/train": Fifo()}),
    train("train without a clue", 126, "nothing says how to run it", files={f"{CODE}/train": SHELL}),
    train("link out of the code channel", 126, "is a link out of channel code",
          files={f"{CODE}/train.sh": Link("{base}/code/train.sh"), "code/train.sh": SHELL}),
    train("broken train on PATH", 127, "interpreter is missing",
          files={"bin/train": Executable("#!/no/sh\n")}),
    train("empty train on PATH", 126, "bin/train: is empty", files={"bin/train": Executable("")}),
    Case("train --train missing", ["--train", "no-such x", "train"], 127, ("no-such: not found on PATH",)),
    Case("train --train directory", ["--train", "/etc", "train"], 126, ("/etc: is a directory",)),
    Case("train SMENTRY_TRAIN missing", ["train"], 127, ("no-such",), {"SMENTRY_TRAIN": "no-such"}),
    Case("train after dashes", ["--", "train"], 127, ("no program for train",), listed=True),
    Case("serve nothing", ["serve"], 127, ("no program for serve",), listed=True),
    Case("serve only train.sh", ["serve"], 127, ("no program for serve",), listed=True, files=JSON),
    Case("serve ignores SAGEMAKER_PROGRAM", ["serve"], 127, ("no program for serve",), listed=True,
         variables={"SAGEMAKER_PROGRAM": "train.py"}, files={"code/train.py": PYTHON}),
    Case("no argument with a job", [], 127, ("no program for train",), listed=True, files={PARAMETERS: {}}),
    train("SAGEMAKER_PROGRAM missing", 127, "SAGEMAKER_PROGRAM: no 'x.py'", "it holds y.py",
          variables={"SAGEMAKER_PROGRAM": "x.py"}, files={"code/y.py": PYTHON}),
    train("SAGEMAKER_PROGRAM without code", 127, "SAGEMAKER_PROGRAM: no 'x.py'", "cannot be listed",
          variables={"SAGEMAKER_PROGRAM": "x.py"}),
    train("SAGEMAKER_PROGRAM outside", 2, "SAGEMAKER_PROGRAM: expected the name of a file in", "'../x.py'",
          variables={"SAGEMAKER_PROGRAM": "../x.py"}, files={"x.py": PYTHON}),
    train("SAGEMAKER_PROGRAM absolute", 2, "SAGEMAKER_PROGRAM:", "'/etc/passwd'",
          variables={"SAGEMAKER_PROGRAM": "/etc/passwd"}),
    train("SAGEMAKER_PROGRAM is code itself", 2, "SAGEMAKER_PROGRAM:", "'.'",
          variables={"SAGEMAKER_PROGRAM": "."}, files={"code/x.py": PYTHON}),
    train("SAGEMAKER_PROGRAM directory", 126, "is a directory",
          variables={"SAGEMAKER_PROGRAM": "pkg"}, files={"code/pkg/x.py": PYTHON}),
    train("SAGEMAKER_PROGRAM empty file", 126, "x.py: is empty",
          variables={"SAGEMAKER_PROGRAM": "x.py"}, files={"code/x.py": ""}),
    train("SAGEMAKER_PROGRAM CRLF", 126, "CRLF",
          variables={"SAGEMAKER_PROGRAM": "x"}, files={"code/x": "touch x\r\n"}),
    train("sagemaker_program missing", 127, "hyperparameter sagemaker_program: no 'x.py'",
          files={PARAMETERS: {"sagemaker_program": '"x.py"'}}),
    train("sagemaker_program number", 2, "hyperparameters.json: sagemaker_program: expected the name", "3",
          files={PARAMETERS: {"sagemaker_program": 3}}),
    train("sagemaker_program empty", 2, "sagemaker_program: expected the name of a file",
          files={PARAMETERS: {"sagemaker_program": '""'}}),
    train("hyperparameters broken", 2, "hyperparameters.json:1:2: not JSON", "an object of hyperparameters",
          files={**JSON, PARAMETERS: "{epochs: 3}"}),
    train("hyperparameters empty", 2, "hyperparameters.json:1:1: not JSON", files={**JSON, PARAMETERS: ""}),
    train("hyperparameters list", 2, "hyperparameters.json: expected an object", "a list",
          files={**JSON, PARAMETERS: []}),
    train("hyperparameters latin-1", 2, "hyperparameters.json:2: expected UTF-8 text", "0xfc",
          files={**JSON, PARAMETERS: b'{"a":\n"f\xfcr"}'}),
    train("hyperparameters twice", 2, "epochs is there twice",
          files={**JSON, PARAMETERS: '{"epochs": "1", "epochs": "2"}'}),
    train("hyperparameters directory", 2, "hyperparameters.json: expected a file",
          files={**JSON, PARAMETERS: Directory()}),
    train("hyperparameters FIFO", 2, "hyperparameters.json: expected a file",
          files={**JSON, PARAMETERS: Fifo()}),
    train("hyperparameters deep", 2, "hyperparameters.json: expected an object",
          files={**JSON, PARAMETERS: "[" * 100_000}),
    train("channels broken", 2, "inputdataconfig.json:1:10: not JSON",
          files={**JSON, DESCRIBED: '{"code": x}'}),
    train("channels list", 2, "inputdataconfig.json: expected an object of channels", "a list",
          files={**JSON, DESCRIBED: ["code"]}),
    train("channels null", 2, "inputdataconfig.json: expected an object", "nothing",
          files={**JSON, DESCRIBED: "null"}),
    train("channel is text", 2, "inputdataconfig.json: code: expected an object", "'File'",
          files={**JSON, DESCRIBED: {"code": "File"}}),
    train("channel mode", 2, "code.TrainingInputMode: expected File, FastFile or Pipe", "'file'",
          files={**JSON, DESCRIBED: {"code": channel("file")}}),
    train("channel mode list", 2, "code.TrainingInputMode: expected File", "['File']",
          files={**JSON, DESCRIBED: {"code": {"TrainingInputMode": ["File"]}}}),
    train("channel distribution", 2, "code.S3DistributionType: expected FullyReplicated or ShardedByS3Key",
          files={**JSON, DESCRIBED: {"code": channel(distribution="Replicated")}}),
    train("channel name", 2, "expected the name of a channel, got '..'",
          files={**JSON, DESCRIBED: {"..": channel()}}),
    train("channel twice", 2, "code is there twice", files={**JSON, DESCRIBED: '{"code": {}, "code": {}}'}),
]  # fmt: skip

CASES = FLAGS + LINES + VARIABLES + FILES + COMMANDS + SCRIPTS + TREES


@pytest.mark.together
@pytest.mark.parametrize("case", CASES, ids=str)
def test_is_refused_in_one_line_and_nothing_is_started(case: Case, start: Starter) -> None:
    with tempfile.TemporaryDirectory() as directory:
        refuse(case, Path(directory))


def refuse(case: Case, directory: Path) -> None:
    """Run the case as a process of its own, and look at all that it may and may not do."""
    tree = Tree(directory)
    for path, content in case.files.items():
        tree.put(f"../{path}" if path.startswith("bin/") else path, content)
    variables = dict(case.variables)
    if case.config is not None:
        (directory / "bad.yaml").write_bytes(case.config if isinstance(case.config, bytes) else case.config.encode())
        variables["SMENTRY_CONFIG"] = str(directory / "bad.yaml")

    result = tree.run(*[argument.format(bin=tree.bin) for argument in case.arguments], **variables)

    assert result.code == case.code, result.err
    assert not tree.marker.exists()
    assert result.out == ""
    assert "Traceback" not in result.err
    assert result.lines[0].startswith("error: ")
    for words in case.says:
        assert words.replace("\\\\", "\\") in result.lines[0]
    assert len(result.lines) == 1 or (case.listed and all(line.startswith("error:   ") for line in result.lines[1:]))
    training = case.arguments[-1:] == ["train"] or (tree.base / "input/config").is_dir()
    if training and "SAGEMAKER_BASE_DIR" not in variables:
        assert tree.failure is not None
        assert result.lines[0].partition("error: ")[2][:80] in tree.failure
    else:
        assert tree.failure is None


def test_no_two_cases_are_the_same() -> None:
    assert len({repr(case[1:]) for case in CASES}) == len({case.name for case in CASES}) == len(CASES) >= 200
