"""The manual pages, as those read them that show them: man, groff and mandoc."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from running import LIMIT

from smentry.ctl import main
from smentry.ctl.manual import description, manpage

if TYPE_CHECKING:
    from pathlib import Path

DATE = "2024-05-31"
PARTS = ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "SEE ALSO")


def shown(page: str, *command: str) -> str:
    """What a program that shows pages makes of it, without bold and underlining. It may say nothing on stderr."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")
    environment = {**os.environ, "MANWIDTH": "80", "MANPAGER": "cat", "LC_ALL": "C.UTF-8", "GROFF_NO_SGR": "1"}
    ran = subprocess.run(
        command, input=page, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return re.sub(".\b", "", ran.stdout)


@pytest.fixture(params=description.PROGRAMS)
def described(request: pytest.FixtureRequest) -> description.Description:
    return description.of(request.param)


def test_a_page_has_its_parts_in_the_usual_order(described: description.Description) -> None:
    text = shown(manpage.page(described, DATE), "man", "-l", "-")
    headings = re.findall(r"^([A-Z][A-Z ]+)$", text, re.MULTILINE)
    assert [heading for heading in headings if heading in PARTS] == list(PARTS)
    name = described.parser.prog
    assert text.startswith(f"{name.upper()}(1)")
    assert f"{name} - {described.summary}" in text
    assert DATE in text.splitlines()[-1]


def test_a_page_has_every_option_and_every_verb_with_its_help(described: description.Description) -> None:
    text = " ".join(shown(manpage.page(described, DATE), "man", "-l", "-").split())
    for name, parser in (("", described.parser), *description.verbs(described.parser).items()):
        assert name in text
        for action in parser._actions:
            if isinstance(action, (argparse._SubParsersAction, argparse._HelpAction)):
                continue
            for option in action.option_strings:
                assert option in text
            assert " ".join(parser._get_formatter()._expand_help(action).split()) in text


def test_groff_warns_of_nothing(described: description.Description) -> None:
    assert shown(manpage.page(described, DATE), "groff", "-man", "-ww", "-Tutf8")


def test_mandoc_finds_nothing_but_long_lines(described: description.Description) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("there is no mandoc")
    command = ["mandoc", "-T", "lint"]
    ran = subprocess.run(
        command, input=manpage.page(described, DATE), capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert [line for line in ran.stdout.splitlines() if "longer than 80 bytes" not in line] == []


def test_text_that_looks_like_roff_is_text() -> None:
    strange = ".SH\n.br \\fBbold\\fP 'quoted' `back` ^~ – “x” × 日本 100 %%\n\n  .so /etc/passwd\n  \\n(yr -- --opt"
    parser = argparse.ArgumentParser("tool", description=strange.replace("%%", "%"))
    parser.add_argument("--opt", metavar="\\*X", help=".so /etc/passwd costs 100 %%")
    made = dataclasses.replace(description.of("smentry"), parser=parser, paragraphs=(strange.replace("%%", "%"),))
    page = manpage.page(made, DATE)
    assert page.isascii()
    text = shown(page, "man", "-l", "-")
    assert ".SH .br \\fBbold\\fP 'quoted' `back` ^~ – “x” × 日本 100 %" in text
    assert "           .so /etc/passwd\n           \\n(yr -- --opt\n" in text
    assert "--opt \\*X\n              .so /etc/passwd costs 100 %" in text
    assert shown(page, "groff", "-man", "-ww", "-Tutf8")


def test_the_day_is_that_of_the_source_where_a_packager_says_which(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "smentry.ctl", "man", "smentry"],
        env={**os.environ, "SOURCE_DATE_EPOCH": "1717113600"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(".TH SMENTRY 1 2024-05-31 ")


@pytest.mark.parametrize("given", ["yesterday", "nan", "9" * 20])
def test_a_day_that_is_none_is_refused(
    given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", given)
    assert main.main(["man"]) == 2
    said = f"smentryctl: SOURCE_DATE_EPOCH: expected seconds since 1970, got '{given}'\n"
    assert capsys.readouterr() == ("", said)
