"""What /proc says of real processes: families, signals, shells and inits under whatever name."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from running import pids, stat, surroundings, wait_until

from smentry.pid1 import linux

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCKED_PYTHON = (
    "import signal, sys\n"
    "signal.signal(15, lambda *_: None)\n"
    "signal.signal(1, signal.SIG_IGN)\n"
    "signal.pthread_sigmask(signal.SIG_BLOCK, [10, 64])\n"
    "print('ready', flush=True)\n"
    "sys.stdin.read()\n"
)


@contextmanager
def running(*command: str, executable: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process that has written `ready`; it and its children end with their stdin."""
    with subprocess.Popen(
        command, executable=executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def bit(number: int) -> int:
    return 1 << (number - 1)


def test_who_ends_while_it_is_looked_at_is_not_taken_for_one_that_wants_to_be_told() -> None:
    seen = 0
    with running("sh", "-c", "echo ready; while :; do sleep 0.01; done") as shell:
        while seen < 300:
            below = [process for process in linux.descendants(os.getpid()).values() if process.parent == shell.pid]
            assert not [process for process in below if process.caught == -1]
            seen += len(below)


def test_signals_that_are_caught_ignored_and_blocked_are_seen() -> None:
    with running(sys.executable, "-c", BLOCKED_PYTHON) as child:
        seen = linux.descendants(os.getpid())[child.pid]
        glanced = linux.glance(child.pid, "x", linux.started(child.pid))
    for process in (seen, glanced):
        assert process.caught & bit(15)
        assert not process.caught & bit(1)
        assert process.ignored & bit(1)
        assert not process.ignored & bit(15)
        assert process.blocked == bit(10) | bit(64)
        assert not process.shell
        assert not process.init
        assert process.state in "SR"
    assert seen.identity == glanced.identity
    assert seen.name.startswith("python")


def test_a_process_that_waits_for_signals_counts_as_one_that_blocks_them() -> None:
    """The kernel unblocks them while it waits: its mask shows nothing."""
    code = (
        "import signal\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [15])\n"
        "print('ready', flush=True)\n"
        "signal.sigwait([15])\n"
    )
    with running(sys.executable, "-c", code) as child:
        wait_until(lambda: linux.glance(child.pid, "", 0).blocked & bit(12), "it to wait for its signal")
        assert linux.glance(child.pid, "", 0).blocked & bit(15)


def test_families_are_followed_to_every_depth() -> None:
    with running("sh", "-c", "sleep 1000 & sh -c 'sleep 1000 & sleep 1000 & echo ready; wait' & wait") as child:
        names = ["sh", "sleep", "sleep", "sleep"]
        wait_until(lambda: sorted(p.name for p in linux.descendants(child.pid).values()) == names, "all of them")
        found = linux.descendants(child.pid)
        assert {process.group for process in found.values()} == {child.pid}
        parents = {process.pid: process.parent for process in found.values()}
        assert list(parents.values()).count(child.pid) == 2
        assert set(linux.descendants(os.getpid())) >= {child.pid, *found}
        assert all(process.started == linux.started(process.pid) for process in found.values())


def test_zombies_are_left_out() -> None:
    code = "import os, sys; os.fork() or os._exit(0); print('ready', flush=True); sys.stdin.read()"
    with running(sys.executable, "-c", code) as child:
        wait_until(lambda: "Z" in [stat(pid)[0] for pid in pids() if stat(pid)[1:2] == [str(child.pid)]], "the zombie")
        assert linux.descendants(child.pid) == {}


def test_a_process_whose_main_thread_ended_is_no_zombie() -> None:
    code = (
        "import ctypes, sys, threading\n"
        "threading.Thread(target=sys.stdin.read).start()\n"
        "print('ready', flush=True)\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    with running(sys.executable, "-c", code) as child:
        wait_until(lambda: stat(child.pid)[0] == "Z", "the main thread to end")
        assert linux.descendants(os.getpid())[child.pid].pid == child.pid


@pytest.mark.parametrize("name", ["a) R 1 1", "(((", ") Z 0", "new\nline", "ä\udcff", "sh", "tini"])
def test_no_name_confuses_it(name: str, tmp_path: Path) -> None:
    """The name of a process stands in parentheses, and may hold any byte (proc(5))."""
    file = tmp_path / name
    shutil.copy(shutil.which("sleep") or "/bin/sleep", os.fsencode(file))
    with subprocess.Popen([os.fsencode(file), "1000"]) as child:
        wait_until(lambda: linux.descendants(os.getpid()).get(child.pid, linux.Process(0)).name != "", "it")
        wait_until(lambda: not linux.descendants(os.getpid())[child.pid].name.startswith("py"), "its exec")
        process = linux.descendants(os.getpid())[child.pid]
        child.kill()
    assert process.parent == os.getpid()
    assert process.name == os.fsencode(name).decode("utf-8", "replace")
    assert process.state in "SRD"


SHELLS = ["sh", "dash", "bash", "zsh", "ksh", "mksh", "busybox sh", "busybox ash"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_is_known_whatever_its_script_is_called(shell: str, tmp_path: Path) -> None:
    words = shell.split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    script = tmp_path / "train.py"
    script.write_text(f"#!{shutil.which(words[0])} {' '.join(words[1:])}\necho ready; read line\n", encoding="utf-8")
    script.chmod(0o755)
    for command in ([str(script)], [*words, str(script)], ["-login", "-c", "echo ready; read line; :"]):
        if command[0] == "-login":
            if len(words) > 1:
                continue
            child = running(*command, executable=shutil.which(words[0]))
        else:
            child = running(*command)
        with child as process:
            assert linux.glance(process.pid, "", 0).shell, command
            assert linux.descendants(os.getpid())[process.pid].shell, command


@pytest.mark.parametrize("command", [["busybox", "cat"], ["cat"], [sys.executable, "-c", "input()"]])
def test_what_is_no_shell_is_not_taken_for_one(command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        wait_until(lambda: linux.glance(child.pid, "", 0).caught != -1, "it")
        wait_until(lambda: not linux.glance(child.pid, "", 0).shell, "its exec")
        child.kill()


@pytest.mark.parametrize("init", ["tini -s --", "dumb-init", "catatonit --"])
def test_an_init_is_known(init: str) -> None:
    if shutil.which(init.split()[0]) is None:
        pytest.skip(f"{init.split()[0]} is not installed")
    with running(*init.split(), "sh", "-c", "echo ready; cat") as child:
        process = linux.glance(child.pid, "", 0)
        assert process.init
        assert not process.shell


@pytest.mark.parametrize("name", ["orterun", "orted", "prted", "sshd"])
def test_what_starts_ranks_and_lets_them_in_is_known_by_its_file(name: str, tmp_path: Path) -> None:
    shutil.copy(shutil.which("cat") or "cat", tmp_path / name)
    with subprocess.Popen([str(tmp_path / name)], stdin=subprocess.PIPE) as child:
        wait_until(lambda: linux.glance(child.pid, "", 0).launcher == (name != "sshd"), "its exec")
        wait_until(lambda: linux.glance(child.pid, "", 0).init == (name == "sshd"), "its exec")
        child.kill()


def test_what_mpirun_reaches_another_host_by_is_a_part_of_it(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    for name in ("orterun", "ssh", "rank"):
        shutil.copy(bash, tmp_path / name)
    script = 'for name in ssh rank; do "$0/$name" -c "read" <&0 & done; echo ready; wait'
    with running(str(tmp_path / "orterun"), "-c", script, str(tmp_path)) as child:
        wait_until(lambda: {"ssh", "rank"} <= {p.name for p in linux.descendants(child.pid).values()}, "both")
        found = linux.descendants(os.getpid())
        launchers = {p.name for p in found.values() if p.launcher}
    assert launchers == {"orterun", "ssh"}


def test_what_has_gone_is_empty() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert linux.started(child.pid) == 0
    assert linux.descendants(child.pid) == {}
    assert linux.glance(child.pid, "gone", 7).identity == (child.pid, 7)


ORPHAN = """
import os, time
from smentry.pid1 import linux
linux.become_subreaper()
reader, writer = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.read(reader, 1)
        os._exit(5)
    os._exit(0)
os.wait()
assert len(linux.descendants(os.getpid())) == 1
os.write(writer, b".")
print(os.WEXITSTATUS(os.wait()[1]))
"""


def test_orphans_come_to_a_subreaper() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORPHAN], env=surroundings(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "5\n"


def test_a_wish_for_no_signal_at_all_is_refused_by_the_kernel() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        linux.signal_on_parent_death(1000)
    assert ctypes.get_errno() == 22
