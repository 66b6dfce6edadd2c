"""What smentry says on stderr: whole lines, and never a moment's wait for whoever reads there, but with the last ones."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running import LIMIT, SMENTRY, program, surroundings, wait_until
from tapped import is_full, job

from smentry.pid1.stderr import OUTPUT, Log, Patience
from smentry.pid1.tap import Tap

if TYPE_CHECKING:
    from running import Starter


@pytest.fixture
def pipe() -> tuple[int, int]:
    return os.pipe()


def read_all(descriptor: int) -> bytes:
    os.set_blocking(descriptor, False)
    data = b""
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except BlockingIOError:
            return data
        if not chunk:
            return data
        data += chunk


def fill(writer: int) -> int:
    """Write until a pipe takes nothing more, and return how many bytes it was."""
    os.set_blocking(writer, False)
    filled = 0
    try:
        while True:
            filled += os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    return filled


@pytest.mark.parametrize(
    ("verbosity", "said"),
    [(-1, "error"), (0, "error warning info"), (1, "error warning info debug")],
)
def test_verbosity(verbosity: int, said: str, pipe: tuple[int, int]) -> None:
    log = Log(verbosity, descriptor=pipe[1])
    for level in ("error", "warning", "info", "debug"):
        getattr(log, level)("event", level)
    lines = read_all(pipe[0]).decode().splitlines()
    assert [line.split()[-1] for line in lines] == said.split()
    prefix = f"smentry[{os.getpid()}]: "
    assert lines[0] == f"{prefix}error: error"
    assert all(line.startswith(prefix) for line in lines)


def test_json_is_one_object_a_line(pipe: tuple[int, int]) -> None:
    log = Log(1, json=True, descriptor=pipe[1])
    log.info("told", "told ä\nb", pids=[1, 2], why="because")
    log.debug("x", "y" * 10_000)
    first, second = map(json.loads, read_all(pipe[0]).decode().splitlines())
    assert abs(first.pop("time") - time.time()) < 60
    assert first == {"level": "info", "event": "told", "message": "told ä\nb", "pids": [1, 2], "why": "because"}
    assert len(second["message"]) == 10_000


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[31mb", "a\x00b", "a\rb", "\udcff"])
def test_a_message_is_one_printable_line_whatever_is_in_it(text: str, pipe: tuple[int, int]) -> None:
    Log(0, descriptor=pipe[1]).info("event", text)
    (line,) = read_all(pipe[0]).decode().splitlines()
    assert line.isprintable()


def test_a_line_is_never_longer_than_what_a_pipe_takes_whole(pipe: tuple[int, int]) -> None:
    Log(0, descriptor=pipe[1]).info("event", "ä" * 5000)
    data = read_all(pipe[0])
    assert len(data) <= 4096
    assert data.endswith(b"...\n")


def test_a_full_pipe_is_not_waited_for_and_its_lines_come_later(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    filled = fill(writer)
    log = Log(0, descriptor=writer)
    began = time.monotonic()
    for number in range(5000):
        log.say(OUTPUT, "hook", f"line {number}", {})
    assert time.monotonic() - began < 5
    assert len(read_all(reader)) == filled
    log.flush()
    lines = read_all(reader).decode().splitlines()
    assert [line.split()[-1] for line in lines[:1000]] == [str(number) for number in range(1000)]
    assert "4000 lines were lost: nobody read them" in lines[1000]
    log.info("event", "afterwards")
    assert read_all(reader).endswith(b"afterwards\n")


def test_the_flags_of_the_description_others_share_stay_as_they_were(pipe: tuple[int, int]) -> None:
    Log(0, descriptor=pipe[1]).info("event", "text")
    assert not fcntl.fcntl(pipe[1], fcntl.F_GETFL) & os.O_NONBLOCK


def test_an_ordinary_file_is_appended_to_where_the_others_are(tmp_path: Path) -> None:
    with open(tmp_path / "log", "wb", buffering=0) as file:
        file.write(b"before\n")
        Log(0, descriptor=file.fileno()).info("event", "text")
        file.write(b"after\n")
    assert [line.split()[-1] for line in (tmp_path / "log").read_text().splitlines()] == ["before", "text", "after"]


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", "0<&- 1>&- 2>&-"])
def test_a_stderr_that_takes_nothing_harms_nothing(where: str, start: Starter) -> None:
    """Closed, or a disk that is full."""
    command = " ".join([*SMENTRY, "-vv", "--", "sh", "-c", "'exit 7'"])
    run = start(["sh", "-c", f"{command} {where}"], init=["sh", "-c", 'exec "$@"', "sh"], separator=[], before=["env"])
    assert run.end() == 7


def test_a_reader_that_has_gone_harms_nothing() -> None:
    with subprocess.Popen(
        [*SMENTRY, "-vv", "--", "sh", "-c", "read line; exit 7"],
        env=surroundings(), stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        process.stderr.close()
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.close()
        try:
            assert process.wait(20) == 7
        finally:
            process.kill()


def test_a_limit_of_file_size_harms_nothing(tmp_path: Path) -> None:
    with open(tmp_path / "log", "wb") as log:
        limited = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *SMENTRY, "-vv", "--", "sh", "-c", "exit 7"]
        assert subprocess.run(limited, env=surroundings(), stderr=log, timeout=20, check=False).returncode == 7


def test_a_reader_that_does_not_read_holds_no_stop_up(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    fill(writer)
    with subprocess.Popen(
        [*SMENTRY, "-vv", "--stop-timeout", "10", "--", *program("saver.py")],
        env={**surroundings(), "STATE": str(tmp_path), "SAVE_SECONDS": "0.1"},
        stderr=writer,
        stdout=subprocess.DEVNULL,
    ) as process:
        wait_until((tmp_path / "ready").exists, "the program")
        process.terminate()
        assert process.wait(9) == 0
    assert (tmp_path / "saved").exists()
    os.close(reader)
    os.close(writer)


def test_the_last_lines_wait_for_a_reader_that_reads_late(tmp_path: Path, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    fill(writer)
    command = ["sh", "-c", f"echo >{tmp_path}/started; exit 3"]
    with subprocess.Popen([*SMENTRY, "--", *command], env=surroundings(), stderr=writer) as process:
        os.close(writer)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until((tmp_path / "started").exists, "the program")
        wait_until(lambda: not children.read_text(), "the program's end")
        with open(reader, "rb") as file:
            data = file.read()
        assert process.wait(LIMIT) == 3
    assert b"ended with exit code 3" in data.splitlines()[-1]


def test_the_last_lines_wait_only_so_long_and_for_nobody_who_has_gone(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    fill(writer)
    log = Log(0, descriptor=writer)
    log.info("event", "text")
    began = time.monotonic()
    log.catch_up(Patience(began + 0.2))
    assert 0.2 <= time.monotonic() - began < 5
    assert log.waiting
    os.close(reader)
    log.catch_up(Patience(began + LIMIT))
    assert not log.waiting
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("tap", ["auto", "off"])
def test_the_last_lines_do_not_wait_once_a_stop_comes(tap: str, tmp_path: Path, pipe: tuple[int, int]) -> None:
    """The program ended by itself, so that no stop has a deadline yet."""
    reader, writer = pipe
    fill(writer)
    why = "echo why >&2; " if tap == "auto" else ""  # without the tap it would wait for the reader itself
    command = [*SMENTRY, "--tap", tap, "--", "sh", "-c", f"echo >{tmp_path}/started; {why}exit 3"]
    environment = {**surroundings(), "SAGEMAKER_BASE_DIR": str(job(tmp_path))}
    with subprocess.Popen(command, env=environment, stderr=writer) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until((tmp_path / "started").exists, "the program")
        wait_until(lambda: not children.read_text(), "the program's end")
        began = time.monotonic()
        process.terminate()
        assert process.wait(LIMIT) == 3
        assert time.monotonic() - began < 3
    os.close(reader)
    os.close(writer)


def test_why_nothing_is_started_waits_for_a_reader_that_reads_late(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    fill(writer)
    with subprocess.Popen([*SMENTRY, "--no-such-option"], env=surroundings(), stderr=writer) as process:
        os.close(writer)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        with open(reader, "rb") as file:
            assert b"unknown option --no-such-option" in file.read()
        assert process.wait(LIMIT) == 2


def test_nobody_waits_for_a_reader_of_whom_the_tap_has_found_that_it_has_gone() -> None:
    for _ in range(20):
        reader, writer = os.pipe()
        fill(writer)
        os.read(reader, 4096)
        log = Log(0, descriptor=writer)
        tap = Tap(log, writer)
        tap.run()
        full = partial(is_full, writer)
        assert log.turn
        with log.turn:
            log.info("event", "text")
        os.write(tap.streams()[2], b"y" * 4096)
        wait_until(full, "the tap's thread to have filled the pipe")
        gone = threading.Timer(0.01, os.close, [reader])
        gone.start()
        began = time.monotonic()
        log.catch_up(Patience(began + LIMIT))
        assert time.monotonic() - began < LIMIT
        gone.join()
        os.close(writer)


def test_what_hooks_write_does_not_take_the_place_of_how_it_ended(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = Log(0, descriptor=writer)
    fill(writer)
    for number in range(3000):
        log.say(OUTPUT, "hook", f"line {number}", {})
    log.info("event", "ended")
    log.error("event", "why")
    read_all(reader)
    log.catch_up(Patience(time.monotonic() + LIMIT))
    lines = [line.partition(": ")[2] for line in read_all(reader).decode().splitlines()]
    assert lines == [
        *(f"line {number}" for number in range(1000)),
        "ended",
        "error: why",
        "warning: 2000 lines were lost: nobody read them",
    ]


def test_lines_of_several_writers_are_never_mixed(pipe: tuple[int, int]) -> None:
    code = (
        "import sys\n"
        "from smentry.pid1.stderr import Log\n"
        "log = Log(0)\n"
        "for number in range(300):\n"
        "    log.info('event', sys.argv[1] * 1500)\n"
        "    while log.waiting: log.flush()\n"
    )
    reader, writer = pipe
    writers = [
        subprocess.Popen([sys.executable, "-c", code, letter], stderr=writer, env=surroundings()) for letter in "abc"
    ]
    os.close(writer)
    with open(reader, encoding="ascii") as file:
        texts = [line.rstrip("\n").partition("]: ")[2] for line in file]
    assert [child.wait() for child in writers] == [0, 0, 0]
    assert sorted(texts) == ["a" * 1500] * 300 + ["b" * 1500] * 300 + ["c" * 1500] * 300
