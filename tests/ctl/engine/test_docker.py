from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import smentry
from smentry.ctl.engine import docker
from smentry.ctl.engine.base import Usage
from smentry.ctl.engine.docker import code_of_docker_run, measured

CPU = {"cpu_usage": {"total_usage": 1_500_000_000}}
V1: dict[str, Any] = {
    "usage": 1000,
    "limit": 4000,
    "stats": {"total_inactive_file": 300, "inactive_file": 1, "cache": 900},
}
V2: dict[str, Any] = {"usage": 1000, "limit": 4000, "stats": {"inactive_file": 200, "file": 900}}


@pytest.mark.parametrize(("memory", "used"), [(V1, 700), (V2, 800), ({"usage": 1000, "limit": 4000}, 1000)])
def test_memory_is_counted_without_the_page_cache_that_can_be_dropped(memory: dict[str, Any], used: int) -> None:
    assert measured({"memory_stats": memory, "cpu_stats": CPU}) == Usage(used, 4000, 1.5)


@pytest.mark.parametrize("memory", [{}, None, {"limit": 4000}])
def test_a_container_that_has_ended_uses_nothing(memory: dict[str, Any] | None) -> None:
    assert measured({"memory_stats": memory, "cpu_stats": {"cpu_usage": {"total_usage": 0}}}) is None


RUNC = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (RUNC + 'exec: "train": executable file not found in $PATH: unknown', 127),
        (RUNC + 'exec: "/app/train": stat /app/train: no such file or directory: unknown', 127),
        (RUNC + 'exec: "/etc/passwd": permission denied: unknown', 126),
        (RUNC + 'exec: "/etc": is a directory: unknown', 126),
        ('could not select device driver "" with capabilities: [[gpu]]', 0),
        ('error while mounting "/x": no such file or directory', 0),
        ("driver failed programming external connectivity: permission denied", 0),
    ],
)
def test_what_docker_run_would_exit_with(told: str, code: int) -> None:
    assert code_of_docker_run(told) == code


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("unix:///nonexistent/docker.sock", "no container engine answers: is Docker installed and running?"),
        ("tcp://127.0.0.1:1", "no container engine answers: is Docker installed and running?"),
        ("nonsense", "no container engine answers: "),
    ],
)
def test_no_engine_is_one_line_that_names_the_way_without_one(host: str, said: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "smentry.ctl", "run", "--image", "digits", "--output", str(tmp_path / "out")]
    environment = {**os.environ, "DOCKER_HOST": host, "PYTHONPATH": str(Path(smentry.__file__).parents[1])}
    ran = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"smentryctl: {said}")
    assert ran.stderr.endswith("--engine process\n")
    assert ran.stderr.count("\n") == 1
    assert ran.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_socket_that_one_may_not_use_is_told_from_one_that_is_not_there() -> None:
    inner = OSError("Connection aborted.", PermissionError(13, "Permission denied"))
    assert "join the group docker" in docker._why_no_answer(ValueError(inner))
