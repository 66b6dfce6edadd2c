"""The display in files, in pipes and in real terminals."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pexpect
import pytest
from running import LIMIT, wait_until

from smentry.ctl.display.screen import Status, amount, clock, open_display, status_line

if TYPE_CHECKING:
    from pathlib import Path

MOVES = re.compile(r"\x1b\[[0-9;?]*[A-HJKSTfhl]|\x1b[78]")
"""What moves a cursor, erases, or shows and hides it (ECMA-48)."""

HEAD = """
import sys, time
from smentry.ctl.display.screen import Status, open_display
"""

JOB = """
with open_display(["algo-1", "algo-2"], stream=sys.stdout, colour=sys.argv[1]) as display:
    first, second = display.output("algo-1"), display.output("algo-2")
    first(b"[red]one[/red]\\x1b[2J\\n")
    second("zwölf 日本\\n".encode())
    display.say("its own word")
    first(b"\\r 10%|#    |")
    display.status(Status(elapsed=65, limit=3600, memory=512 << 20, memory_limit=2 << 30, cpu_percent=187, phase="Training"))
    sys.stdin.readline()
    first(b"\\r100%|#####|\\n")
print("after")
"""


def plain_of(terminal: str) -> str:
    """What a terminal gets, without colours and movements."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal)


def script(text: str) -> list[str]:
    return [sys.executable, "-c", HEAD + text]


