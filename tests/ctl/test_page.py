"""docs/smentryctl.md says what smentryctl takes and how it exits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from smentry.ctl import main
from smentry.ctl.manual import description

PAGE = (Path(__file__).parents[2] / "docs/smentryctl.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
VERBS = description.verbs(main.parser())


@pytest.mark.parametrize("verb", VERBS)
def test_the_section_of_a_verb_names_its_options_and_no_others(verb: str) -> None:
    section = SECTIONS[verb]
    options = {name for action in VERBS[verb]._actions for name in action.option_strings if name.startswith("--")}
    for option in options - {"--help", "--color", "--no-color"}:
        assert re.search(rf"{option}\b", section), f"{option} is not in the section {verb}"
    documented = set(re.findall(r"^\| `(--[\w-]+)", section, re.MULTILINE))
    assert documented <= options


@pytest.mark.parametrize("verb", VERBS)
def test_the_interface_lists_the_verb(verb: str) -> None:
    assert re.search(rf"^    smentryctl {verb}\b", SECTIONS["Interface"], re.MULTILINE)


def test_the_exit_codes_are_those_of_the_help() -> None:
    documented = re.findall(r"^\| (\d+) \|", SECTIONS["Exit codes"], re.MULTILINE)
    assert documented == [str(code) for code, _ in main.EXIT_CODES]


def test_the_variables_are_those_of_the_manual_page() -> None:
    documented = set(
        re.findall(r"\b[A-Z][A-Z_]+\b", " ".join(re.findall(r"^\| ([^|]+) \|", SECTIONS["Environment"], re.MULTILINE)))
    )
    described = {
        name for names, _ in description.of("smentryctl").environment for name in re.findall(r"[A-Z][A-Z_]+", names)
    }
    assert documented == described
