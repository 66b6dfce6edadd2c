"""What the program writes to stderr reaches whoever reads it, unchanged and at once, and its end is remembered."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import random
import resource
import shlex
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running import LIMIT, surroundings, wait_until
from tapped import Tapped, is_full, python, read_until, supervised, supervising

if TYPE_CHECKING:
    from collections.abc import Iterator

PIPE = subprocess.PIPE
STREAM = "import os; print(os.readlink('/proc/self/fd/2'), flush=True)"
root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to become another user")


@contextmanager
def pipe(flags: int = 0) -> Iterator[tuple[int, int]]:
    """A pipe of which the writing end has these flags; both ends are closed at the end, where they are open."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETFL, flags)
    try:
        yield reader, writer
    finally:
        for end in (reader, writer):
            try:
                os.close(end)
            except OSError:
                pass


def wait_until_full(writer: int) -> None:
    """Wait until a pipe takes nothing more, and close this end."""
    wait_until(lambda: is_full(writer), "the pipe to be full")
    os.close(writer)


@pytest.fixture
def tapped(tmp_path: Path) -> Iterator[Tapped]:
    """Start smentry on a program whose stderr it listens to; it is killed at the end of the test."""
    found = Tapped(tmp_path)
    yield found
    found.close()


# When there is one.


def test_the_program_of_a_job_writes_to_a_pipe_of_smentrys_own(tmp_path: Path, tapped: Tapped) -> None:
    with open(tmp_path / "err", "wb") as err:
        process = tapped(python(STREAM), stdout=PIPE, stderr=err)
        out, _ = process.communicate(timeout=LIMIT)
    assert out.startswith(b"pipe:")


@pytest.mark.parametrize("how", ["off", "serve", "no job"])
def test_without_a_failure_file_to_write_or_by_option_stderr_is_the_programs(
    how: str, tmp_path: Path, tapped: Tapped
) -> None:
    options = ["--tap", "off"] if how == "off" else []
    environment = {}
    if how == "serve":
        options = ["--serve", shlex.join(python(STREAM)), "serve"]
    if how == "no job":
        environment["SAGEMAKER_BASE_DIR"] = str(tmp_path / "nothing")
    with open(tmp_path / "err", "wb") as err:
        command = [] if how == "serve" else python(STREAM)
        process = tapped(command, *options, env=environment, stdout=PIPE, stderr=err)
        out, _ = process.communicate(timeout=LIMIT)
    assert out.decode().strip() == str(tmp_path / "err")


def test_a_terminal_is_left_to_the_program(tapped: Tapped) -> None:
    master, slave = pty.openpty()
    process = tapped(python(STREAM), stdout=PIPE, stderr=slave)
    out, _ = process.communicate(timeout=LIMIT)
    assert out.decode().strip() == os.ttyname(slave)
    os.close(slave)
    os.close(master)


def test_a_closed_stderr_is_found_closed(tapped: Tapped) -> None:
    code = "import os\ntry: print(os.fstat(2))\nexcept OSError as error: print(error.errno)"
    process = tapped(python(code), stdout=PIPE, preexec_fn=lambda: os.close(2))
    out, _ = process.communicate(timeout=LIMIT)
    assert out == b"9\n"


