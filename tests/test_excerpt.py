"""What is kept of lines for which there is not enough room: never more than fits, from the right end, and marked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smentry import excerpt
from smentry.words import Words

LINES = st.lists(st.text(st.characters(categories=("L", "M", "N", "Zs")), max_size=60), max_size=12)
ROOM = st.integers(0, 400)


def taken(kept: list[str]) -> int:
    """Characters of lines and their line ends."""
    return sum(len(line) + 1 for line in kept)


@given(LINES, ROOM)
def test_the_first_lines_fit_and_what_is_left_out_is_marked(lines: list[str], room: int) -> None:
    kept = excerpt.head(lines, room)
    assert taken(kept) <= max(room, 0)
    whole = kept[:-1] if kept and kept != lines else kept
    assert lines[: len(whole)] == whole
    assert kept == lines or not kept or kept[-1].endswith("…")
    assert kept == lines or taken(lines) > room


@given(LINES, ROOM)
def test_the_last_lines_fit_and_what_is_left_out_is_marked(lines: list[str], room: int) -> None:
    kept = excerpt.end(lines, room)
    assert taken(kept) <= max(room, 0)
    whole = kept[1:] if kept and kept != lines else kept
    assert lines[len(lines) - len(whole) :] == whole
    assert kept == lines or not kept or kept[0].startswith("…")
    assert kept == lines or taken(lines) > room


@given(st.text(max_size=60), st.integers(1, 80))
def test_a_text_is_cut_only_where_it_is_too_long(text: str, length: int) -> None:
    kept = excerpt.cut(text, length)
    assert len(kept) <= length
    assert kept == text if len(text) <= length else kept.endswith("…")


def test_a_letter_keeps_its_accents() -> None:
    word = "e\u0301\u0323" * 10
    for length in range(2, len(word)):
        assert excerpt.cut(word, length)[-2:-1] not in ("e", "\u0301")


def test_what_the_first_line_says_is_not_said_again() -> None:
    words = Words()
    words.lines = ["Traceback (most recent call last):", '  File "train.py", line 1, in <module>']
    words.message = ["ValueError: 0 rows"]
    assert excerpt.body(words, "train.py exited with code 1: ValueError: 0 rows", 200) == words.lines
    words.message = ["ValueError: 0 rows", "expected 10"]
    assert excerpt.body(words, "train.py exited with code 1: ValueError: 0 rows", 200) == [*words.lines, *words.message]


def test_the_users_own_line_is_shown_where_the_end_of_the_traceback_does_not_reach_it() -> None:
    words = Words()
    words.own = ['  File "train.py", line 5, in save', "    dump(state)"]
    words.lines = [
        "Traceback (most recent call last):",
        *words.own,
        *['  File "/usr/lib/python3/json.py", line 9'] * 20,
    ]
    kept = excerpt.body(words, "train.py exited with code 1", 400)
    assert kept[:3] == [*words.own, "…"]
    assert taken(kept) <= 400


def test_a_control_character_becomes_a_blank() -> None:
    assert excerpt.printable("a\x1b[2Jb\tü") == "a [2Jb ü"
