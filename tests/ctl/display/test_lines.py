"""Bytes in pieces become lines, whatever the pieces are; nothing of a line moves a terminal's cursor."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smentry.ctl.display import lines
from smentry.ctl.display.lines import PATIENCE, PROGRESS, Lines, clean

NOW = 1000.0


def fed(*pieces: bytes) -> list[str]:
    """The lines of these pieces, and what is left at the end."""
    taker = Lines()
    return [line for piece in pieces for line in taker.feed(piece, NOW)] + taker.end()


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\n\ntwo", ["one", "", "two"]),
        (b"windows\r\nunix\n", ["windows", "unix"]),
        (b"\r 10%\r 20%\r100%\ndone\n", ["100%", "done"]),
        (b"50%\r    \r\nnext\n", ["    ", "next"]),
        (b"50%\r", ["50%"]),
        (b"latin \xe9t\xe9\n", ["latin \ufffdt\ufffd"]),
        ("日本語\n".encode(), ["日本語"]),
        (b"", []),
    ],
)
def test_lines_end_with_a_newline_and_begin_anew_with_a_carriage_return(written: bytes, shown: list[str]) -> None:
    assert fed(written) == shown


@given(st.text(alphabet="ab\r\né日", max_size=60), st.lists(st.integers(0, 120), max_size=12))
def test_the_pieces_make_no_difference(text: str, cuts: list[int]) -> None:
    data = text.encode()
    at = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    assert fed(*(data[a:b] for a, b in zip(at, at[1:]))) == fed(data)


@given(st.text(alphabet="aé日\n", max_size=60), st.lists(st.integers(0, 120), max_size=12))
def test_a_line_that_is_too_long_is_several_and_no_character_is_lost(text: str, cuts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "LONGEST", 8)
        data = text.encode()
        at = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        found = fed(*(data[a:b] for a, b in zip(at, at[1:])))
        assert found == fed(data)
    assert "".join(found) == text.replace("\n", "")
    assert all(len(line.encode()) <= 8 for line in found)


def test_the_beginning_of_a_line_is_given_away_after_a_while_and_its_end_is_another_line() -> None:
    taker = Lines()
    assert taker.feed(b"Loading the model ...", NOW) == []
    assert taker.begun == "Loading the model ..."
    assert taker.overdue(NOW + PATIENCE / 2) == []
    assert taker.overdue(NOW + PATIENCE) == ["Loading the model ..."]
    assert taker.overdue(NOW + 2 * PATIENCE) == []
    assert taker.feed(b" done\n", NOW + 3 * PATIENCE) == [" done"]
    taker.feed(b"Saving", NOW)
    assert taker.overdue(NOW + PATIENCE) == ["Saving"]
    assert taker.feed(b"\nnext\n", NOW + PATIENCE) == ["next"]


def test_a_character_is_not_given_away_by_half() -> None:
    taker = Lines()
    taker.feed(b"wei" + "ß".encode()[:1], NOW)
    assert taker.overdue(NOW + PATIENCE) == ["wei"]
    assert taker.feed("ß".encode()[1:] + b"\n", NOW) == ["ß"]


def test_a_progress_bar_is_a_line_now_and_then_and_as_it_ends() -> None:
    taker, now, shown = Lines(), NOW, []
    for percent in range(1, 101):
        shown += taker.feed(f"\r{percent:3}%".encode(), now)
        now += PROGRESS / 25
        shown += taker.overdue(now)
    shown += taker.feed(b"\n", now)
    assert len(shown) == 4
    assert shown[-1] == "100%"


def test_a_progress_bar_that_never_ends_keeps_no_more_than_its_last_state() -> None:
    taker = Lines()
    for number in range(50_000):
        assert taker.feed(b"\r%7d%s" % (number, b"=" * 80), NOW) == []
    assert len(taker._begun) < 200
    assert taker.begun.startswith("  49999=")


def test_the_work_grows_with_what_comes_and_not_with_what_is_there() -> None:
    def seconds(count: int) -> float:
        taker = Lines()
        began = time.process_time()
        for _ in range(count):
            taker.feed(b"x", NOW)
        return time.process_time() - began

    few = min(seconds(5_000) for _ in range(3))
    many = min(seconds(50_000) for _ in range(3))
    assert many < 40 * few + 0.05


@pytest.mark.parametrize(
    ("text", "plain", "coloured"),
    [
        ("a [bold]word[/bold] :smile: 100%", None, None),
        ("tab\tstays", None, None),
        ("\x1b[31mred\x1b[0m word", "red word", "\x1b[31mred\x1b[0m word\x1b[0m"),
        ("\x1b[38;5;208mcolour", "colour", "\x1b[38;5;208mcolour\x1b[0m"),
        ("\x1b[2J\x1b[1;1Hgone\x1b[?25l\x1b[1A\x1b[K", "gone", "gone"),
        ("\x1b]0;title\x07text\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "textlink", "textlink"),
        ("\x9b2Jeight \x85bit", "2Jeight bit", "2Jeight bit"),
        ("bell\x07 back\x08 nul\x00 del\x7f", "bell back nul del", "bell back nul del"),
        ("cut off \x1b[3", "cut off 3", "cut off 3"),
        ("alone \x1b", "alone ", "alone "),
        ("reset\x1bc charset\x1b(0", "reset charset", "reset charset"),
    ],
)
def test_only_colours_of_what_a_terminal_would_obey_are_kept(
    text: str, plain: str | None, coloured: str | None
) -> None:
    assert clean(text, colour=False) == (text if plain is None else plain)
    assert clean(text, colour=True) == (text if coloured is None else coloured)


@given(st.text(alphabet="\x1b[];?0123mHJ\\PX \x07\x08\x9b\x00abé", max_size=40))
def test_nothing_that_is_left_is_obeyed(text: str) -> None:
    assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", clean(text, colour=False))
    assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", re.sub(r"\x1b\[[0-9;:]*m", "", clean(text, colour=True)))
