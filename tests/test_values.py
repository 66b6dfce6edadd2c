"""What the values of options may look like."""

from __future__ import annotations

import pytest

from smentry import values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("2m", 120),
        ("1h", 3600),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        (" 3 s ", 3),
        ("0", 0),
        ("5S", 5),
        ("0.25", 0.25),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert values.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "-1", "+1", "1d", "1e3", "1_000", "½", "٣", "1 2", ".", "1.s.", "0x10", ".5"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time such as"):
        values.duration(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("python train.py", ["python", "train.py"]),
        ("  python\t train.py \n", ["python", "train.py"]),
        ("sh -c 'a  b; c'", ["sh", "-c", "a  b; c"]),
        ('a "b c" d\\ e', ["a", "b c", "d e"]),
        ("a#b #c", ["a#b", "#c"]),
        ("a '' b", ["a", "", "b"]),
        ("a\u00a0b", ["a\u00a0b"]),
    ],
)
def test_a_command_is_split_as_a_shell_would(text: str, words: list[str]) -> None:
    assert values.words(text) == words


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("0s", 0), ("1s", 1), ("1000ms", 1), ("2m", 120)])
def test_a_silence_is_none_or_long_enough_for_a_busy_machine(text: str, seconds: float) -> None:
    assert values.silence(text) == seconds


@pytest.mark.parametrize("text", ["999ms", "0.5", "1ms"])
def test_a_silence_that_is_too_short_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected 0, or a time of at least 1s, got '[0-9.ms]+'"):
        values.silence(text)
