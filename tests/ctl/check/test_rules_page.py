"""docs/rules.md says what the rules say, and its examples are right and wrong as it claims."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smentry.ctl.check.rules import RULES
from smentry.ctl.main import main

from . import found

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = Path(__file__).parents[3] / "docs/rules.md"
NEEDS_IMAGE = frozenset(code for code in RULES if code.startswith("SM2"))
"""Their examples are built and looked at by tests/engine/test_ctl_check.py."""


@dataclass
class Section:
    title: str
    text: str
    examples: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    """For Bad and Good the files: name, `mode=755` or `ends=crlf` or nothing, and text."""


def sections() -> dict[str, Section]:
    """The sections of the page, by their codes."""
    made = {}
    for part in re.split(r"^## (?=SM)", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        code, _, title = part.partition("\n")[0].partition(": ")
        text, *rest = re.split(r"^(Bad|Good):$", part.partition("\n")[2], flags=re.MULTILINE)
        section = Section(title, " ".join(text.split()))
        for kind, blocks in zip(rest[::2], rest[1::2]):
            section.examples[kind] = re.findall(
                r"^```\w+ title=(\S+)(?: (mode=\d+|ends=crlf))?\n(.*?)^```$", blocks, re.MULTILINE | re.DOTALL
            )
        made[code] = section
    return made


def write(files: Sequence[tuple[str, str, str]], directory: Path) -> None:
    """The files of an example. What a Dockerfile copies and the example leaves out is not there: it is not seen, then."""
    for name, how, text in files:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((text.replace("\n", "\r\n") if how == "ends=crlf" else text).encode())
        path.chmod(int(how[len("mode=") :], 8) if how.startswith("mode=") else 0o644)


SECTIONS = sections()


def test_the_page_has_every_rule_in_order_and_in_its_own_words() -> None:
    assert list(SECTIONS) == list(RULES)
    for code, section in SECTIONS.items():
        rule = RULES[code]
        assert (section.title, section.text) == (rule.title, f"{rule.happens} How to mend it: {rule.mend}"), code


def test_every_rule_has_a_bad_and_a_good_example() -> None:
    assert [
        code for code, section in SECTIONS.items() if not all(section.examples.get(kind) for kind in ("Bad", "Good"))
    ] == []


@pytest.mark.parametrize("code", [code for code in RULES if code not in NEEDS_IMAGE])
def test_the_bad_example_breaks_that_rule_and_no_other(
    code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(SECTIONS[code].examples["Bad"], tmp_path)
    exit_code, listed = found(tmp_path, capsys)
    assert {line.rpartition(" ")[2] for line in listed} == {code}
    assert exit_code == 1


@pytest.mark.parametrize("code", [code for code in RULES if code not in NEEDS_IMAGE])
def test_nothing_is_wrong_with_the_good_example(code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(SECTIONS[code].examples["Good"], tmp_path)
    assert found(tmp_path, capsys) == (0, [])


def test_a_rule_is_explained_and_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--explain", "sm101"]) == 0
    rule = RULES["SM101"]
    explained = capsys.readouterr().out
    assert all(text in explained for text in (rule.title, rule.happens, rule.mend))
    assert main(["check", "--rules"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(RULES)
