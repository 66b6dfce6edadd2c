"""`smentryctl timeline`: the same picture as that of `python -m smentry.pid1.timeline`, on stdout or in a file."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from smentry.ctl import main
from smentry.picture import tool

if TYPE_CHECKING:
    from pathlib import Path

RUN = {"t": -132.4, "event": "run", "version": 1, "time": 1717243200.0, "program": "train.py"}
BUDGET = {"stop_timeout": 120, "stopping": 0, "grace": 115, "after": 0, "reserve": 5, "linger": 10}
RECORDS = [
    {**RUN, **BUDGET},
    {"t": -132.3, "event": "started", "pids": [7], "pid": 7, "name": "train.py"},
    {"t": 0.0, "event": "stop", "reason": "SIGTERM"},
    {"t": 0.01, "event": "told", "pids": [7], "signal": "SIGTERM", "why": "it asked for it"},
    {"t": 3.0, "event": "ended", "pids": [7], "status": 0},
    {"t": 3.01, "event": "exit", "code": 0, "left": []},
]


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A timeline of two runs."""
    monkeypatch.setenv("COLUMNS", "90")
    path = tmp_path / "timeline"
    second = [{**RECORDS[0], "program": "again.py"}, *RECORDS[1:]]
    path.write_text("".join(json.dumps(record) + "\n" for record in (*RECORDS, *second)), encoding="utf-8")
    return path


@pytest.mark.parametrize("options", [[], ["--svg"], ["--run", "1"], ["--svg", "--run", "1"]])
def test_the_picture_is_that_of_the_module(
    recorded: Path, options: list[str], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert tool.main([str(recorded), *options]) == 0
    expected = capsysbinary.readouterr().out
    assert expected
    assert main.main(["timeline", str(recorded), *options]) == 0
    assert capsysbinary.readouterr() == (expected, b"")


def test_the_last_run_is_drawn_unless_another_is_asked_for(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main.main(["timeline", str(recorded)])
    assert "again.py" in capsys.readouterr().out
    main.main(["timeline", str(recorded), "--run", "1"])
    assert "again.py" not in capsys.readouterr().out


def test_a_file_gets_the_picture_and_stdout_nothing(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    svg, text = tmp_path / "stop.svg", tmp_path / "stop.txt"
    assert main.main(["timeline", str(recorded), "--svg", "-o", str(svg)]) == 0
    assert ElementTree.parse(svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert main.main(["timeline", str(recorded), "--output", str(text)]) == 0
    assert "again.py" in text.read_text(encoding="utf-8")
    assert "\x1b" not in text.read_text(encoding="utf-8")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{file}", "--run", "3"], "{file} has no run 3: expected --run from 1 to 2"),
        (["{file}", "--run", "0"], "{file} has no run 0: expected --run from 1 to 2"),
        (["{file}", "-o", "/nonexistent/x"], "--output /nonexistent/x cannot be written: No such file or directory"),
        (["/dev/null"], "/dev/null is no timeline: "),
        ([sys.executable], f"{sys.executable} is no timeline: "),
        (["/"], "/ cannot be read: Is a directory"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    recorded: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["timeline", *(word.format(file=recorded) for word in words)]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith(f"smentryctl: {said.format(file=recorded)}")
    assert written.err.count("\n") == 1
