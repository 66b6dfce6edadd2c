"""The companions of the file: what each key makes of them, and one clear line for each wrong one, with nothing started."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from container import SHELL, TOUCH, Tree
from refused import Case, refuse

from smentry import config, job
from smentry.pid1 import signals

if TYPE_CHECKING:
    from running import Starter

    from smentry.processfile import Configured

PATH = {"PATH": "/usr/bin:/bin"}
FULL = """\
processes:
  - name: nginx
    run: [nginx, -g, "daemon off;"]
    stop_signal: QUIT
    required: false
    restart: on-failure
    restarts: 3
    verb: serve
  - run: sh -c 'exec sleep "1000"'
"""


def settings(tmp_path: Path, text: str) -> config.Settings:
    file = tmp_path / "smentry.yaml"
    file.write_text(text)
    return config.resolve([], PATH, str(file))


def one(tmp_path: Path, text: str) -> Configured:
    (companion,) = settings(tmp_path, f"processes:\n- {text}\n").processes
    return companion


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{run: sleep 1}", {"name": "sleep", "run": ["sleep", "1"], "stop_signal": signals.TERM, "required": True}),
        ("{run: sleep 1}", {"restarts": 0, "verb": "", "key": "processes[0]"}),
        ("{run: [/bin/sh, -c, 'a  b']}", {"name": "sh", "run": ["/bin/sh", "-c", "a  b"]}),
        ("{run: true, name: an agent}", {"name": "an agent", "run": ["true"]}),
        ("{run: true, stop_signal: 3}", {"stop_signal": signals.QUIT}),
        ("{run: true, stop_signal: sigwinch}", {"stop_signal": 28}),
        ("{run: true, required: no}", {"required": False}),
        ("{run: true, restart: never}", {"restarts": 0}),
        ("{run: true, restart: on-failure}", {"restarts": 5}),
        ("{run: true, restart: on-failure, restarts: 1000}", {"restarts": 1000}),
        ("{run: true, verb: train}", {"verb": "train"}),
    ],
)
def test_a_companion_of_the_file(text: str, expected: dict[str, Any], tmp_path: Path) -> None:
    companion = one(tmp_path, text)
    assert {name: getattr(companion, name) for name in expected} == expected


@pytest.mark.parametrize("text", ["processes:\n", "processes: []\n", "scope: main\n"])
def test_there_may_be_none(text: str, tmp_path: Path) -> None:
    assert settings(tmp_path, text).processes == ()


def test_two_verbs_may_each_have_one_of_the_same_name(tmp_path: Path) -> None:
    text = "processes: [{name: a, run: 'true', verb: serve}, {name: a, run: 'true', verb: train}]"
    assert [companion.verb for companion in settings(tmp_path, text).processes] == ["serve", "train"]


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (
            "no-such-thing",
            "processes[0].run: no-such-thing: not found on PATH (/usr/bin:/bin); companion x fails unless",
        ),
        ("true && false", "processes[0].run: '&&' is a word like any other without a shell"),
    ],
)
def test_a_command_that_could_not_be_run_now_is_a_warning(run: str, said: str, tmp_path: Path) -> None:
    (warning,) = settings(tmp_path, f"processes: [{{name: x, run: {run}}}]").warnings
    assert said in warning
    assert warning.startswith(f"{tmp_path}/smentry.yaml:1: ")


@pytest.mark.parametrize(
    ("verb", "names"),
    [("serve", ["nginx", "sh"]), ("train", ["sh"]), (None, ["sh"])],
)
def test_one_of_a_verb_runs_with_that_verb_only(verb: str | None, names: list[str], tmp_path: Path) -> None:
    found = settings(tmp_path, "train: 'true'\nserve: 'true'\n" + FULL)
    resolved = job.resolve(verb, [] if verb else ["true"], found, {**PATH, "SAGEMAKER_BASE_DIR": str(tmp_path)})
    assert [companion.name for companion in resolved.companions] == names


def test_a_dry_run_shows_them(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    (tmp_path / "smentry.yaml").write_text("serve: 'true'\n" + FULL.replace("-g,", "--token, x, -g,"))
    result = tree.run("--config", str(tmp_path / "smentry.yaml"), "--dry-run", "serve")
    assert result.code == 0, result.err
    assert yaml.safe_load(result.out)["processes"] == [
        {
            "name": "nginx", "run": ["nginx", "--token", "***", "-g", "daemon off;"], "stop_signal": "SIGQUIT",
            "required": False, "restart": "on-failure", "restarts": 3, "verb": "serve",
            "place": f"{tmp_path}/smentry.yaml:3",
        },
        {
            "name": "sh", "run": ["sh", "-c", 'exec sleep "1000"'], "stop_signal": "SIGTERM",
            "required": True, "restart": "never", "place": f"{tmp_path}/smentry.yaml:10",
        },
    ]  # fmt: skip


# Wrong ones.


def wrong(name: str, text: str, *says: str) -> Case:
    """A wrong companion, the second of the file, after one in line 2."""
    return Case(name, TOUCH, 2, ("bad.yaml:", *says), config=f"processes:\n- {{name: one, run: 'true'}}\n{text}\n")


CASES = [
    Case("processes text", TOUCH, 2, (":1: processes: expected a list of processes, got 'a'",), config="processes: a\n"),
    Case("processes mapping", TOUCH, 2, (":1: processes: expected a list of processes, got a mapping",),
         config="processes: {run: a}\n"),
    Case("key misspelt", TOUCH, 2, ("'proceses' is no key of smentry; did you mean processes?",), config="proceses: []\n"),
    wrong("text", "- nginx", ":3: processes[1]: expected a process: a mapping with name and run", "got 'nginx'"),
    wrong("nothing", "-", ":3: processes[1]: expected a process", "got nothing"),
    wrong("list", "- [nginx]", ":3: processes[1]: expected a process", "got a list"),
    wrong("empty", "- {}", ":3: processes[1]: expected run, the command, got nothing"),
    wrong("without run", "- {name: a}", ":3: processes[1]: expected run, the command, got name"),
    wrong("unknown key", "- run: a\n  restrat: never", ":4: processes[1]: 'restrat' is no key of a process",
          "did you mean restart?"),
    wrong("unknown key like none", "- {run: a, xyzzy: b}", "'xyzzy' is no key of a process; the keys are name, run,"),
    wrong("hook's key", "- {run: a, timeout: 1s}", "processes[1]: 'timeout' is no key of a process"),
    wrong("key twice", "- {run: a, run: b}", ":3: processes[1].run is there twice"),
    wrong("run nothing", "- {run: }", "processes[1].run: expected a command", "got nothing"),
    wrong("run empty", "- {run: ''}", "processes[1].run: expected a command, got ''"),
    wrong("run empty list", "- {run: []}", "processes[1].run: expected a command", "an empty one"),
    wrong("run list in list", "- {run: [a, [b]]}", "processes[1].run[1]: expected a word, got a list"),
    wrong("run quote", """- {run: "a 'b"}""", "processes[1].run: expected a command", "no closing quotation"),
    wrong("run NUL", '- {run: [a, "\\0"]}', "processes[1].run[1]: expected text without NUL"),
    wrong("name empty", "- {run: a, name: ''}", "processes[1].name: expected a name", "got ''"),
    wrong("name long", "- {run: a, name: " + "x" * 61 + "}", "name: one line of 1 to 60 printable characters"),
    wrong("name lines", '- {run: a, name: "a\\nb"}', "processes[1].name: expected a name"),
    wrong("name taken", "- {run: a, name: one}", ":3: processes[1]: expected a name of its own, got 'one', which processes[0]"),
    wrong("name taken for a verb", "- {run: a, name: one, verb: serve}", "processes[1]: expected a name of its own"),
    wrong("name taken unwritten", "- {run: a}\n- {run: /x/a}", ":4: processes[2]: expected a name of its own, got 'a'"),
    wrong("signal unknown", "- {run: a, stop_signal: FOO}", "processes[1].stop_signal: 'FOO' is not a signal"),
    wrong("signal KILL", "- {run: a, stop_signal: KILL}", "processes[1].stop_signal: expected a signal that can be caught"),
    wrong("signal STOP", "- {run: a, stop_signal: 19}", "processes[1].stop_signal: expected a signal that can be caught"),
    wrong("signal 0", "- {run: a, stop_signal: 0}", "processes[1].stop_signal: '0' is not a signal"),
    wrong("signal list", "- {run: a, stop_signal: [TERM]}", "processes[1].stop_signal: expected a signal, got a list"),
    wrong("required word", "- {run: a, required: maybe}", "processes[1].required: expected true or false, got 'maybe'"),
    wrong("required nothing", "- {run: a, required: }", "processes[1].required: expected true or false, got nothing"),
    wrong("restart word", "- run: a\n  restart: always", ":4: processes[1].restart: expected never or on-failure",
          "got 'always'"),
    wrong("restart truth", "- {run: a, restart: no}", "processes[1].restart: expected never or on-failure, got 'no'"),
    wrong("restart mapping", "- {run: a, restart: {on: failure}}", "expected never or on-failure, got a mapping"),
    wrong("restarts alone", "- {run: a, restarts: 3}", "processes[1].restarts: expected beside 'restart: on-failure' only"),
    wrong("restarts with never", "- {run: a, restart: never, restarts: 3}", "beside 'restart: on-failure' only"),
    *(
        wrong(f"restarts {text!r}", f"- {{run: a, restart: on-failure, restarts: {text}}}",
              "processes[1].restarts: expected a number from 1 to 1000", f"got {text!r}")
        for text in ("0", "-1", "1001", "2.5", "ten", "1e2", "²")
    ),
    wrong("verb unknown", "- {run: a, verb: predict}", "processes[1].verb: expected train or serve, got 'predict'"),
    wrong("verb list", "- {run: a, verb: [train, serve]}", "processes[1].verb: expected train or serve, got a list"),
    Case("of a training job", ["train"], 2, ("processes[0]: expected run, the command",),
         files={"code/train.sh": SHELL}, config="processes: [{name: a}]\n"),
]  # fmt: skip


@pytest.mark.together
@pytest.mark.parametrize("case", CASES, ids=str)
def test_is_refused_in_one_line_and_nothing_is_started(case: Case, start: Starter) -> None:
    with tempfile.TemporaryDirectory() as directory:
        refuse(case, Path(directory))


def test_no_two_cases_are_the_same() -> None:
    assert len({repr(case[1:]) for case in CASES}) == len({case.name for case in CASES}) == len(CASES)
