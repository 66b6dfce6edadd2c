from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from container import PYTHON, SHELL, TOUCH, Executable, Tree

import smentry
from smentry import cli, config


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def parsed(*arguments: str, name: str = "smentry") -> cli.Invocation:
    invocation = cli.Invocation()
    cli.parse([name, *arguments], invocation)
    return invocation


def given(invocation: cli.Invocation) -> list[tuple[str, str | None]]:
    return [(flag.option.name, flag.text) for flag in invocation.flags]


# -- the arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-vvg"], [("verbose", None), ("verbose", None), ("scope", "group")]),
        (["-c"], [("scope", "main")]),
        (["--single-child"], [("scope", "main")]),
        (["-e143"], [("success", "143")]),
        (["-e", "143"], [("success", "143")]),
        (["-we143"], [("warn-on-reap", None), ("success", "143")]),
        (["-we", "143"], [("warn-on-reap", None), ("success", "143")]),
        (["-r15:2", "-rHUP:0"], [("rewrite", "15:2"), ("rewrite", "HUP:0")]),
        (["--rewrite=15:2"], [("rewrite", "15:2")]),
        (["--rewrite", "15:2"], [("rewrite", "15:2")]),
        (["-p", "KILL"], [("parent-death", "KILL")]),
        (["-s"], []),
        (["-sw"], [("warn-on-reap", None)]),
        (["--train", "a=b c"], [("train", "a=b c")]),
        (["--train=a=b c"], [("train", "a=b c")]),
        (["--scope", "--"], [("scope", "--")]),
    ],
)
def test_options_are_read_as_getopt_does(arguments: list[str], expected: list[tuple[str, str | None]]) -> None:
    invocation = parsed(*arguments, "true", "-e", "3")
    assert given(invocation) == expected
    assert invocation.words == ["true", "-e", "3"]


@pytest.mark.parametrize(
    ("arguments", "verb", "words"),
    [
        (["train"], "train", []),
        (["train", "--epochs", "3", "-v"], "train", ["--epochs", "3", "-v"]),
        (["-v", "serve", "a", "b c"], "serve", ["a", "b c"]),
        (["--", "train", "a"], "train", ["a"]),
        (["train", "--", "a"], "train", ["--", "a"]),
        (["train", "serve"], "train", ["serve"]),
        (["true", "train"], None, ["true", "train"]),
        (["--", "-x"], None, ["-x"]),
        (["-"], None, ["-"]),
        (["./train"], None, ["./train"]),
        ([], None, []),
        (["--"], None, []),
    ],
)
def test_options_end_at_the_first_word(arguments: list[str], verb: str | None, words: list[str]) -> None:
    invocation = parsed(*arguments)
    assert (invocation.verb, invocation.words) == (verb, words)


@pytest.mark.parametrize("verb", ["train", "serve"])
def test_under_the_name_of_a_verb_every_argument_is_the_programs(verb: str) -> None:
    invocation = parsed("--help", "-v", "x", name=f"/usr/local/bin/{verb}")
    assert (invocation.action, invocation.verb, invocation.words) == (None, verb, ["--help", "-v", "x"])
    assert invocation.flags == []


def test_a_link_named_train_runs_the_program_and_not_itself(tree: Tree) -> None:
    entry = tree.bin / "smentry"
    entry.write_text(f"#!{sys.executable}\nfrom smentry.__main__ import main\nmain()\n")
    entry.chmod(0o755)
    (tree.bin / "train").symlink_to(entry)
    tree.put("input/data/code/train.sh", SHELL)
    run = subprocess.run(
        [tree.bin / "train", "-v", "a b"], env=tree.environment, capture_output=True, text=True, timeout=60
    )
    assert (
        run.stdout.strip() == f"ran {tree.base}/input/data/code/train.sh in {tree.base}/input/data/code with 2: -v a b"
    )
    assert run.returncode == 0


# -- what is printed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["-h", "--help", "-vh"])
def test_help_fits_a_screen(tree: Tree, option: str) -> None:
    result = tree.run(option, "train")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 80
    for row in config.OPTIONS:
        assert f"--{row.name}" in result.out
        for letter in row.letters:
            assert f"-{letter}" in result.out
    assert "hooks: " in result.out
    assert "python -m smentry.pid1.timeline" in result.out


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(tree: Tree, option: str) -> None:
    assert tree.run(option) == (0, f"smentry {smentry.__version__}\n", "")


@pytest.mark.parametrize("option", ["-l", "--license"])
def test_licence(tree: Tree, option: str) -> None:
    result = tree.run(option)
    assert result.code == 0
    assert "Apache License, Version 2.0" in result.out


def test_a_full_stdout_is_a_failure_and_no_traceback(tree: Tree) -> None:
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "smentry", "--help"],
            env=tree.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert run.returncode == 1
    assert "Traceback" not in run.stderr


