from __future__ import annotations

import textwrap

import pytest

from smentry.ctl.check import instructions


def stages(text: str) -> list[instructions.Stage]:
    return instructions.stages(textwrap.dedent(text).lstrip("\n"))


def names(stage: instructions.Stage) -> list[str]:
    return [instruction.name for instruction in stage.instructions]


def test_a_heredoc_holds_no_instructions() -> None:
    (stage,) = stages(
        """
        FROM python
        RUN <<EOF cat > /script && \\

          echo done
        ENTRYPOINT python
        CMD python
        EOF
        COPY <<one <<'two' /there/
        first
        one
        second
        two
        USER nobody
        """
    )
    assert names(stage) == ["RUN", "COPY", "USER"]
    run, copied, user = stage.instructions
    assert [heredoc.text for heredoc in run.heredocs] == ["ENTRYPOINT python\nCMD python\n"]
    assert [(heredoc.line, heredoc.text) for heredoc in copied.heredocs] == [(9, "first\n"), (11, "second\n")]
    assert (run.line, copied.line, user.line) == (2, 8, 13)


def test_a_heredoc_without_an_end_is_none() -> None:
    (stage,) = stages("FROM python\nRUN cat <<EOF\nUSER nobody\n")
    assert names(stage) == ["RUN", "USER"]


def test_a_here_string_and_a_shift_are_no_heredocs() -> None:
    (stage,) = stages("FROM python\nRUN cat <<<EOF\nRUN echo $((1<<EOF))\nUSER nobody\nEOF x\n")
    assert names(stage) == ["RUN", "RUN", "USER", "EOF"]


def test_comments_and_empty_lines_within_an_instruction_are_no_part_of_it() -> None:
    (stage,) = stages('FROM python\nENTRYPOINT [\\\n\n# why\n  "python", \\\n\n  "x.py"]\nUSER nobody\n')
    entrypoint, user = stage.instructions
    assert entrypoint.json == ["python", "x.py"]
    assert entrypoint.place('"x.py"') == (7, 3)
    assert (user.name, user.line) == ("USER", 8)


def test_the_escape_directive_changes_what_continues_a_line() -> None:
    (stage,) = stages("# syntax=docker/dockerfile:1\n# escape=`\nFROM python\nRUN dir C:\\\nUSER nobody `\n  :nobody\n")
    assert names(stage) == ["RUN", "USER"]


@pytest.mark.parametrize("mark", ["\ufeff", ""])
def test_windows_line_ends_and_a_byte_order_mark_change_nothing(mark: str) -> None:
    (stage,) = stages(f'{mark}FROM python\r\nENTRYPOINT ["python", \\\r\n "x.py"]\r\n')
    assert (stage.image, stage.instructions[0].json) == ("python", ["python", "x.py"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('["a", "b"]', ["a", "b"]),
        ("[]", []),
        ("['a']", None),
        ('["a",]', None),
        ('["a", 1]', None),
        ("a b", None),
        ('"a"', None),
    ],
)
def test_exec_form_is_a_json_list_of_strings(value: str, expected: list[str] | None) -> None:
    (stage,) = stages(f"FROM python\nENTRYPOINT {value}\n")
    assert stage.instructions[0].json == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A/${A}", "1/1"),
        ("${B:-x${A}}", "x1"),
        ("${B-x}${A:+y}${B:+z}", "xy"),
        ("$B ${B}", "$B ${B}"),
        (r"\$A", r"\$A"),
    ],
)
def test_known_variables_are_replaced(text: str, expected: str) -> None:
    assert instructions.expand(text, {"A": "1"}) == expected


def test_arguments_before_from_are_for_from_and_for_who_asks_for_them() -> None:
    first, second = stages(
        """
        ARG BASE=python
        ARG TAG=3.12
        FROM ${BASE}:${TAG} AS first
        RUN echo $TAG
        FROM ${BASE:-other}
        ARG TAG
        ENV NAME=$TAG-$BASE
        RUN true
        """
    )
    assert (first.image, second.image) == ("python:3.12", "python")
    assert first.instructions[0].variables == {}
    assert second.instructions[-1].variables == {"TAG": "3.12", "NAME": "3.12-$BASE"}


def test_an_image_is_made_of_its_last_stage_and_those_that_is_from() -> None:
    made = stages(
        """
        FROM python AS base
        ENV A=1
        FROM python AS aside
        FROM Base AS middle
        FROM middle
        RUN echo $A
        """
    )
    line = instructions.lineage(made)
    assert [stage.name for stage in line] == ["base", "middle", None]
    assert line[-1].instructions[0].expanded == "echo 1"


def test_a_stage_may_have_the_name_of_the_image_it_is_from() -> None:
    assert len(instructions.lineage(stages("FROM python AS python\nRUN true\n"))) == 1


def test_without_from_there_is_no_stage() -> None:
    assert stages("RUN true\n") == []
