"""docs/smentryctl.md says of `request` what it does: its example and its table are run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from smentry.ctl.main import main
from smentry.ctl.request import compose, document, model

PAGE = (Path(__file__).parents[3] / "docs/smentryctl.md").read_text(encoding="utf-8")
(SECTION,) = re.findall(r"^## request\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)


def test_the_example_writes_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"^```console\n\$ smentryctl (.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    command, brace, shown = block.partition("\n{")
    assert main(shlex.split(command.replace("\\\n", " "))) == 0
    assert capsys.readouterr().out == brace.strip() + shown


def test_the_table_says_what_runs() -> None:
    rows = re.findall(r"^\| `(\S*custom_entrypoint\S*)`, in.*?\| (.*?) \| (.*?) \|$", SECTION, re.MULTILINE)
    assert len(rows) == 3
    for script, *cells in rows:
        for plain, cell in zip((False, True), cells):
            words = [json.loads(each) for each in re.findall(r"`(\[.*?\])`", cell)]
            assert words == list(compose.command(compose.Wanted("digits", script, plain=plain))), script


def test_the_defaults_are_those_of_the_page() -> None:
    assert f"| `{compose.INSTANCE_TYPE}`, 1, {compose.VOLUME} |" in SECTION
    assert f"MaxRuntimeInSeconds: `90`, `90s`, `2m`, `1h` | {compose.MAX_RUNTIME // 3600}h |" in SECTION
    assert compose.ROLE in SECTION


def test_the_message_of_the_page_is_the_message() -> None:
    (shown,) = re.findall(r"^    (job.json:.*)$", SECTION, re.MULTILINE)
    text = '{\n "InputDataConfig": [\n  {\n   "ChannelName": "a",\n   "DataSource": {},\n\n      "InputMode": "Fastfile"}]}'
    source = document.parse("job.json", text)
    problems = [f"{source.where(problem.path)}: {problem}" for problem in model.problems(source.value)]
    assert shown in problems