def test_stdout_of_its_own_is_the_programs(tapped: Tapped) -> None:
    code = "import os; os.write(1, os.readlink('/proc/self/fd/1').encode())"
    process = tapped(python(code), stdout=PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout
    wanted = os.readlink(f"/proc/self/fd/{process.stdout.fileno()}")
    assert process.communicate(timeout=LIMIT)[0].decode() == wanted


# Bytes.


def test_bytes_are_unchanged(tmp_path: Path, tapped: Tapped) -> None:
    data = random.Random(4).randbytes(3_000_001)
    (tmp_path / "data").write_bytes(data)
    process = tapped(["sh", "-c", f"cat {tmp_path}/data >&2"], stderr=PIPE)
    assert process.communicate(timeout=LIMIT)[1] == data
    assert process.returncode == 0


def test_a_line_without_an_end_comes_at_once(tapped: Tapped) -> None:
    code = "import os; os.write(2, b' 50%\\r'); os.read(0, 1); os.write(2, b'100%\\n')"
    process = tapped(python(code), stdin=PIPE, stderr=PIPE)
    assert process.stderr
    assert read_until(process.stderr.fileno(), b"\r") == b" 50%\r"
    assert process.communicate(b"x", timeout=LIMIT)[1] == b"100%\n"


def test_ten_thousand_small_writes_arrive_in_order(tapped: Tapped) -> None:
    code = "import os\nfor n in range(10000): os.write(2, b'%d ' % n)"
    process = tapped(python(code), stderr=PIPE)
    assert process.communicate(timeout=LIMIT)[1] == b"".join(b"%d " % n for n in range(10000))


def test_stdout_and_stderr_that_are_one_keep_their_order(tapped: Tapped) -> None:
    code = "import os\nfor n in range(5000): os.write(1 + n % 2, b'%d\\n' % n)"
    process = tapped(python(code), stdout=PIPE, stderr=subprocess.STDOUT)
    assert process.communicate(timeout=LIMIT)[0] == b"".join(b"%d\n" % n for n in range(5000))


@pytest.mark.slow
def test_a_gigabyte_arrives_whole_and_in_order(tapped: Tapped) -> None:
    size, chunk = 1 << 30, 1 << 20
    code = (
        "import hashlib, os, random, sys\n"
        "found, block = hashlib.blake2b(), bytearray(random.Random(1).randbytes(1 << 20))\n"
        "for n in range(1 << 10):\n"
        "    block[:4] = n.to_bytes(4, 'big')\n"
        "    found.update(block)\n"
        "    rest = memoryview(block)\n"
        "    while rest: rest = rest[os.write(2, rest):]\n"
        "print(found.hexdigest())\n"
    )
    process = tapped(python(code), stdout=PIPE, stderr=PIPE)
    assert process.stdout
    assert process.stderr
    count, found = 0, hashlib.blake2b()
    while True:
        data = os.read(process.stderr.fileno(), chunk)
        if not data:
            break
        count += len(data)
        found.update(data)
    assert count == size
    assert process.stdout.read().decode().strip() == found.hexdigest()
    assert process.wait(LIMIT) == 0


def test_dev_stderr_can_be_opened_anew(tapped: Tapped) -> None:
    process = tapped(["sh", "-c", "echo one >/dev/stderr; echo two >&2"], stderr=PIPE)
    assert process.communicate(timeout=LIMIT)[1] == b"one\ntwo\n"


@root
@pytest.mark.parametrize("options", [("--user", "65534:65534"), ()], ids=["by smentry", "by itself"])
def test_dev_stderr_can_be_opened_anew_as_another_user(options: tuple[str, ...], tapped: Tapped) -> None:
    code = "import os\nif not os.getuid(): os.setgid(65534); os.setuid(65534)\nopen('/dev/stderr', 'w').write('here')"
    process = tapped(["/usr/bin/env", "python3", "-c", code], *options, stderr=PIPE, cwd="/")
    assert process.communicate(timeout=LIMIT)[1] == b"here"
    assert process.returncode == 0


def test_lines_of_smentry_and_of_the_program_do_not_get_into_each_other(tmp_path: Path, tapped: Tapped) -> None:
    code = (
        "import os, signal\n"
        "for number in range(signal.SIGRTMIN, signal.SIGRTMAX): signal.signal(number, lambda *_: None)\n"
        "line = b'x' * 99 + b'\\n'\n"
        "while not os.path.exists('enough'): os.write(2, line * 30)\n"
    )
    process = tapped(python(code), "-v", stderr=PIPE, cwd=tmp_path)
    assert process.stderr
    data, own = bytearray(read_until(process.stderr.fileno(), b"xx")), 0
    for number in range(signal.SIGRTMIN, signal.SIGRTMAX):  # each is worth two lines
        process.send_signal(number)
        while own < 2 * (number - signal.SIGRTMIN):  # by a reader that is slower than the program
            data += os.read(process.stderr.fileno(), 3000)
            own += data.count(b"smentry[", max(0, len(data) - 3007))
            assert len(data) < 100 << 20
    (tmp_path / "enough").touch()
    data += process.communicate(timeout=LIMIT)[1]
    lines = bytes(data).splitlines()
    assert {line for line in lines if not line.startswith(b"smentry[")} == {b"x" * 99}
    assert all(line.count(b"smentry[") <= 1 and b"xx" not in line for line in lines if line[:1] == b"s")


def test_what_it_wrote_last_is_read_before_it_is_said_to_have_ended(tapped: Tapped) -> None:
    code = "import os\nos.write(2, b'-' * 120_000 + b'\\n')\nos._exit(0)"
    with pipe() as (reader, writer):
        fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ
        process = tapped(python(code), "-v", stderr=writer)
        os.close(writer)
        data = bytearray()
        while chunk := os.read(reader, 128):  # slower than the program's end
            data += chunk
        assert process.wait(LIMIT) == 0
    lines = bytes(data).splitlines()
    assert b"ended with exit code 0" in lines[-1]
    assert lines[-2] == b"-" * 120_000


# Readers and files that cannot take it.

FLOOD = (
    "import os, signal, sys\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "signal.signal(signal.SIGUSR1, lambda *_: open(sys.argv[1], 'w').close())\n"
    "while True: os.write(2, b'y' * 4096)\n"
)


@pytest.mark.slow
def test_a_reader_that_does_not_read_stops_neither_signals_nor_the_deadline(tmp_path: Path, tapped: Tapped) -> None:
    with pipe() as (reader, writer):
        command = python(FLOOD, str(tmp_path / "signalled"))
        process = tapped(command, "--stop-timeout", "20", stderr=writer)
        wait_until_full(writer)
        process.send_signal(signal.SIGUSR1)
        wait_until((tmp_path / "signalled").exists, "the signal to be passed on")
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 128 + signal.SIGKILL
        assert time.monotonic() - began < 20
        assert set(os.read(reader, 1 << 20)) == set(b"y")
    # Nor does it take the time to say why.
    assert "its 18 s were over" in (tmp_path / "ml/output/failure").read_text()


def test_a_reader_that_reads_late_gets_everything(tmp_path: Path, tapped: Tapped) -> None:
    code = "import os\nfor n in range(40000): os.write(2, b'%07d\\n' % n)\nopen('written', 'w').close()"
    with pipe() as (reader, writer):
        process = tapped(python(code), stderr=writer, cwd=tmp_path)
        wait_until_full(writer)
        assert not (tmp_path / "written").exists()
        with open(reader, "rb", closefd=False) as file:
            assert file.read() == b"".join(b"%07d\n" % n for n in range(40000))
        assert process.wait(LIMIT) == 0


@pytest.mark.parametrize("ignored", [False, True], ids=["SIGPIPE", "EPIPE"])
def test_when_the_reader_goes_away_the_program_gets_what_it_would_have_got(ignored: bool, tapped: Tapped) -> None:
    code = (
        "import os, signal, sys\n"
        "if sys.argv[1] == 'False': signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "try:\n"
        "    while True: os.write(2, b'y' * 4096)\n"
        "except BrokenPipeError: sys.exit(32)\n"
    )
    process = tapped(python(code, str(ignored)), stderr=PIPE)
    assert process.stderr
    os.read(process.stderr.fileno(), 4096)
    process.stderr.close()
    assert process.wait(LIMIT) == (32 if ignored else 128 + signal.SIGPIPE)


def test_the_reader_goes_away_for_the_program_too_while_a_hook_runs_that_is_no_command(
    tmp_path: Path, tapped: Tapped
) -> None:
    config = tmp_path / "smentry.yaml"
    config.write_text("hooks:\n  - {on: USR2, signal: USR1, wait_for: /nowhere/at/all, timeout: 10m}\n")
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b'asked'))\n"
        "os.write(1, b'ready')\n"
        "while True: os.write(2, b'y' * 4096)\n"
    )
    process = tapped(python(code), "--config", str(config), stdout=PIPE, stderr=PIPE)
    assert process.stdout
    assert process.stderr
    read_until(process.stdout.fileno(), b"ready")
    process.send_signal(signal.SIGUSR2)
    read_until(process.stdout.fileno(), b"asked")
    process.stderr.close()
    assert process.wait(LIMIT) == 128 + signal.SIGPIPE


