"""The examples in docker/ have requests that `smentryctl request` writes, by the commands of their READMEs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from smentry.ctl.main import main
from smentry.ctl.request import model, reading

EXAMPLES = Path(__file__).parents[3] / "docker/examples"
WITH_REQUESTS = sorted(file.parent.name for file in EXAMPLES.glob("*/request.json"))
DOCUMENTED = ["bundled-python", "bundled-shell", "channel-script"]


def test_the_documented_ways_have_examples() -> None:
    assert set(DOCUMENTED) <= set(WITH_REQUESTS)


@pytest.mark.parametrize("example", DOCUMENTED)
def test_the_request_is_what_the_readmes_command_writes(example: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = (EXAMPLES / example / "README.md").read_text(encoding="utf-8").replace("\\\n", "")
    (command,) = re.findall(r"^\$ smentryctl (request .*) > (?:\S*/request.json)$", text, re.MULTILINE)
    assert main(shlex.split(command)) == 0
    written = capsys.readouterr()
    assert written.out == (EXAMPLES / example / "request.json").read_text(encoding="utf-8")
    assert written.err == ""


@pytest.mark.parametrize("example", WITH_REQUESTS)
def test_the_service_and_this_machine_take_the_request(example: str) -> None:
    request = reading.read(str(EXAMPLES / example / "request.json"))
    assert model.problems(request) == []
    assert reading.job(request).image == f"example-{example}"
