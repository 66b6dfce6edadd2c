"""What smentry launches for a training job, as --dry-run shows it and as it is started."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from container import Executable, Tree

from smentry.sagemaker import distribution

if TYPE_CHECKING:
    from pathlib import Path

PARAMETERS = "input/config/hyperparameters.json"
HOSTS = {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"], "network_interface_name": "eth0"}
SHOW = (
    "#!/usr/bin/env python3\nimport json, os, sys\n"
    "names = ('NCCL_SOCKET_IFNAME', 'GLOO_SOCKET_IFNAME', 'SM_HP_EPOCHS', 'TORCH_ELASTIC_SHUTDOWN_TIMEOUT')\n"
    "print(json.dumps([sys.argv, os.getcwd(), {name: os.environ.get(name) for name in names}]))\n"
)
"""In torchrun's place: it prints what it was given."""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A job of two hosts, with a program by the toolkit's convention, and a Python with a torchrun beside it."""
    tree = Tree(tmp_path)
    tree.put(PARAMETERS, {"epochs": "3", "sagemaker_program": "train.py"})
    tree.put("input/config/resourceconfig.json", HOSTS)
    tree.put("code/train.py", "print('by itself')\n")
    tree.put("../bin/torchrun", Executable(SHOW))
    tree.put("../bin/python", Executable('#!/bin/sh\nexec python3 "$@"\n'))
    tree.environment.update(SMENTRY_PYTHON=str(tree.bin / "python"), SMENTRY_WAIT_HOSTS="0", SMENTRY_WATCH_HOSTS="0")
    return tree


def dry(tree: Tree, *arguments: str, **variables: str) -> dict[str, Any]:
    result = tree.run(*arguments, "--dry-run", "train", **variables)
    assert result.code == 0, result.err
    document: dict[str, Any] = yaml.safe_load(result.out)
    return document


def ran(tree: Tree, *arguments: str, **variables: str) -> Any:
    result = tree.run(*arguments, "train", "-x", **variables)
    assert result.code == 0, result.err
    return json.loads(result.out)


def test_without_being_asked_for_nothing_is_launched(tree: Tree) -> None:
    assert "launcher" not in dry(tree)
    assert tree.run("train").out == "by itself\n"


def test_what_is_launched_is_shown_with_who_asked_for_it(tree: Tree) -> None:
    tree.put(PARAMETERS, {"sagemaker_program": "train.py", "sagemaker_torch_distributed_enabled": "true"})
    shown = dry(tree, "--launcher-options", "--tee 3", SMENTRY_LAUNCHER_PROCESSES="2")
    assert shown["launcher"] == {
        "kind": {"value": "torchrun", "from": "hyperparameter sagemaker_torch_distributed_enabled"},
        "hosts": ["algo-1", "algo-2"],
        "node_rank": 1,
        "processes": {"value": 2, "from": "SMENTRY_LAUNCHER_PROCESSES"},
        "options": {"value": ["--tee", "3"], "from": "--launcher-options"},
    }
    assert shown["program"]["executes"] == str(tree.bin / "torchrun")
    assert shown["program"]["command"] == [
        str(tree.bin / "torchrun"), "--nnodes", "2", "--nproc_per_node", "2", "--master_addr", "algo-1",
        "--master_port", "7777", "--node_rank", "1", "--tee", "3", f"{tree.base}/code/train.py",
    ]  # fmt: skip
    assert shown["program"]["environment"]["GLOO_SOCKET_IFNAME"] == "eth0"
    assert shown["program"]["found"].endswith(
        "; torchrun starts it, 2 on each of 2 hosts (hyperparameter sagemaker_torch_distributed_enabled)"
    )


def test_the_launcher_gets_the_programs_arguments_directory_and_variables(tree: Tree) -> None:
    argv, directory, variables = ran(tree, "--launcher", "torchrun", "--launcher-processes", "1")
    assert argv[-4:] == [f"{tree.base}/code/train.py", "--epochs", "3", "-x"]
    assert directory == f"{tree.base}/code"
    assert variables == {
        "NCCL_SOCKET_IFNAME": "eth0", "GLOO_SOCKET_IFNAME": "eth0", "SM_HP_EPOCHS": "3",
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "115",
    }  # fmt: skip


def test_every_kind_of_python_program_is_launched(tree: Tree) -> None:
    (tree.base / PARAMETERS).unlink()
    tree.put("code/a.py", "pass")
    tree.channels(code="File")
    tree.put("input/data/code/train.py", "pass")
    for arguments, end in (
        (["--train", "python /app.py --y"], ["/app.py", "--y", "-x"]),
        (["--train", "python -m package"], ["-m", "package", "-x"]),
        (["--script", "code/train.py"], [f"{tree.base}/input/data/code/train.py", "-x"]),
        ([], [f"{tree.base}/input/data/code/train.py", "-x"]),
    ):
        argv, _, _ = ran(tree, "--launcher", "torchrun", *arguments)
        assert argv[-len(end) :] == end


def test_the_failure_names_the_launcher_and_the_program(tree: Tree) -> None:
    tree.put("../bin/torchrun", Executable("#!/bin/sh\nexit 3\n"))
    assert tree.run("--launcher", "torchrun", "train").code == 3
    assert "torchrun train.py exited with code 3" in str(tree.failure)
    (tree.base / "output/failure").unlink()
    assert tree.run("--launcher", "torchrun", "--train", "python x.py", "train").code == 3
    assert "torchrun exited with code 3" in str(tree.failure)


@pytest.mark.parametrize("name", distribution.UNLAUNCHED)
def test_what_needs_no_launcher_is_started_by_itself_with_a_warning(tree: Tree, name: str) -> None:
    tree.put(PARAMETERS, {"sagemaker_program": "train.py", name: "true"})
    result = tree.run("train")
    assert result.out == "by itself\n"
    assert [line.split(" is for ")[0] for line in result.lines if line.startswith("warning: ")] == [
        f"warning: hyperparameter {name}"
    ]
    assert "warning" not in tree.run("--launcher", "none", "train").err


def test_what_cannot_be_launched_is_refused_with_one_line(tree: Tree) -> None:
    tree.put("code/run.sh", "echo\n")
    result = tree.run("train", SAGEMAKER_PROGRAM="run.sh", SMENTRY_LAUNCHER="torchrun")
    assert result.code == 2
    assert result.lines == [
        "error: SMENTRY_LAUNCHER: only a Python program can be launched: expected a script or a module for Python, got"
        f" '/bin/sh {tree.base}/code/run.sh --epochs …'"
    ]


def test_a_plain_command_and_serve_are_started_as_they_are(tree: Tree) -> None:
    result = tree.run("--launcher", "torchrun", "--", "echo", "a")
    assert result.out == "a\n"
    assert result.lines[0] == "warning: --launcher is for train and --script: echo is started by itself"
    assert tree.run("-q", "--", "echo", "a", SMENTRY_LAUNCHER="torchrun") == (0, "a\n", "")
    assert tree.run("--serve", "echo a", "serve", SMENTRY_LAUNCHER="torchrun").out == "a\n"


def test_code_that_is_still_to_be_fetched_is_launched_when_it_is_there(tree: Tree) -> None:
    code = tree.other / "code"
    (tree.base / "code/train.py").unlink()
    (tree.base / "code").rmdir()
    code.mkdir()
    (code / "train.py").write_text("pass")
    tree.put(
        PARAMETERS,
        {"sagemaker_program": "train.py", "sagemaker_submit_directory": str(code), "sagemaker_mpi_enabled": "false",
         "sagemaker_torch_distributed_enabled": "true"},
    )  # fmt: skip
    shown = dry(tree)
    assert shown["launcher"]["kind"]["value"] == "torchrun"
    assert shown["program"]["command"] == [f"{tree.base}/code/train.py"]
    assert ran(tree)[0][-2:] == [f"{tree.base}/code/train.py", "-x"]


# -- what the SageMaker Python SDK 3 sends -------------------------------------------------------------


@pytest.fixture
def sdk(tree: Tree) -> Tree:
    (tree.base / PARAMETERS).unlink()
    tree.put(PARAMETERS, {"epochs": "3", "n": "1", "augment": "true", "layers": "[1, 2]"})
    tree.channels(code="File", sm_drivers="File")
    tree.put("input/data/code/train.py", "pass")
    tree.put("input/data/sm_drivers/sm_train.sh", "\necho the script\n")
    tree.put("input/data/sm_drivers/sourcecode.json", {"entry_script": "train.py"})
    tree.put("input/data/sm_drivers/distributed.json", {"process_count_per_node": 4})
    return tree


@pytest.mark.parametrize("launcher", ["auto", "none"])
def test_what_the_sdk_sends_launches_itself(sdk: Tree, launcher: str) -> None:
    assert "launcher" not in dry(sdk, "--launcher", launcher)
    assert sdk.run("--launcher", launcher, "train").out == "the script\n"


def test_asked_to_smentry_launches_the_entry_script_with_the_sdks_arguments(sdk: Tree) -> None:
    argv, directory, _ = ran(sdk, "--launcher", "torchrun")
    assert argv[argv.index("--nproc_per_node") + 1] == "4"
    end = ["--epochs", "3", "--n", "1", "--augment", "true", "--layers", "[1, 2]", "-x"]
    assert argv[-10:] == [f"{sdk.base}/input/data/code/train.py", *end]
    assert directory == f"{sdk.base}/input/data/code"


def test_mpirun_over_several_hosts_is_roots(tree: Tree) -> None:
    result = tree.run("--launcher", "mpirun", "--user", "12345", "train")
    assert result.code == 2
    assert "--user: mpirun over several hosts wants sshd, which only root can start: expected no user" in result.err