def test_a_broken_pipe_is_no_signal_to_pass_on(tmp_path: Path) -> None:
    """write(2) raises SIGPIPE for the thread that wrote: the loop must not find it."""
    code = (
        "import _signal, os, sys, time\n"
        "_signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())\n"
        "from smentry.pid1 import tap\n"
        "from smentry.pid1.stderr import Log, Patience\n"
        "reader, writer = os.pipe()\n"
        "found = tap.Tap(Log(), writer)\n"
        "source = found.streams()[2]\n"
        "found.run()\n"
        "os.close(reader)\n"
        "os.write(source, b'x')\n"
        "try:\n"
        "    while True: os.write(source, b'x'); time.sleep(0.01)\n"
        "except BrokenPipeError: pass\n"
        "_signal.sigtimedwait({13}, 0)\n"  # of this thread's own
        "print(sorted(map(int, _signal.sigpending())), found.close(Patience(time.monotonic() + 5))[:1])\n"
    )
    done = subprocess.run(python(code), env=surroundings(), capture_output=True, text=True, timeout=LIMIT, check=True)
    assert done.stdout == "[] b'x'\n"


def test_a_stderr_that_somebody_has_set_to_o_nonblock_gets_everything(tmp_path: Path, tapped: Tapped) -> None:
    data = random.Random(5).randbytes(1 << 20)
    (tmp_path / "data").write_bytes(data)
    with pipe(os.O_NONBLOCK) as (reader, writer):
        process = tapped(["sh", "-c", f"cat {tmp_path}/data >&2"], stderr=writer)
        wait_until_full(writer)
        with open(reader, "rb", closefd=False) as file:
            assert file.read() == data
        assert process.wait(LIMIT) == 0


