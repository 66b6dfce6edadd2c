"""The picture of a stop, in the terminal and as an SVG: what is in it, and that it always fits."""

from __future__ import annotations

import functools
import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smentry.picture import bars, layout, record, svg
from tests.picture.timelines import SAMPLES, STARTED, Records, alone, at, drawn, full, many, run, seen, short

ROOT = Path(__file__).parent.parent.parent


def text(records: Records, width: int = 100, *, unicode: bool = True) -> str:
    return bars.draw(drawn(records), width, unicode=unicode, colour=False)


def row(shown: str, label: str) -> str:
    (line,) = [line for line in shown.splitlines() if line.startswith(label)]
    return line


def columns(line: str) -> int:
    """The columns that a terminal needs for a line."""
    return len(line) if line.isascii() else sum(map(_width, line))


@functools.cache
def _width(c: str) -> int:
    if unicodedata.category(c) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1


# -- what is in it ---------------------------------------------------------------------------------


def test_a_short_stop_fills_the_picture_and_names_the_marks_beyond() -> None:
    shown = text(short())
    assert shown.startswith("train.py: SIGTERM after 132 s, took 3.01 s of 120 s, exit code 0\n")
    assert re.fullmatch(r"train\.py \(7\) ◂T━{65,}┫ +exit 0", row(shown, "train.py (7)"))
    assert re.fullmatch(r"python \(12\)  ◂━{40,}┫ +ended", row(shown, "python"))
    assert "the program's time ends: at 115 s, beyond the right edge" in shown
    assert "stop timeout: at 120 s, beyond the right edge" in shown
    assert re.search(r" 0\.0 +0\.5 +1\.0 +1\.5 +2\.0 +2\.5 +3\.0 s\n", shown)


def test_a_stop_that_used_all_shows_both_marks_in_it() -> None:
    shown = text(full())
    assert "┊ the program's time ends: 85 s" in shown
    assert "║ stop timeout: 120 s" in shown
    assert "beyond" not in shown
    line = row(shown, "stopping: checkpoint")
    assert line.index("┊") < line.index("║")
    assert re.fullmatch(r"train\.py \(7\) +◂S━+T━+C━+K┫ +║ +SIGKILL", row(shown, "train.py (7)"))
    assert "stopping hooks 40.0 s (set aside: 40 s), the program 45.0 s (set aside: 45 s)" in shown


def test_bars_are_where_their_times_are() -> None:
    shown = text(full(), 140)
    scale = next(line for line in shown.splitlines() if "┬" in line)
    ticks = {int(value): place for value, place in zip(range(0, 140, 10), [m.start() for m in re.finditer("┬", scale)])}
    assert abs(row(shown, "worker").index("K") - (ticks[80] + ticks[90]) / 2) <= 1
    assert abs(row(shown, "stopping: checkpoint").index("┫") - ticks[40]) <= 1
    assert abs(row(shown, "stopped: copy").index("▒") - (ticks[80] + ticks[90]) / 2) <= 1


def test_hooks_say_what_became_of_them() -> None:
    shown = text(full())
    assert re.fullmatch(r"stopping: checkpoint +▒+┫ +┊ +║ +failed 40\.0 s", row(shown, "stopping: checkpoint"))
    assert re.fullmatch(r"stopped: copy +▒+┫ *║ +done 31\.8 s", row(shown, "stopped: copy"))
    assert "stopping hook checkpoint failed: killed: its 40 s are over, took 40.0 s of 40 s" in shown
    assert "exit hook notify was skipped: no time is left for it" in shown


def test_what_was_done_is_listed_with_when_and_why() -> None:
    shown = text(full())
    assert "S  0.02 s sent SIGUSR1, 1 process\n" in shown
    assert "T  40.1 s told SIGTERM, 1 process: it asked for it\n" in shown
    assert "K  85.0 s killed 2 processes: its time is over\n" in shown


def test_many_equal_processes_are_one_row_that_shows_how_many_live() -> None:
    shown = text(many())
    bar = row(shown, "200 × python")
    levels = re.findall("[▁▂▃▄▅▆▇█]", bar)
    assert levels == sorted(levels, reverse=True)
    assert set(levels) == set("▁▂▃▄▅▆▇█")


def test_of_too_many_rows_those_that_matter_are_shown_and_the_others_counted() -> None:
    shown = text(many())
    rows = [line for line in shown.splitlines() if "◂" in line]
    assert len(rows) == layout.MOST
    assert rows[0].startswith("train.py (7)")
    assert rows[1].startswith("tool59 (459)")  # the longest alive
    assert "not shown: 32 processes" in shown


