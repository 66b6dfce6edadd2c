"""torchrun as smentry launches it, the real one: on one host, and on two that are both this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from container import ROOT, Tree

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).parent / "programs/sums.py"
LIMIT = 240
"""Seconds, of which a busy machine may need many: each process imports torch."""


def job(directory: Path, resources: dict[str, object] | None = None, processes: int = 2) -> Tree:
    """A job by the toolkit's convention that asks for torchrun, with so many processes on each host."""
    tree = Tree(directory)
    tree.put("code/sums.py", PROGRAM.read_text())
    tree.put(
        "input/config/hyperparameters.json",
        {
            "sagemaker_program": "sums.py",
            "sagemaker_torch_distributed_enabled": "true",
            "sagemaker_mpi_num_of_processes_per_host": str(processes),
        },
    )
    if resources:
        tree.put("input/config/resourceconfig.json", resources)
    tree.environment.update(SMENTRY_PYTHON=sys.executable, OMP_NUM_THREADS="1", HOME=str(tree.other))
    return tree


def start(tree: Tree, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "smentry", "--wait-hosts", "0", "--watch-hosts", "0", *arguments],
        env={**tree.environment, **variables, "PYTHONPATH": str(ROOT)},
        cwd=tree.other, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> list[dict[str, object]]:
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    return sorted((json.loads(line) for line in out.splitlines()), key=lambda said: str(said["RANK"]))


@pytest.fixture
def port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def test_processes_of_two_hosts_find_each_other(tmp_path: Path, port: str) -> None:
    assert Path(sys.executable).with_name("torchrun").exists()
    hosts = ["localhost", socket.gethostname()]
    if hosts[0] == hosts[1]:
        pytest.skip("this machine has one name only")
    started = []
    for host in hosts:
        resources = {"current_host": host, "hosts": hosts, "network_interface_name": "lo"}
        tree = job(tmp_path / str(len(started)), resources, processes=1)
        started.append(start(tree, "train", SM_MASTER_PORT=port))
    said = [rank for process in started for rank in ended(process)]
    assert [rank["RANK"] for rank in said] == ["0", "1"]  # in the order of the hosts, each of which has one
    assert {(rank["sum"], rank["WORLD_SIZE"], rank["LOCAL_WORLD_SIZE"]) for rank in said} == {(3, "2", "1")}
    assert {(rank["MASTER_ADDR"], rank["MASTER_PORT"]) for rank in said} == {("localhost", port)}


def test_without_a_torchrun_beside_python_ranks_meet_and_a_stop_lets_each_save(tmp_path: Path) -> None:
    tree = job(tmp_path)
    # Another name of the same Python, with nothing beside it, and an option that torchrun does not know of.
    python = tree.other / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    command = f"{python} -O {tree.base}/code/sums.py {tree.other}/saved"
    # As a torchrun that does not know the variable, and goes by its 30 s: the ranks save for longer.
    process = start(tree, "--train", command, "--launcher", "torchrun", "train", TORCH_ELASTIC_SHUTDOWN_TIMEOUT="1")
    assert process.stdout is not None
    said = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert sorted((rank["RANK"], rank["sum"], rank["flags"]) for rank in said) == [("0", 3, 1), ("1", 3, 1)]
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=LIMIT)
    assert sorted(path.name for path in tree.other.glob("saved-*")) == ["saved-0", "saved-1"], err
    assert process.returncode == 0, err
    assert "0 killed" in err
