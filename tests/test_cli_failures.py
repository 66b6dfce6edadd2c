"""Real runs that fail: what is said on stderr, and what is in the failure file."""

from __future__ import annotations

import json
import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from container import ROOT, Executable, Tree, unanswering

if TYPE_CHECKING:
    from pathlib import Path

    from running import Starter

RAISES = "raise ValueError('shapes (3,) and (4,) do not match')\n"
REASON = "ValueError: shapes (3,) and (4,) do not match"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path)
    tree.put("input/data/code/train.py", RAISES)
    tree.put("input/data/code/serve.py", RAISES)
    return tree


def test_the_first_line_of_the_failure_file_is_an_error_on_stderr(tree: Tree) -> None:
    result = tree.run("train")
    assert result.code == 1
    assert tree.failure is not None
    first = tree.failure.splitlines()[0]
    assert first.startswith("train.py exited with code 1 after ")
    assert first.endswith(f": {REASON}")
    assert result.lines[-1] == f"error: {first}"
    assert f"{REASON}\n" in result.err  # as the program wrote it


def test_in_json_it_is_a_line_with_the_exit_code(tree: Tree) -> None:
    last = json.loads(tree.run("--log-format", "json", "train").err.splitlines()[-1])
    assert (last["level"], last["event"], last["code"]) == ("error", "failed", 1)
    assert last["message"].endswith(REASON)


def test_a_code_that_says_nothing_more_is_not_said_twice(tree: Tree) -> None:
    tree.put("input/data/code/train.py", "raise SystemExit(3)\n")
    result = tree.run("train")
    assert result.code == 3
    assert result.err.count("code 3") == 1
    assert tree.failure is not None
    assert tree.failure.startswith("train.py exited with code 3 after ")


def test_without_the_tap_the_program_s_words_are_not_known(tree: Tree) -> None:
    assert tree.run("--tap", "off", "train").code == 1
    assert tree.failure is not None
    assert tree.failure.startswith("train.py exited with code 1 after ")
    assert "ValueError" not in tree.failure


def test_success_and_serve_write_nothing(tree: Tree) -> None:
    assert tree.run("serve").code == 1
    assert tree.run("--success", "1", "train").code == 0
    tree.put("input/config/hyperparameters.json", {})
    assert tree.run("serve", SMENTRY_SCOPE="nobody").code == 2
    assert tree.failure is None


def test_a_secret_of_the_environment_or_of_a_hyperparameter_is_in_neither(tree: Tree) -> None:
    tree.put("input/config/hyperparameters.json", {"api_key": "swordfish-123", "lr": "1"})
    tree.put(
        "input/data/code/train.py",
        "import os\nraise ValueError(os.environ['DB_PASSWORD'] + ' ' + os.environ['SM_HP_API_KEY'])\n",
    )
    result = tree.run("train", DB_PASSWORD="hunter2-hunter2")
    assert result.lines[-1].endswith(": ValueError: *** ***")
    assert tree.failure is not None
    assert "hunter2" not in tree.failure
    assert "swordfish" not in tree.failure


def test_a_file_of_the_program_s_own_is_kept(tree: Tree) -> None:
    own = "import os\nopen(os.environ['SAGEMAKER_BASE_DIR'] + '/output/failure', 'w').write('NaN')\n"
    tree.put("output/data/x", "")
    tree.put("input/data/code/train.py", own + RAISES)
    assert tree.run("train").code == 1
    assert tree.failure == "NaN"


def test_a_failure_file_that_cannot_be_written_is_said_and_changes_no_exit_code(tree: Tree) -> None:
    tree.put("output", "a file")
    result = tree.run("train")
    assert result.code == 1
    assert result.lines[-1] == (f"warning: the platform is not told why: {tree.base}/output/failure: not a directory")


def test_a_file_system_that_does_not_answer_holds_the_exit_up_for_a_second_only(tree: Tree) -> None:
    tree.put("output/data/x", "")
    with unanswering(tree.base / "output"):
        result = tree.run("train")
    assert result.code == 1
    assert result.lines[-1] == "warning: the platform is not told why: the file system has not answered for 1 s"


def test_of_several_hosts_this_one_is_named(tree: Tree) -> None:
    tree.put(
        "input/config/resourceconfig.json",
        {"current_host": "localhost", "hosts": ["localhost", "localhost.localdomain"]},
    )
    tree.run("--wait-hosts", "0", "--watch-hosts", "0", "train")
    assert tree.failure is not None
    assert tree.failure.startswith("localhost: train.py exited with code 1 after ")


def test_a_program_on_path_is_named_by_its_path(tree: Tree) -> None:
    tree.put("../bin/train", Executable("#!/bin/sh\nno-such-command\n"))
    assert tree.run("train").code == 127
    assert tree.failure is not None
    assert tree.failure.startswith(f"{tree.bin}/train exited with code 127 after ")
    assert "no-such-command: not found" in tree.failure.splitlines()[0]


def test_a_plain_command_that_was_killed_says_so_and_writes_nothing(start: Starter) -> None:
    run = start(["sh", "-c", "kill -KILL $$"])
    assert run.end() == 128 + signal.SIGKILL
    assert "error: sh was killed by SIGKILL, and not by smentry, after " in run.stderr


def test_a_smentry_that_a_job_has_broken_meanwhile_ends_with_the_program_s_code(tree: Tree, tmp_path: Path) -> None:
    there = tmp_path / "installed"
    shutil.copytree(ROOT / "smentry", there / "smentry", ignore=shutil.ignore_patterns("__pycache__"))
    tree.put(
        "input/data/code/train.py", f"import os\nos.remove({str(there / 'smentry/sagemaker/failure.py')!r})\nexit(4)\n"
    )
    result = tree.run("train", PYTHONPATH=str(there), PYTHONDONTWRITEBYTECODE="1")
    assert result.code == 4
    assert result.lines[-1].startswith("warning: the platform is not told why: ")