def test_a_run_without_a_stop_begins_at_the_end_of_its_main_process() -> None:
    shown = text(alone())
    assert shown.startswith("train.py: ended by itself after 132 s, 10.0 s to smentry's exit, exit code 0\n")
    assert re.fullmatch(r"daemon \(13\) +◂T━+K┫ +SIGKILL", row(shown, "daemon"))
    assert "┊ linger ends: 10 s" in shown
    assert "stop timeout" not in shown


def test_of_a_run_in_which_nothing_was_left_all_is_drawn() -> None:
    records = [run(), STARTED, at(0.0, "ended", 7, status=256), at(0.001, "exit", code=1, left=[])]
    assert re.fullmatch(r"train\.py \(7\) ━+┫ +exit 1", row(text(records), "train.py (7)"))


def test_where_the_end_is_missing_the_picture_says_so() -> None:
    shown = text(short()[:5])
    assert "smentry's exit is not in the file" in shown
    assert re.fullmatch(r"python \(12\) .*▸ +\?", row(shown, "python"))


def test_who_has_no_end_in_the_file_was_gone_when_the_hooks_after_the_program_began() -> None:
    shown = text([*full()[:4], seen(50.0, (60, "aws", 49.5)), *full()[4:]])
    line = row(shown, "aws (60)")
    assert re.search(r"━▸ .*gone by then$", line)
    assert abs(line.index("▸") - row(shown, "stopped: copy").index("▒")) <= 1
    assert "the program 45.1 s (set aside: 45 s)" in shown


def test_who_was_left_alive_is_named() -> None:
    shown = text([*short()[:-3], at(9.0, "exit", code=137, left=[12])])
    assert "1 process left that the kernel had not let die: 12" in shown
    assert re.fullmatch(r"python \(12\) .*▸ +not dead", row(shown, "python"))


def test_an_early_hook_and_early_signals_are_told_not_drawn() -> None:
    early = [
        at(-60.0, "hook", pid=20, name="snapshot", on="SIGUSR2", seconds=10), at(-50.0, "forwarded", 7, signal="SIGUSR1"),
        at(-58.0, "hook-ended", pid=20, name="snapshot", on="SIGUSR2", failed=False, how="ended with exit code 0"),
    ]  # fmt: skip
    shown = text([*short()[:2], *early, *short()[2:]])
    assert "SIGUSR2 hook snapshot, 60.0 s before: ended with exit code 0, took 2.00 s of 10 s" in shown
    assert "not shown: 1 signal passed on before" in shown
    assert "SIGUSR2: snapshot" not in shown


def test_wide_names_keep_the_bars_in_line() -> None:
    lines = text([*short()[:4], seen(0.1, (12, "日本", -9), (13, "worker", -9))]).splitlines()
    begins = {columns(line[: line.index("◂")]) for line in lines if "◂" in line}
    assert len(begins) == 1


# -- that it fits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("unicode", [True, False], ids=["unicode", "ascii"])
@pytest.mark.parametrize("name", SAMPLES)
def test_no_line_is_wider_than_the_terminal(name: str, unicode: bool) -> None:
    made = drawn(SAMPLES[name]())
    for width in (*range(40, 100), *range(100, 201, 7)):
        shown = bars.draw(made, width, unicode=unicode, colour=False)
        assert max(map(columns, shown.splitlines())) <= width
        assert unicode or shown.isascii()


@pytest.mark.parametrize("name", SAMPLES)
def test_no_control_character_reaches_the_terminal(name: str) -> None:
    assert all(line.isprintable() for line in text(SAMPLES[name]()).split("\n"))


VALUES = st.one_of(
    st.none(), st.integers(-5, 40), st.floats(-1e9, 1e9), st.text(max_size=5), st.lists(st.integers(0, 9), max_size=5)
)
ENTRIES = st.fixed_dictionaries(
    {"event": st.sampled_from(sorted(record._EVENTS)), "t": st.floats(-1e9, 1e9)},
    optional={
        **dict.fromkeys(
            ("name", "reason", "signal", "why", "on", "seconds", "how", "status", "code", "failed"), VALUES
        ),
        "pid": st.integers(0, 9),
        "pids": st.lists(st.integers(0, 9), max_size=5),
        "left": st.lists(st.integers(0, 9), max_size=5),
        "processes": st.lists(
            st.fixed_dictionaries({"pid": st.integers(0, 9)}, optional={"name": st.text(max_size=5), "since": VALUES}),
            max_size=5,
        ),
    },
)


