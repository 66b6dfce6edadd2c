"""A person at a terminal: who is in the foreground, ^C, ^Z under a shell with job control, and a resized window."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pexpect
import pytest
from running import LIMIT, PROGRAMS, SMENTRY, pids, stat, surroundings, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., pexpect.spawn]]:
    spawned = []

    def start(*words: str) -> pexpect.spawn:
        environment = {**surroundings(), "STATE": str(tmp_path), "SAVE_SECONDS": "0.2", "PS1": "prompt> "}
        child = pexpect.spawn(words[0], list(words[1:]), env=environment, encoding="utf-8", timeout=LIMIT, echo=False)
        spawned.append(child)
        return child

    yield start
    for child in spawned:
        # All of its session: a listener survives its terminal.
        for pid in [pid for pid in pids() if stat(pid)[3:4] == [str(child.pid)]]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        child.ptyproc.delayafterterminate = 1.0  # on a busy machine even that takes its time
        child.close(force=True)


GROUPS = "import os; print('groups', os.getpgrp() == os.getpid(), os.tcgetpgrp(0) == os.getpgrp(), os.getppid())"


def test_the_program_is_in_the_foreground_and_smentry_gets_it_back(spawn: Callable[..., pexpect.spawn]) -> None:
    child = spawn("sh", "-c", f'{" ".join(SMENTRY)} -q -- {sys.executable} -c "{GROUPS}"; echo "back $(cat)"')
    child.expect(r"groups True True \d+\r\n")
    child.sendline("typed")
    child.sendeof()
    child.expect("back typed")
    child.expect(pexpect.EOF)


def test_a_job_in_the_background_does_not_take_the_terminal(spawn: Callable[..., pexpect.spawn]) -> None:
    bash = interactive(spawn)
    bash.sendline(f'{" ".join(SMENTRY)} -q -- {sys.executable} -c "{GROUPS}" & wait')
    bash.expect(r"groups True False \d+\r\n")


def interactive(spawn: Callable[..., pexpect.spawn]) -> pexpect.spawn:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    bash = spawn("bash", "--norc", "--noprofile", "--noediting", "-i")
    bash.expect_exact("prompt> ")
    return bash


def listening(bash: pexpect.spawn, *options: str) -> None:
    bash.sendline(f"{' '.join(SMENTRY)} {' '.join(options)} -- {sys.executable} {PROGRAMS}/listener.py")
    bash.expect("listening")


def test_control_c_reaches_the_program_once(spawn: Callable[..., pexpect.spawn], tmp_path: Path) -> None:
    bash = interactive(spawn)
    listening(bash)
    bash.sendintr()
    bash.expect("SIGINT")
    bash.sendcontrol("\\")
    bash.expect("SIGQUIT")
    heard = tmp_path / "signals"
    wait_until(lambda: len(heard.read_text().split()) == 2, "both to be written down")
    assert sorted(heard.read_text().split()) == ["SIGINT", "SIGQUIT"]


@pytest.mark.parametrize("name", ["saver.py", "wrapper.sh"])
def test_control_c_saves_and_gives_the_prompt_back(
    name: str, spawn: Callable[..., pexpect.spawn], tmp_path: Path
) -> None:
    bash = interactive(spawn)
    runner = sys.executable if name.endswith(".py") else "bash"
    bash.sendline(f"{' '.join(SMENTRY)} -- {runner} {PROGRAMS}/{name}")
    bash.expect("training")
    wait_until((tmp_path / "ready").exists, "the program to be ready")
    bash.sendintr()
    bash.expect_exact("prompt> ")
    assert (tmp_path / "saved").exists()
    bash.sendline("echo code $?")
    bash.expect(r"code (0|130)\r\n")


def test_control_z_gives_the_prompt_back_and_fg_goes_on(spawn: Callable[..., pexpect.spawn], tmp_path: Path) -> None:
    bash = interactive(spawn)
    bash.sendline(f"{' '.join(SMENTRY)} -- {sys.executable} {PROGRAMS}/saver.py")
    bash.expect("training")
    wait_until((tmp_path / "ready").exists, "the program to be ready")
    bash.sendcontrol("z")
    bash.expect_exact("prompt> ")
    bash.sendline("jobs -l")
    bash.expect(r"\[1\]\+ +(\d+) Stopped")
    smentry = int(bash.match.group(1))
    saver = json.loads((tmp_path / "ready").read_text())["pid"]
    assert stat(smentry)[0] == stat(saver)[0] == "T"
    bash.expect_exact("prompt> ")
    for key in ("z", "c"):
        bash.sendline("fg")
        bash.expect("saver.py")
        wait_until(lambda: stat(saver)[0] in "SR" and stat(saver)[5] == str(saver), "it to be in the foreground")
        bash.sendcontrol(key)
        if key == "z":
            bash.expect_exact("prompt> ")
    bash.expect("saved")
    bash.expect_exact("prompt> ")
    bash.sendline("echo code $?")
    bash.expect(r"code 0\r\n")
    assert (tmp_path / "told").read_text().split() == ["SIGINT"]


def test_bg_goes_on_and_leaves_the_terminal_to_the_shell(spawn: Callable[..., pexpect.spawn], tmp_path: Path) -> None:
    bash = interactive(spawn)
    bash.sendline(f"{' '.join(SMENTRY)} -- {sys.executable} {PROGRAMS}/saver.py")
    bash.expect("training")
    wait_until((tmp_path / "ready").exists, "the program to be ready")
    bash.sendcontrol("z")
    bash.expect_exact("prompt> ")
    bash.sendline("bg")
    saver = json.loads((tmp_path / "ready").read_text())["pid"]
    wait_until(lambda: stat(saver)[0] in "SR", "it to go on")
    bash.sendline("echo still $((40 + 2))")
    bash.expect("still 42")
    bash.sendline("kill %1; wait; echo code $?")
    bash.expect("saved")
    bash.sendline("echo again $((40 + 3))")
    bash.expect("again 43")


def test_a_stop_of_a_suspended_job_saves(spawn: Callable[..., pexpect.spawn], tmp_path: Path) -> None:
    """SIGTERM and SIGCONT, as `kill` and `fg` or a session's end send them."""
    bash = interactive(spawn)
    bash.sendline(f"{' '.join(SMENTRY)} -- {sys.executable} {PROGRAMS}/saver.py")
    bash.expect("training")
    wait_until((tmp_path / "ready").exists, "the program to be ready")
    bash.sendcontrol("z")
    bash.expect_exact("prompt> ")
    bash.sendline("kill %1; fg")
    bash.expect("saved")
    bash.expect(r"exit code 0")
    assert (tmp_path / "told").read_text().split() == ["SIGTERM"]