def test_dry_run_prints_yaml_and_starts_nothing(tree: Tree) -> None:
    script = tree.put("input/data/code/train.py", PYTHON)
    tree.put("input/data/x/y", "1")
    file = tree.put("smentry.yaml", "linger: 3s\nscope: group\nsuccess: [3]\n")
    result = tree.run("--dry-run", "--stop-timeout=90", "train", "a b", SMENTRY_CONFIG=str(file), SMENTRY_SCOPE="main")
    assert (result.code, result.err) == (0, "")
    assert not tree.marker.exists()
    shown = yaml.safe_load(result.out)
    assert shown["program"]["verb"] == "train"
    assert shown["program"]["command"][1:] == [str(script), "a b"]
    assert os.path.basename(shown["program"]["command"][0]) == "python3"
    assert shown["program"]["directory"] == str(script.parent)
    assert "channel code" in shown["program"]["found"]
    told = {
        "SMENTRY_STOP_TIMEOUT": "90",
        "SMENTRY_GRACE_SECONDS": "85",
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "85",
        "PYTHONUNBUFFERED": "1",
        "SM_MODEL_DIR": str(tree.base / "model"),
    }
    assert told.items() <= shown["program"]["environment"].items()
    assert shown["budget"] == {"stop_timeout": 90, "stopping_hooks": 0, "program": 85, "after_hooks": 0, "kill": 5}
    assert shown["hooks"] == []
    settings = shown["settings"]
    assert settings["stop_timeout"] == {"value": 90, "from": "flag --stop-timeout"}
    assert settings["scope"] == {"value": "main", "from": "variable SMENTRY_SCOPE"}
    assert settings["linger"] == {"value": 3, "from": f"file {file}"}
    assert settings["success"] == {"value": [3], "from": f"file {file}"}
    assert settings["wait_all"] == {"value": False, "from": "default"}
    assert settings["config"] == {"value": str(file), "from": "variable SMENTRY_CONFIG"}
    assert list(settings) == [option.attribute for option in config.OPTIONS]


def test_dry_run_shows_no_secret(tree: Tree) -> None:
    arguments = [
        "--api-key",
        "s3cret",
        "--password=s3cret",
        "token:s3cret",
        "https://me:s3cret@host/x",
        "--epochs",
        "3",
    ]
    result = tree.run(
        "--dry-run", "--train", "true --secret s3cret", "train", *arguments, AWS_SECRET_ACCESS_KEY="s3cret"
    )
    assert result.code == 0
    assert "s3cret" not in result.out
    command = yaml.safe_load(result.out)["program"]["command"]
    hidden = ["--secret", "***", "--api-key", "***", "--password=***", "token:***", "https://me:***@host/x"]
    assert command == ["true", *hidden, "--epochs", "3"]


def test_dry_run_shows_one_variable_a_line(tree: Tree) -> None:
    result = tree.run("--dry-run", "--train", "true", "train")
    names = [line.strip().partition(":")[0] for line in result.out.splitlines() if line.startswith("    S")]
    assert len(names) > 40
    assert names == sorted(names)
    assert "    SM_MODEL_DIR: " + str(tree.base / "model") in result.out.splitlines()


def test_dry_run_shows_no_secret_among_the_hyperparameters(tree: Tree) -> None:
    parameters = {
        "api-key": "s3cret-1",
        "db": '{"password": "s3cret-2", "port": 1}',
        "url": "db://u:s3cret-3@h",
        "lr": "1e-4",
    }
    tree.put("input/config/hyperparameters.json", parameters)
    result = tree.run("--dry-run", "--train", "true", "train")
    assert result.code == 0
    assert "s3cret" not in result.out
    program = yaml.safe_load(result.out)["program"]
    words = ["true", "--api-key", "***", "--db", "password=***", "--lr", "0.0001", "--url", "db://u:***@h"]
    assert program["command"] == words
    variables = program["environment"]
    assert variables["SM_HPS"] == '{"api-key":"***","db":{"password":"***","port":1},"lr":0.0001,"url":"db://u:***@h"}'
    assert variables["SM_USER_ARGS"].replace('"', "").strip("[]").split(",--") == [
        "--api-key,***", "db,password=***", "lr,0.0001", "url,db://u:***@h"
    ]  # fmt: skip
    assert (variables["SM_HP_API-KEY"], variables["SM_HP_API_KEY"], variables["SM_HP_LR"]) == ("***", "***", "0.0001")


HOOKS = """\
hooks:
- {on: exit, run: [true, --token, s3cret], timeout: 5}
- {on: stopped, copy: {newest: /c/*, to: /m, complete: done}, timeout: 20}
- {on: stopped, copy: {from: /a, to: /b}}
- {on: stopping, signal: USR1, wait_for: /c/*.done, timeout: 2.5s, name: checkpoint}
- {on: USR2, signal: 10}
- {on: start, run: echo x}
"""