WRITES = "import os\nfor n in range(3000): os.write(2, b'%099d\\n' % n)\nprint('done')"


def test_a_full_disk_does_not_end_the_program(tapped: Tapped) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        process = tapped(python(WRITES), stdout=PIPE, stderr=full)
        assert process.communicate(timeout=LIMIT)[0] == b"done\n"
    assert process.returncode == 0


def test_a_file_that_may_not_grow_has_what_fits_and_does_not_end_the_program(tmp_path: Path, tapped: Tapped) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    with open(tmp_path / "err", "wb") as err:
        process = tapped(python(WRITES), stdout=PIPE, stderr=err, preexec_fn=limit)
        assert process.communicate(timeout=LIMIT)[0] == b"done\n"
    assert process.returncode == 0
    assert (tmp_path / "err").read_bytes() == b"".join(b"%099d\n" % n for n in range(100))


# The end of it.


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 200_000])
def test_the_last_64_kb_are_remembered(size: int, tmp_path: Path) -> None:
    data = random.Random(size).randbytes(size)
    (tmp_path / "data").write_bytes(data)
    code = (
        "import os, random\n"
        "rest, sizes = open('data', 'rb').read(), random.Random(1)\n"
        "while rest: rest = rest[os.write(2, rest[: sizes.randrange(1, 5000)]) :]\n"
    )
    assert supervised(tmp_path, python(code))["tail"] == data[-65536:].decode("latin-1")


def test_the_end_is_remembered_though_nobody_reads(tmp_path: Path) -> None:
    with pipe(os.O_NONBLOCK) as (_, writer):
        while not is_full(writer):
            os.write(writer, bytes(4096))
        report = supervised(tmp_path, python("import os\nos.write(2, b'why' * 20_000)"), stderr=writer)
    assert report["code"] == 0
    assert report["tail"] == "why" * 20_000


def test_without_it_nothing_is_remembered(tmp_path: Path) -> None:
    assert supervised(tmp_path, ["sh", "-c", "echo here >&2"], tap=False)["tail"] == ""


def test_who_keeps_stderr_open_delays_nothing(tmp_path: Path) -> None:
    """A process that nobody can end keeps the pipe: this one, which opens it anew."""
    with supervising(
        tmp_path, ["sh", "-c", "echo $$ >pid; echo last >&2; while [ ! -e go ]; do sleep 0.05; done"]
    ) as init:
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip(), "the program")
        held = os.open(f"/proc/{(tmp_path / 'pid').read_text().strip()}/fd/2", os.O_WRONLY)
        try:
            (tmp_path / "go").touch()
            assert init.wait(LIMIT) == 0
            with pytest.raises(BrokenPipeError):
                os.write(held, b"nobody listens any more")
        finally:
            os.close(held)