def test_a_resized_terminal_is_told(spawn: Callable[..., pexpect.spawn]) -> None:
    bash = interactive(spawn)
    listening(bash)
    bash.setwinsize(50, 132)
    bash.expect("SIGWINCH 50x132")


def test_reading_from_the_terminal_works(spawn: Callable[..., pexpect.spawn]) -> None:
    bash = interactive(spawn)
    bash.sendline(f"READ=1 {' '.join(SMENTRY)} -- {sys.executable} {PROGRAMS}/listener.py")
    bash.expect("listening")
    bash.sendline("hello")
    bash.expect("read hello")
    bash.sendline("end")
    bash.expect("read end")
    bash.expect_exact("prompt> ")


HANGUP = """
import os, signal, time
def note(number, _frame):
    with open(os.environ["STATE"] + "/signals", "a") as file: file.write(f"{signal.Signals(number).name} ")
    if number == signal.SIGTERM: os._exit(0)
for number in (signal.SIGHUP, signal.SIGTERM): signal.signal(number, note)
print("listening", flush=True)
while True: time.sleep(0.05)
"""


def test_a_closed_terminal_is_told_and_a_stop_after_it_works(tmp_path: Path) -> None:
    """SIGHUP comes to the session's leader, which is smentry here, and stderr is gone."""
    with pexpect_of(SMENTRY, tmp_path) as child:
        child.expect_exact("listening\r\n")  # all of it: where the terminal goes in mid-write, the program fails
        child.ptyproc.fileobj.close()
        heard = tmp_path / "signals"
        wait_until(lambda: heard.exists() and "SIGHUP" in heard.read_text(), "SIGHUP")
        os.kill(child.pid, signal.SIGTERM)
        wait_until(lambda: not stat(child.pid) or stat(child.pid)[0] == "Z", "the end")
        assert heard.read_text().split()[-1] == "SIGTERM"


@contextmanager
def pexpect_of(init: Sequence[str], state: Path) -> Iterator[pexpect.spawn]:
    words = [*init, "--", sys.executable, "-c", HANGUP]
    child = pexpect.spawn(
        words[0], words[1:], env={**surroundings(), "STATE": str(state)}, encoding="utf-8", timeout=LIMIT
    )
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        child.closed = child.ptyproc.closed = True
