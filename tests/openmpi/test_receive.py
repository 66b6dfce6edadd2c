"""What a host says that mpirun cannot come to. How it comes is shown with Open MPI itself, in tests/engine/test_mpirun.py."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from running import LIMIT

from smentry.openmpi import handover, receive

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


def test_who_sends_nothing_or_goes_away_does_not_keep_mpirun_out(tmp_path: Path) -> None:
    name = f"\0{tmp_path}"
    with socket.socket(socket.AF_UNIX) as listener, subprocess.Popen(["sleep", "1000"]) as door:
        try:
            listener.bind(name)
            listener.listen(8)
            for sent in (b"", b"", b"", b"", b"orted\0--x\0", b"orted\0--x\0"):
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(name)
                    connection.sendall(sent)  # and it has gone, without waiting for an answer
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(name)
                connection.sendall(b"orted\0--y\0")
                connection.shutdown(socket.SHUT_WR)
                assert receive._words(listener, 5.0, door) == ["orted", "--y"]
                assert connection.recv(16) == handover.TAKEN
        finally:
            door.kill()


def test_when_sshd_ends_nobody_can_come(tmp_path: Path) -> None:
    code, said = received(tmp_path, "orted", "sshd")
    assert (code, said) == (1, "sshd has ended with exit code 7, so mpirun on algo-1 cannot come here\n")