def test_what_waits_is_passed_on_without_waiting_for_the_end_of_the_pipe(tmp_path: Path) -> None:
    """Its limit is far away: with a wait for the end this would take as long."""
    code = (
        "import array, fcntl, os, termios, time\n"
        "from smentry.pid1 import tap\n"
        "from smentry.pid1.stderr import Log, Patience\n"
        "fcntl.fcntl(2, 1031, 4096)\n"  # F_SETPIPE_SZ: what has been read is far from having been written
        "found = tap.Tap(Log())\n"
        "found.run()\n"
        "os.write(found.streams()[2], b'z' * 60000)\n"
        "left = array.array('i', [1])\n"
        "while left[0]: fcntl.ioctl(found.streams()[2], termios.FIONREAD, left)\n"
        "assert found.close(Patience(time.monotonic() + 1000)) == b'z' * 60000\n"
        "os._exit(0)\n"
    )
    done = subprocess.run(python(code), env=surroundings(), capture_output=True, timeout=LIMIT, check=True)
    assert done.stderr == b"z" * 60000


# The thread.


def test_while_it_writes_smentrys_own_lines_wait_and_come_next() -> None:
    code = (
        "import os\n"
        "from smentry.pid1 import tap\n"
        "from smentry.pid1.stderr import Log, Patience\n"
        "log = Log()\n"
        "found = tap.Tap(log)\n"
        "found.run()\n"
        "os.write(found.streams()[2], b'z' * 60_000 + b'\\n')\n"
        "while not log.turn.locked(): pass\n"
        "log.info('said', 'meanwhile')\n"
        "os.write(1, b'said')\n"
        "while log.waiting: pass\n"
        "os._exit(0)\n"
    )
    with pipe() as (reader, writer):
        fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ: it takes until somebody reads
        with subprocess.Popen(python(code), env=surroundings(), stdout=PIPE, stderr=writer) as process:
            os.close(writer)
            assert process.stdout
            read_until(process.stdout.fileno(), b"said")
            with open(reader, "rb", closefd=False) as file:
                lines = file.read().splitlines()
    assert lines[0] == b"z" * 60_000
    assert lines[1].endswith(b"meanwhile")


def test_hooks_run_beside_it_without_a_warning(tmp_path: Path, tapped: Tapped) -> None:
    """A fork beside a thread is worth a warning since Python 3.12, which PYTHONWARNINGS=error makes an error."""
    (tmp_path / "hooks.yaml").write_text(
        f"hooks:\n- {{on: USR2, run: [touch, {tmp_path}/hooked]}}\n"
        f"- {{on: exit, copy: {{from: {tmp_path}/hooked, to: {tmp_path}/copied}}}}\n"
    )
    code = "import os, time\nos.write(2, b'ready')\nwhile not os.path.exists('hooked'): time.sleep(0.01)\n"
    options = ("-v", "--config", str(tmp_path / "hooks.yaml"))
    environment = {"PYTHONWARNINGS": "error"}
    process = tapped(python(code), *options, stderr=PIPE, cwd=tmp_path, env=environment)
    assert process.stderr
    said = read_until(process.stderr.fileno(), b"ready")
    process.send_signal(signal.SIGUSR2)
    said += process.communicate(timeout=LIMIT)[1]
    assert (tmp_path / "copied").exists(), said
    assert b"Warning" not in said


def test_there_is_one_thread_and_it_sleeps(tapped: Tapped) -> None:
    process = tapped(python("import os\nos.write(2, b'ready')\nos.read(0, 1)"), stdin=PIPE, stderr=PIPE)
    assert process.stderr
    read_until(process.stderr.fileno(), b"ready")
    tasks = Path(f"/proc/{process.pid}/task")

    def asleep() -> bool:
        found = [(task / "status").read_text() for task in tasks.iterdir()]
        return len(found) == 2 and all("\nState:\tS" in text for text in found)

    wait_until(asleep, "both threads to sleep")
    process.communicate(b"x", timeout=LIMIT)
