"""What serve is given: what it refuses before it starts anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smentry.ctl.main import main


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["serve", "--engine", "process", *words]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("option", ["--content-type", "--accept"])
@pytest.mark.parametrize("word", ["", "a\nb", "x\r\nEvil: 1", "é"])
def test_what_is_no_header_is_refused(option: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["serve", "image", option, word])
    assert refused.value.code == 2
    assert f"{option}: expected a media type such as text/csv, got {word!r}" in capsys.readouterr().err


def test_a_request_without_an_end_is_not_read_for_ever(capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, "--request", "/dev/zero")
    assert said == "smentryctl: --request /dev/zero is larger than 100 MiB: the platform takes 25 MiB at most\n"


def test_a_request_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "points.csv"
    said = f"smentryctl: --request {path} cannot be read: no such file or directory\n"
    assert refusal(capsys, "--request", str(path)) == said


def test_a_model_that_never_ends_or_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fifo, missing = tmp_path / "fifo", tmp_path / "missing"
    os.mkfifo(fifo)
    expected = "expected a model.tar.gz or a directory\n"
    for path, what in (("/dev/zero", "is neither a file nor a directory"), (fifo, "is neither a file nor a directory")):
        assert refusal(capsys, "--model", str(path)) == f"smentryctl: --model {path} {what}: {expected}"
    assert refusal(capsys, "--model", str(missing)) == f"smentryctl: --model {missing} does not exist: {expected}"