@settings(max_examples=75, deadline=None)
@given(
    st.lists(ENTRIES, max_size=12),
    st.dictionaries(
        st.sampled_from(["stop_timeout", "after", "reserve", "grace", "linger", "time", "program"]), VALUES
    ),
    st.integers(40, 200),
)
def test_whatever_the_file_says_there_is_a_picture_that_fits(
    entries: Records, changes: dict[str, Any], width: int
) -> None:
    made = drawn([run(**changes), *entries])
    shown = bars.draw(made, width, unicode=True, colour=False)
    assert max(map(columns, shown.splitlines())) <= width
    ElementTree.fromstring(svg.draw(made).encode())


# -- the tool --------------------------------------------------------------------------------------


def tool(*arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "PYTHONUTF8")
    }
    return subprocess.run(
        [sys.executable, "-m", "smentry.pid1.timeline", *arguments],
        env={**environment, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


def written(path: Path, *runs: Records) -> str:
    path.write_text("".join(json.dumps(entry) + "\n" for entries in runs for entry in entries))
    return str(path)


def test_the_same_file_is_always_the_same_picture(tmp_path: Path) -> None:
    file = written(tmp_path / "timeline", many())
    for options in ([], ["--svg"]):
        pictures = {tool(file, *options, PYTHONHASHSEED=seed).stdout for seed in ("1", "2")}
        assert len(pictures) == 1
        assert len(pictures.pop()) > 1000


def test_the_last_run_is_drawn_or_the_one_asked_for(tmp_path: Path) -> None:
    file = written(tmp_path / "timeline", full(), short())
    assert "took 3.01 s of 120 s" in tool(file).stdout.decode()
    assert "run 2 of 2, the stop began 2024-06-01 12:00:00 UTC" in tool(file).stdout.decode()
    assert "took 118 s of 120 s" in tool(file, "--run", "1").stdout.decode()
    wrong = tool(file, "--run", "3")
    assert (wrong.returncode, wrong.stdout) == (2, b"")
    assert wrong.stderr.decode() == f"timeline: {file} has no run 3: expected --run from 1 to 2\n"


def test_columns_and_the_encoding_of_stdout_are_honoured(tmp_path: Path) -> None:
    file = written(tmp_path / "timeline", full())
    narrow = tool(file, COLUMNS="50", PYTHONIOENCODING="latin-1").stdout
    assert narrow.isascii()
    assert max(map(len, narrow.splitlines())) <= 50
    wide = tool(file, COLUMNS="150").stdout.decode()
    assert 120 < max(map(columns, wide.splitlines())) <= 150
    svg_text = tool(file, "--svg", PYTHONIOENCODING="latin-1").stdout
    assert ElementTree.fromstring(svg_text).tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        ("", "is no timeline: it is empty"),
        ("hello\n", "is no timeline: got 'hello'"),
        ('{"t": 0, "event": "stop"}\n', "is no timeline: there is no record of a run's begin in it"),
    ],
    ids=["missing", "empty", "text", "no run"],
)
def test_a_file_that_cannot_be_drawn_is_one_line_and_exit_code_2(
    tmp_path: Path, content: str | None, words: str
) -> None:
    file = tmp_path / "time\nline"
    if content is not None:
        file.write_text(content)
    done = tool(str(file))
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert words in done.stderr.decode()


def test_a_directory_is_refused(tmp_path: Path) -> None:
    done = tool(str(tmp_path))
    assert (done.returncode, done.stderr.decode()) == (2, f"timeline: {tmp_path} cannot be read: Is a directory\n")


def test_a_full_disk_is_said_and_a_closed_pipe_is_not(tmp_path: Path) -> None:
    file = written(tmp_path / "timeline", short())
    command = [sys.executable, "-m", "smentry.pid1.timeline", file]
    with open("/dev/full", "wb") as full_disk:
        done = subprocess.run(command, cwd=ROOT, stdout=full_disk, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, b"timeline: stdout cannot be written: No space left on device\n")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=["tty", "NO_COLOR"])
def test_colours_are_for_a_terminal_that_wants_them(tmp_path: Path, variables: dict[str, str], coloured: bool) -> None:
    file = written(tmp_path / "timeline", full())
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    main, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "smentry.pid1.timeline", file],
        env={**environment, "PYTHONPATH": str(ROOT), **variables}, stdout=other, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(other)
    shown = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # EIO: the other end is closed
            break
        shown += part
    os.close(main)
    assert process.wait(60) == 0
    assert (b"\x1b[" in shown) is coloured
    assert b"\x1b[" not in tool(file).stdout