def test_dry_run_shows_the_hooks_in_the_order_of_their_events_and_each_share(tree: Tree) -> None:
    file = tree.put("smentry.yaml", HOOKS)
    path = tree.put("hooks.d/start/10-see", Executable("#!/bin/sh\n"))
    result = tree.run("--dry-run", "--config", str(file), "--hooks-dir", str(tree.base / "hooks.d"), "true")
    assert (result.code, result.err) == (0, "")
    shown = yaml.safe_load(result.out)
    assert shown["budget"] == {
        "stop_timeout": 120,
        "stopping_hooks": 2.5,
        "program": 77.5,
        "after_hooks": 35,
        "kill": 5,
    }
    assert shown["program"]["environment"]["SMENTRY_GRACE_SECONDS"] == "77.5"
    newest = {"newest": "/c/*", "to": "/m", "settled": 0, "complete": "done"}
    assert shown["hooks"] == [
        {"on": "start", "name": "echo", "run": ["echo", "x"], "timeout": "none", "required": True, "place": f"{file}:7"},
        {"on": "start", "name": "10-see", "run": [str(path)], "timeout": "none", "required": True, "place": str(path)},
        {"on": "SIGUSR2", "name": "signal", "signal": "SIGUSR1", "timeout": 10, "place": f"{file}:6"},
        {"on": "stopping", "name": "checkpoint", "signal": "SIGUSR1", "wait_for": "/c/*.done", "timeout": 2.5,
         "place": f"{file}:5"},
        {"on": "stopped", "name": "copy", "copy": newest, "timeout": 20, "place": f"{file}:3"},
        {"on": "stopped", "name": "copy", "copy": {"from": "/a", "to": "/b"}, "timeout": 10, "place": f"{file}:4"},
        {"on": "exit", "name": "true", "run": ["true", "--token", "***"], "timeout": 5, "place": f"{file}:2"},
    ]  # fmt: skip


def test_a_timeline_that_cannot_be_written_is_said_before_the_program_runs(tree: Tree) -> None:
    path = tree.base / "missing" / "timeline.jsonl"
    said = f"--timeline: there is no directory {path.parent}; no record is kept unless that changes"
    assert yaml.safe_load(tree.run("--dry-run", "--timeline", str(path), "true").out)["warnings"] == [said]
    result = tree.run("--timeline", str(path), "sh", "-c", "echo runs >&2")
    assert result.code == 0
    assert result.lines.index(f"warning: {said}") < result.lines.index("runs")


def test_dry_run_of_a_failure_writes_no_failure_file(tree: Tree) -> None:
    assert tree.run("--dry-run", "train").code == 127
    assert tree.run("train", SMENTRY_DRY_RUN="1").code == 127
    assert tree.failure is None


def test_an_error_is_one_object_where_json_is_asked_for(tree: Tree) -> None:
    for result in (
        tree.run("--log-format=json", "train"),
        tree.run("train", SMENTRY_LOG_FORMAT="json"),
        tree.run("--log-format", "json", "--scope=x", "train"),
    ):
        assert len(result.err.splitlines()) == 1
        assert yaml.safe_load(result.err)["level"] == "error"
    assert len(yaml.safe_load(tree.run("--log-format=json", "train").err)["looked_at"]) >= 5


# -- the job is run ----------------------------------------------------------------------------------


def test_a_command_is_run_with_its_arguments(tree: Tree) -> None:
    result = tree.run("-q", "--", "sh", "-c", 'printf "%s|" "$@"; exit 7', "sh", "a", "b c", "", "ü")
    assert result == (7, "a|b c||ü|", "")


def test_no_argument_is_train_where_a_job_is_laid_out(tree: Tree) -> None:
    tree.put("input/config/hyperparameters.json", {})
    tree.put("input/data/code/train.sh", SHELL)
    result = tree.run()
    assert result.code == 0
    assert tree.marker.exists()


def test_no_argument_is_train_with_the_configured_program_too(tree: Tree) -> None:
    tree.put("input/config/hyperparameters.json", {})
    assert tree.run("--train", "sh -c 'touch \"$MARKER\"'", "--serve", "false").code == 0
    assert tree.marker.exists()


def test_no_argument_is_a_usage_error_elsewhere(tree: Tree) -> None:
    tree.put("input/data/code/train.sh", SHELL)
    assert tree.run().code == 2
    assert not tree.marker.exists()


def test_the_failure_file_of_the_program_is_kept(tree: Tree) -> None:
    tree.put("output/failure", "mine")
    assert tree.run("train").code == 127
    assert tree.failure == "mine"


