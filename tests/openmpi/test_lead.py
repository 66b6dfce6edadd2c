"""The program around mpirun on the first host. Scripts play ssh and mpirun; the real ones are in tests/engine/test_mpirun.py."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from running import LIMIT, program

from smentry.openmpi import lead

if TYPE_CHECKING:
    from pathlib import Path

    from running import Starter

SSH = """#!/bin/sh
case "$*" in *--smentry-ended*) echo "it has gone" >&2; exit 1;; esac
"""
"""It lets mpirun in, and then cannot be reached any more."""


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_for_the_ranks_whatever_its_signal(
    tmp_path: Path, path: str, start: Starter, number: signal.Signals
) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    shutil.copy(bash, tmp_path / "orterun")
    ranks = 'trap "echo >$STATE/launcher" INT TERM; $0 "$1" & wait $!'
    command = [sys.executable, "-I", lead.__file__, "algo-2", "orterun", "-c", ranks, *program("saver.py")]
    run = start(command, "--stop-timeout", "20", save=1, PATH=path)
    run.wait_for("ready")
    assert run.stop(number) == 0
    assert run.read("saved") == number.name
    assert not run.has("launcher")
    assert "algo-2 could not be told that mpirun has ended: it has gone" in run.stderr


def test_its_exit_code_is_that_of_mpirun_though_nobody_reads_what_it_says(path: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-I", lead.__file__, "algo-2", "sh", "-c", "exit 7"]
        ran = subprocess.run(
            command, env={"PATH": path}, stdin=subprocess.DEVNULL, stderr=writer, timeout=LIMIT, check=False
        )
    finally:
        os.close(writer)
    assert ran.returncode == 7
