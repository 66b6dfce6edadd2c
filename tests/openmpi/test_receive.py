"""What a host says that mpirun cannot come to. How it comes is shown with Open MPI itself, in tests/engine/test_mpirun.py."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from running import LIMIT

from smentry.openmpi import receive

if TYPE_CHECKING:
    from pathlib import Path


def received(path: Path, *names: str) -> tuple[int, str]:
    """The exit code of the program with commands of these names on PATH, which fail, and what it says."""
    for name in names:
        (path / name).write_text("#!/bin/sh\nexit 7\n")
        (path / name).chmod(0o755)
    ran = subprocess.run(
        [sys.executable, "-I", receive.__file__, "algo-1"],
        env={"PATH": str(path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return ran.returncode, ran.stderr


def test_without_open_mpi_that_is_said(tmp_path: Path) -> None:
    code, said = received(tmp_path, "sshd")
    assert (code, said) == (127, "mpirun needs Open MPI in the image of every host: orted is not on PATH\n")


def test_when_sshd_ends_nobody_can_come(tmp_path: Path) -> None:
    code, said = received(tmp_path, "orted", "sshd")
    assert (code, said) == (1, "sshd has ended with exit code 7, so mpirun on algo-1 cannot come here\n")
