"""A shell script's commands: what they are, what they are in, and what ends them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smentry.ctl.check import shell


def words(text: str) -> list[list[str]]:
    return [list(command.words) for command in shell.commands(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("# nothing\n\n", []),
        ("a b; c && d || e | f & g", [["a", "b"], ["c"], ["d"], ["e"], ["f"], ["g"]]),
        ("a 'b c' \"d e\" f\\ g h'i'\"j\"", [["a", "b c", "d e", "f g", "hij"]]),
        ("a # b\nc", [["a"], ["c"]]),
        ("a b#c $#", [["a", "b#c", "$#"]]),
        ("a \\\n  b", [["a", "b"]]),
        ("a > b 2>&1 < c >> d &> e 3<&0", [["a"]]),
        ('a "$(b c)" `e f` ${g:-h i} $(j "k)" l)', [["a", "$(b c)", "`e f`", "${g:-h i}", "$(j k) l)"]]),
        ("a <<E b\nc; d\nE\nf", [["a", "b"], ["f"]]),
        ("a <<-'E'\n\tc\n\tE\nf", [["a"], ["f"]]),
        ("a <<E <<F\n1\nE\n2\nF\nb", [["a"], ["b"]]),
        ("a <<< 'b c'\nd", [["a"], ["d"]]),
        ("a <(b; c) d", [["a", "", "d"]]),
        ("a $(b # it's one\n)\nc", [["a", "$(b # it's one\n)"], ["c"]]),
        ("a `b \\`c\\`` d\ne", [["a", "`b `c``", "d"], ["e"]]),
        ("((i < 3)) && a", [["(("], ["a"]]),
        ("[[ a < b && c ]] || d", [["[["], ["d"]]),
        ("x=(1 2) y", [["x=", "y"]]),
    ],
)
def test_the_words_of_the_commands(text: str, expected: list[list[str]]) -> None:
    assert words(text) == expected


def test_quotes_within_a_substitution_do_not_end_those_around_it() -> None:
    (found,) = words('a "$(b "c ; d" ")" )" e')
    assert (len(found), found[0], found[2]) == (3, "a", "e")


@pytest.mark.parametrize(
    ("text", "within"),
    [
        ("X", ()),
        ("if a; then X; fi", ("if",)),
        ("if a; then b; elif c; then d; else X; fi", ("if",)),
        ("for i in 1 2; do X; done", ("loop",)),
        ("while a; do if b; then X; fi; done", ("loop", "if")),
        ("f() { X; }", ("{",)),
        ("function f { X; }", ("{",)),
        ("function f() {\n X\n}", ("{",)),
        ("(a; X)", ("(",)),
        ("case $1 in\n a|b) X ;;\nesac", ("case",)),
        ("case $1 in a) b ;; *) X ;; esac", ("case",)),
        ("f() { a; }; X", ()),
        ("if a; then b; fi; X", ()),
        ("case a in b) c ;; esac; X", ()),
        ("(a; b); X", ()),
    ],
)
def test_what_a_command_is_in(text: str, within: tuple[str, ...]) -> None:
    (found,) = (command for command in shell.commands(text) if command.words == ("X",))
    assert found.within == within


def test_a_command_knows_its_place_and_what_ends_it() -> None:
    found = shell.commands("a;\n  b |\n\n c &\nd")
    assert [(command.line, command.column, command.end) for command in found] == [
        (1, 1, ";"),
        (2, 3, "|"),
        (4, 2, "&"),
        (5, 1, ""),
    ]


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("A=1 B='2 3' python3 x.py", ("python3", "x.py")),
        ("exec nohup nice -n5 python3 x.py", ("python3", "x.py")),
        ("timeout -k 5 1h python3 x.py", ("python3", "x.py")),
        ("nice -n 10 ionice -c2 -n 0 taskset -c 0-3 python3 x.py", ("python3", "x.py")),
        ("gosu app:app python3 x.py", ("python3", "x.py")),
        ("sudo -E -u app -- python3 x.py", ("python3", "x.py")),
        ("conda run --no-capture-output -n train python3 x.py", ("python3", "x.py")),
        ("uv run x.py", ("x.py",)),
        ("poetry install", ("poetry", "install")),
        ("timeout 1h python3 x.py", ("python3", "x.py")),
        ("env -i A=1 python3", ("python3",)),
        ("A=1", ()),
    ],
)
def test_the_program_behind_assignments_and_wrappers(text: str, program: tuple[str, ...]) -> None:
    (found,) = shell.commands(text)
    assert found.program == program


def test_traps_name_their_signals_in_one_way() -> None:
    found = shell.traps(shell.commands("trap 'a; b' SIGTERM int 0; trap -- '' 15; trap; trap -p"))
    assert [(action, signals) for _, action, signals in found] == [("a; b", ("TERM", "INT", "EXIT")), ("", ("TERM",))]


@given(st.text(st.sampled_from(list("ab #'\"\\$`(){}[]<>|&;\n\t=!")) | st.sampled_from("éif"), max_size=60))
def test_any_text_comes_to_an_end(text: str) -> None:
    for command in shell.commands(text):
        assert command.words
        assert 0 <= command.start <= len(text)


def test_what_is_nested_beyond_reason_has_no_commands() -> None:
    assert shell.commands("a $(" * 100_000) == []
