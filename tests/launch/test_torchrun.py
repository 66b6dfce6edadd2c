from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from smentry.errors import RefusedError
from smentry.launch import choose, torchrun
from smentry.launch.asked import TORCHRUN, Asked
from smentry.launch.cluster import Cluster

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = ["python3", "/opt/ml/code/train.py", "--epochs", "3"]
ALONE = Cluster(["algo-1"], "algo-1")
PAIR = Cluster(["algo-1", "algo-2"], "algo-2", "eth0")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A PATH with a Python, and nothing else."""
    (tmp_path / "python3").symlink_to(sys.executable)
    return {"PATH": str(tmp_path)}


def put(path: Path) -> str:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_one_host_meets_itself_where_torchrun_likes(environment: dict[str, str], tmp_path: Path) -> None:
    path = put(tmp_path / "torchrun")
    launched = torchrun.command(Asked(TORCHRUN, 4), ALONE, PROGRAM, environment)
    assert launched.argv == [path, "--nnodes", "1", "--nproc_per_node", "4", *PROGRAM[1:]]
    assert (launched.path, launched.label, launched.environment) == (path, "torchrun", {})


def test_several_hosts_meet_at_the_first(environment: dict[str, str], tmp_path: Path) -> None:
    path = put(tmp_path / "torchrun")
    launched = choose.command(Asked(TORCHRUN, 8), PAIR, PROGRAM, environment)
    assert launched.argv == [
        path, "--nnodes", "2", "--nproc_per_node", "8", "--master_addr", "algo-1", "--master_port", "7777",
        "--node_rank", "1", *PROGRAM[1:],
    ]  # fmt: skip
    assert launched.environment == {"NCCL_SOCKET_IFNAME": "eth0", "GLOO_SOCKET_IFNAME": "eth0"}


def test_the_port_is_the_jobs(environment: dict[str, str]) -> None:
    argv = torchrun.command(Asked(TORCHRUN), PAIR, PROGRAM, {**environment, "SM_MASTER_PORT": "29500"}).argv
    assert argv[argv.index("--master_port") + 1] == "29500"


def test_without_a_torchrun_of_its_own_the_programs_python_runs_the_module(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    put(tmp_path / "other/torchrun")
    environment["PATH"] += f":{tmp_path}/other"
    launched = torchrun.command(Asked(TORCHRUN), ALONE, PROGRAM, environment)
    assert launched.argv[:4] == [f"{tmp_path}/python3", "-m", "torch.distributed.run", "--nnodes"]
    assert launched.path == f"{tmp_path}/python3"


def test_what_is_asked_for_comes_after_what_smentry_says(environment: dict[str, str]) -> None:
    asked = Asked(TORCHRUN, 1, ["--max_restarts", "3", "--nproc_per_node", "2"])
    argv = torchrun.command(asked, ALONE, PROGRAM, environment).argv
    assert argv[-7:] == ["--max_restarts", "3", "--nproc_per_node", "2", *PROGRAM[1:]][-7:]
    assert argv.index("--max_restarts") > argv.index("--nproc_per_node")


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (["python3", "-m", "package", "--x"], ["1", "-m", "package", "--x"]),
        (["python3", "-u", "a.py"], ["1", "a.py"]),
        (["python3", "-OO", "a.py"], ["1", "--no_python", "{bin}/python3", "-OO", "a.py"]),
        (["python3", "-OOm", "package"], ["1", "--no_python", "{bin}/python3", "-OO", "-m", "package"]),
    ],
)
def test_a_module_stays_one_and_pythons_own_options_are_kept(
    environment: dict[str, str], words: list[str], end: list[str]
) -> None:
    argv = torchrun.command(Asked(TORCHRUN), ALONE, words, environment).argv
    assert argv[-len(end) :] == [word.format(bin=environment["PATH"]) for word in end]


def test_neurons_compiler_goes_before_it(environment: dict[str, str], tmp_path: Path) -> None:
    environment["RUN_NEURON_PARALLEL_COMPILE"] = "1"
    with pytest.raises(RefusedError, match=r"^neuron_parallel_compile: not found on PATH"):
        torchrun.command(Asked(TORCHRUN), ALONE, PROGRAM, environment)
    path = put(tmp_path / "neuron_parallel_compile")
    launched = torchrun.command(Asked(TORCHRUN), ALONE, PROGRAM, environment)
    assert launched.argv[:3] == [path, f"{tmp_path}/python3", "-m"]
    assert launched.path == path


def test_who_asked_is_in_a_refusal(environment: dict[str, str]) -> None:
    asked = Asked(TORCHRUN, origin="hyperparameter sagemaker_torch_distributed_enabled")
    with pytest.raises(RefusedError, match=r"^hyperparameter sagemaker_torch_distributed_enabled: only a Python pro"):
        torchrun.command(asked, ALONE, ["python3", "-c", "pass"], environment)