def in_a_terminal(colour: str, columns: int = 80, **variables: str) -> pexpect.spawn[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    command, *words = script(JOB)
    return pexpect.spawn(
        command,
        [*words, colour],
        env={**environment, "TERM": "xterm-256color", **variables},
        dimensions=(24, columns),
        encoding="utf-8",
        timeout=LIMIT,
        echo=False,
    )


def finish(terminal: pexpect.spawn[str]) -> str:
    """Let the job end; what the terminal got from then on."""
    terminal.sendline()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    return str(terminal.before)


@pytest.mark.parametrize("colour", ["auto", "never"])
def test_a_file_gets_plain_lines_with_the_names_of_the_hosts(tmp_path: Path, colour: str) -> None:
    path = tmp_path / "log"
    with (
        path.open("w", encoding="utf-8") as stream,
        open_display(["algo-1", "algo-10"], stream=stream, colour=colour) as display,
    ):
        display.output("algo-1")(b"\x1b[31mone\x1b[0m\x1b[H\ntwo")
        display.output("algo-10")(b"[b]ten[/b]\n")
        display.status(Status(elapsed=1, phase="Training"))
    assert path.read_text(encoding="utf-8") == "algo-1  | one\nalgo-10 | [b]ten[/b]\nalgo-1  | two\n"


def test_colours_that_are_always_wanted_are_in_a_file_too_and_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with (
        path.open("w", encoding="utf-8") as stream,
        open_display(["algo-1"], stream=stream, colour="always") as display,
    ):
        display.output("algo-1")(b"\x1b[31mone\x1b[0m\x1b[H\n")
        display.status(Status(elapsed=1, phase="Training"))
    assert path.read_text(encoding="utf-8") == "\x1b[36malgo-1 |\x1b[0m \x1b[31mone\x1b[0m\x1b[0m\n"


def test_a_terminal_has_the_status_below_the_log_until_the_end() -> None:
    terminal = in_a_terminal("auto")
    terminal.expect("1:05 of 1:00:00 · memory 512 MiB of 2.0 GiB · CPU 187 %")
    before = str(terminal.before) + str(terminal.after)
    assert "\x1b[1mTraining" in before
    assert "\x1b[36malgo-1 |" in before
    assert "\x1b[35malgo-2 |" in before
    assert "\x1b[2J" not in before
    assert "[red]one[/red]" in before
    assert "zwölf 日本" in before
    assert "smentryctl: its own word\r\n" in plain_of(before)
    assert " 10%|#    |" in before
    assert "#    |\r\nalgo" not in plain_of(before)  # it is not in the log as long as it changes
    rest = finish(terminal)
    assert "algo-1 | 100%|#####|\r\n" in plain_of(rest)
    last = rest[rest.rindex("100%") :]
    assert "Training" not in plain_of(last.rpartition("\x1b[2K")[2])
    assert rest.endswith("after\r\n")
    assert "\x1b[?25h" in rest  # the cursor is there again


@pytest.mark.parametrize(("colour", "variables"), [("never", {}), ("auto", {"NO_COLOR": "1"})])
def test_a_terminal_without_colours_still_has_the_status(colour: str, variables: dict[str, str]) -> None:
    terminal = in_a_terminal(colour, **variables)
    terminal.expect("Training  1:05 of 1:00:00")
    assert not re.search(r"\x1b\[[0-9;]*m", str(terminal.before) + finish(terminal))


def test_colours_that_are_always_wanted_win_over_no_color() -> None:
    terminal = in_a_terminal("always", NO_COLOR="1")
    terminal.expect("Training")
    assert "\x1b[36malgo-1 |" in str(terminal.before)
    finish(terminal)


def test_a_dumb_terminal_gets_plain_lines() -> None:
    terminal = in_a_terminal("auto", TERM="dumb")
    terminal.expect("its own word")
    seen = str(terminal.before) + finish(terminal)
    assert "\x1b" not in seen
    assert "Training" not in seen
    assert "algo-1 | 100%|#####|\r\n" in seen


def test_the_status_fits_a_terminal_that_becomes_narrower() -> None:
    terminal = in_a_terminal("never")
    terminal.expect("CPU 187 %")
    terminal.setwinsize(24, 30)
    terminal.expect("Training  1:05 of 1:00:00 ·?.{0,2}…")
    assert all(len(row) <= 30 for row in re.split(r"[\r\n]+", plain_of(finish(terminal))))


def test_a_reader_who_goes_away_ends_nothing() -> None:
    text = """
with open_display(["algo-1"], stream=sys.stdout) as display:
    take = display.output("algo-1")
    for number in range(20_000):
        take(b"line %d of a log\\n" % number)
    display.say("its own word")
    display.result("Completed")
print("this goes nowhere")
sys.stderr.write("ended as it should\\n")
sys.exit(3)
"""
    process = subprocess.Popen(script(text), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "algo-1 | line 0 of a log\n"
    process.stdout.close()
    told = process.stderr.read()
    assert process.wait(LIMIT) == 3
    assert told.splitlines() == [
        "smentryctl: the log is not shown from here on: nobody reads it any more; everything else goes on",
        "smentryctl: its own word",
        "ended as it should",
    ]
    process.stderr.close()


def test_a_terminal_that_goes_away_ends_nothing(tmp_path: Path) -> None:
    text = f"""
import signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with open_display(["algo-1"], stream=sys.stdout) as display:
    display.status(Status(elapsed=1, phase="Training"))
    take = display.output("algo-1")
    while not display._gone:
        take(b"a line\\n")
        time.sleep(0.01)
    take(b"x" * (20 << 20))
open({str(tmp_path / "ended")!r}, "w").close()
"""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        script(text), stdout=theirs, stderr=subprocess.DEVNULL, env={**os.environ, "TERM": "xterm"}
    ) as job:
        os.close(theirs)
        seen = b""
        while b"Training" not in seen:  # though the log does not pause
            seen += os.read(ours, 1 << 16)
        os.close(ours)
        assert job.wait(LIMIT) == 0
    assert (tmp_path / "ended").exists()


def test_who_watches_over_the_time_does_not_wait_for_a_slow_reader() -> None:
    reading, writing = os.pipe()
    with open(writing, "w", encoding="utf-8") as stream, open(reading, encoding="utf-8") as pipe:
        display = open_display(["algo-1"], stream=stream)
        display.output("algo-1")(b"x" * 200 + b"\n")
        for _ in range(1000):
            display.output("algo-1")(b"x" * 1000 + b"\n")  # sixteen times what a pipe holds (pipe(7))
        began = time.monotonic()
        display.status(Status(elapsed=1))
        display.output("algo-1")(b"last\n")
        assert time.monotonic() - began < LIMIT / 2
        read = [pipe.readline() for _ in range(1002)]
        display.close()
    assert read[-1] == "algo-1 | last\n"
    assert {len(line) for line in read[1:-1]} == {1010}


def test_the_beginning_of_a_line_reaches_a_file_though_its_end_does_not_come(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w", encoding="utf-8") as stream, open_display(["algo-1"], stream=stream) as display:
        display.output("algo-1")(b"Loading ...")
        wait_until(lambda: path.read_text(encoding="utf-8") == "algo-1 | Loading ...\n", "the beginning of a line")
        display.output("algo-1")(b" done\n")
    assert path.read_text(encoding="utf-8") == "algo-1 | Loading ...\nalgo-1 |  done\n"


def test_a_stream_that_has_no_such_characters_gets_them_spelled_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w", encoding="ascii") as stream, open_display(["algo-1"], stream=stream) as display:
        display.output("algo-1")("zwölf\n".encode())
    assert path.read_text(encoding="ascii") == "algo-1 | zw\\xf6lf\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_ten_thousand_lines_a_second_are_no_effort(terminal: bool, tmp_path: Path) -> None:
    text = f"""
import os
with open_display(["algo-1"], stream=sys.stdout, colour="always") as display:
    take = display.output("algo-1")
    piece = b"step 12345: loss 0.123456, accuracy 0.98765, 1234 samples per second\\n" * 10
    for _ in range(1000):
        take(piece)
    display.status(Status(elapsed=1, phase="Training"))
times = os.times()
open({str(tmp_path / "seconds")!r}, "w").write(str(times.user + times.system))
"""
    if terminal:
        environment = {**os.environ, "TERM": "xterm"}
        spawned = pexpect.spawn(sys.executable, ["-c", HEAD + text], timeout=LIMIT, env=environment, maxread=1 << 16)
        spawned.expect(pexpect.EOF, searchwindowsize=16)
        output = spawned.before
        spawned.close()
    else:
        output = subprocess.run(script(text), stdout=subprocess.PIPE, check=True, timeout=LIMIT).stdout
    assert output.count(b"step 12345") == 10_000
    assert float((tmp_path / "seconds").read_text()) < 2


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (59.9, "0:59"), (60, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (86400, "24:00:00")],
)
def test_times_are_as_on_a_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 MiB"), (999 << 20, "999 MiB"), (1000 << 20, "1.0 GiB"), (16 << 30, "16.0 GiB")]
)
def test_amounts_of_memory_are_short(size: int, shown: str) -> None:
    assert amount(size) == shown


def test_the_status_says_what_is_known() -> None:
    assert str(status_line(Status(elapsed=5))) == "0:05"
    known = Status(elapsed=5, limit=None, memory=1 << 30, memory_limit=0, phase="Stopping")
    assert str(status_line(known)) == "Stopping  0:05 · memory 1.0 GiB"
