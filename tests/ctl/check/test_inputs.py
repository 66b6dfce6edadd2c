"""Inputs from practice: nothing is said of the good ones, and of the bad ones exactly what is in their expected.txt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import found

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
ENOUGH = 30


def inputs(kind: str) -> list[Path]:
    return sorted(path for path in (HERE / kind).iterdir() if path.is_dir())


def names(paths: Iterable[Path]) -> list[str]:
    return [path.name for path in paths]


@pytest.mark.parametrize("directory", inputs("good"), ids=names(inputs("good")))
def test_nothing_is_said_of_a_good_input(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(directory, capsys) == (0, [])


@pytest.mark.parametrize("directory", inputs("bad"), ids=names(inputs("bad")))
def test_what_is_wrong_with_a_bad_input_is_said_and_nothing_else(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = (directory / "expected.txt").read_text(encoding="utf-8").splitlines()
    code, listed = found(directory, capsys)
    assert listed == expected
    assert code == 1


def test_there_are_enough_of_both_kinds() -> None:
    assert min(len(inputs("good")), len(inputs("bad"))) >= ENOUGH


def test_what_this_repository_builds_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert found(ROOT / "docker", capsys) == (0, [])