def test_a_failed_plain_command_writes_a_failure_file_where_a_job_is_laid_out(tree: Tree) -> None:
    tree.put("input/config/hyperparameters.json", {})
    assert tree.run("no-such-command").code == 127
    assert tree.failure is not None
    assert "no-such-command: not found on PATH" in tree.failure


@pytest.mark.parametrize("arguments", [["serve"], ["--scope=x", "serve"]])
def test_a_failed_serve_writes_no_failure_file(tree: Tree, arguments: list[str]) -> None:
    tree.put("input/config/hyperparameters.json", {})
    assert tree.run(*arguments).code in (2, 127)
    assert tree.failure is None


@pytest.mark.parametrize("name", ["yaml.py", "psutil.py", "select.py", "json.py", "ctypes.py", "pwd.py", "shlex.py"])
@pytest.mark.parametrize("way", ["directory", "PYTHONPATH"])
def test_the_users_modules_are_not_smentrys(tree: Tree, name: str, way: str) -> None:
    (tree.other / name).write_text("raise SystemExit('the user module was imported')\n")
    tree.put("input/config/inputdataconfig.json", {})
    file = tree.put("smentry.yaml", "linger: 3s\n")
    variables: dict[str, str | None] = {}
    if way == "PYTHONPATH":
        variables["PYTHONPATH"] = f"{tree.other}:{tree.environment['PYTHONPATH']}"
    if name == "json.py" and way == "directory":
        tree.put("input/data/code/train.sh", SHELL)
    result = tree.run(
        *("--config", str(file), "--train", "sh -c 'touch \"$MARKER\"'", "--user", "0", "train"),
        cwd=tree.base if way == "PYTHONPATH" else tree.other,
        **variables,
    )
    assert "the user module" not in result.err + result.out
    assert result.code == 0, result.err
    assert tree.marker.exists()


def test_a_working_directory_that_is_gone_is_no_obstacle(tree: Tree) -> None:
    gone = tree.other / "gone"
    gone.mkdir()
    run = subprocess.run(
        ["sh", "-c", f"rmdir {gone}; exec {sys.executable} -m smentry -q -- echo there"],
        env=tree.environment,
        cwd=gone,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.returncode, run.stdout) == (0, "there\n"), run.stderr


def test_lc_ctype_of_the_interpreters_own_making_is_not_handed_down(tree: Tree) -> None:
    show = ["-q", "--", "sh", "-c", 'echo "${LC_CTYPE-unset}"']
    assert tree.run(*show, LC_ALL=None, LANG=None).out == "unset\n"
    assert tree.run(*show, LC_ALL=None, LANG=None, LC_CTYPE="C.UTF-8").out == "C.UTF-8\n"


def test_an_environment_that_is_not_utf8_is_handed_down_as_it_is(tree: Tree) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "smentry", "-q", "--", "printenv", "ODD"],
        env={**os.environb, b"PYTHONPATH": os.fsencode(tree.environment["PYTHONPATH"]), b"ODD": b"\xff\xfe"},
        capture_output=True,
        timeout=60,
    )
    assert run.stdout == b"\xff\xfe\n"


def test_a_warning_names_an_unknown_variable(tree: Tree) -> None:
    result = tree.run("--", "true", SMENTRY_STOP_TIMOUT="3s")
    assert "warning: SMENTRY_STOP_TIMOUT is no variable of smentry; did you mean SMENTRY_STOP_TIMEOUT?" in result.lines
    assert result.code == 0


def test_found_says_which_program_and_why(tree: Tree) -> None:
    tree.put("input/data/code/train.py", PYTHON)
    result = tree.run("train")
    assert any(line.startswith("train: train.py (train.py is in channel code;") for line in result.lines)


def test_an_executable_script_without_interpreter_line_is_run_by_sh(tree: Tree) -> None:
    tree.put("../bin/plain", Executable(SHELL))
    assert tree.run("plain", "x").code == 0
    assert tree.marker.exists()


def test_commands_leave_a_trace(tree: Tree) -> None:
    """What tests/test_bad_input.py relies on."""
    assert tree.run(*TOUCH).code == 0
    assert tree.marker.exists()


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_descriptors_stay_closed_and_mix_nothing_up(closed: str, tmp_path: Path) -> None:
    seen = tmp_path / "descriptors"
    shell = f'exec "$0" -m smentry -v -e 3 -- sh -c "ls -l /proc/self/fd > {seen} 2>/dev/null; exit 3" {closed}'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable],
        env={**os.environ, "PYTHONPATH": str(Path(smentry.__file__).parents[1])},
        timeout=30,
        check=False,
    )
    assert done.returncode == 0
    numbers = re.findall(r" (\d+) -> (\S+)", seen.read_text())
    assert all("pipe:" not in target or int(number) < 3 for number, target in numbers)
    if "0<&-" in closed:
        assert ("0", "/dev/null") not in numbers
