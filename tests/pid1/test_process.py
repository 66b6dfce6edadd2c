"""Starting a program for real: what it gets, and what is said when it cannot be started."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from running import program, surroundings, takes_signals, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from running import Starter

# In an interpreter of its own: a test that forks itself would fork the threads of others too.
START = """
import json, os, signal, sys
from smentry.pid1 import process
given = json.load(sys.stdin)
identity = given.pop("identity", None)
if identity:
    given["identity"] = process.Identity(*identity)
program = process.Program(**{"environment": dict(os.environ), **given})
try:
    pid = process.start(program, mask=[], ignore_children=False, terminal=False)
except process.StartError as error:
    print(json.dumps({"code": error.code, "text": str(error)}))
    try: os.waitpid(-1, os.WNOHANG)
    except ChildProcessError: sys.exit(0)
    sys.exit("a child was left")
group = os.getpgid(pid)
status = os.waitpid(pid, 0)[1]
print(json.dumps({"group": group == pid}), flush=True)  # last: until here the program writes to the same pipe
sys.exit(os.waitstatus_to_exitcode(status))
"""


def started(*argv: str, **more: object) -> tuple[dict[str, object], list[str]]:
    """What smentry.pid1.process said of starting this, and what the program printed."""
    done = subprocess.run(
        [sys.executable, "-c", START],
        input=json.dumps({"argv": argv, **more}),
        env=surroundings(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *printed, said = done.stdout.splitlines()
    return json.loads(said), printed


def test_it_runs_in_a_process_group_of_its_own() -> None:
    assert started("/bin/true")[0] == {"group": True}


def test_argv_environment_and_directory_are_what_was_asked_for(tmp_path: Path) -> None:
    said, printed = started(
        "the name", "-c", 'echo "$0,$1,$A"; pwd; env | wc -l',
        path="/bin/sh", environment={"A": "ä b", "PWD": "/"}, directory=str(tmp_path),
    )  # fmt: skip
    assert said == {"group": True}
    assert printed[0] == "the name,,ä b"
    assert printed[1] == str(tmp_path)


def test_a_file_that_the_kernel_does_not_recognise_is_run_by_the_shell(tmp_path: Path) -> None:
    """exec(3) does so, execve(2) does not."""
    script = tmp_path / "no interpreter line"
    script.write_text('echo "$# $1"\n', encoding="utf-8")
    script.chmod(0o755)
    assert started(str(script), "a b") == ({"group": True}, ["1 a b"])


def test_nothing_of_smentrys_own_is_left_open(tmp_path: Path) -> None:
    said, printed = started("/bin/ls", "/proc/self/fd")
    assert said == {"group": True}
    assert printed == ["0", "1", "2", "3"]  # 3 is the directory that ls reads


@pytest.mark.parametrize(
    ("content", "mode", "code", "text"),
    [
        (None, 0, 127, "no such file"),
        (b"#!/no/such/interpreter\n", 0o755, 127, "the interpreter or loader it names does not"),
        (b"#!/bin/sh\n", 0o644, 126, "Permission denied"),
    ],
)
def test_what_cannot_be_executed_is_explained(
    content: bytes | None, mode: int, code: int, text: str, tmp_path: Path
) -> None:
    file = tmp_path / "program"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    said, _ = started(str(file))
    assert said["code"] == code
    assert text in str(said["text"])
    assert str(file) in str(said["text"])


def test_a_directory_is_no_program(tmp_path: Path) -> None:
    said, _ = started(str(tmp_path))
    assert said == {"code": 126, "text": f"cannot run {tmp_path}: Permission denied"}


def test_a_working_directory_that_is_not_there(tmp_path: Path) -> None:
    said, _ = started("/bin/true", directory=str(tmp_path / "gone"))
    assert said["code"] == 126
    assert str(said["text"]).startswith(f"cannot start true in {tmp_path}/gone: No such file")


def test_too_long_an_argument() -> None:
    said, _ = started("/bin/true", "x" * 200_000)
    assert said == {"code": 126, "text": "cannot run /bin/true: Argument list too long"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_the_program_runs_as_another_user_with_groups(tmp_path: Path) -> None:
    _, printed = started("/bin/sh", "-c", "id -u; id -g; id -G", identity=[4321, 4322, [4323, 4324]])
    assert printed == ["4321", "4322", "4322 4323 4324"]


def test_another_user_without_the_right_to_is_an_error() -> None:
    command = ["unshare", "-U"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*command, sys.executable, "-c", START],
        input=json.dumps({"argv": ["/bin/true"], "identity": [12345, 12345, []]}),
        env=surroundings(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.stderr.startswith("unshare"):
        pytest.skip("no user namespaces here, to be without the rights of root in")
    said = json.loads(done.stdout)
    assert said["code"] == 126
    assert str(said["text"]).startswith("cannot become user 12345: ")
    assert "smentry must be root for --user" in str(said["text"])


def test_a_stop_ends_the_wait_for_a_file_system_that_does_not_answer(start: Starter, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    shutil.copy("/bin/true", slow)
    with subprocess.Popen(
        [*program("slow_exec.py"), str(slow), "60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as holding:
        assert holding.stdout is not None
        if holding.stdout.readline() != b"waiting\n":
            assert holding.stderr is not None
            pytest.skip(f"fanotify: {holding.stderr.read().decode().strip()}")
        try:
            run = start([str(slow)], "--stop-timeout", "15")
            wait_until(lambda: takes_signals(run.pid), "smentry to block its signals")
            assert run.stop() == 128 + signal.SIGTERM
            assert "SIGTERM came" in run.stderr
            assert run.seconds < 15
        finally:
            holding.kill()
