from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smentry.ctl.check import formats
from smentry.ctl.check.finding import Finding
from smentry.ctl.check.rules import RULES

ODD = Finding("docker, my/100%:\n/Dockerfile", 3, 5, "SM101", "50% of\r\nit: a, b")
IMAGE = Finding("registry:5000/image:tag", 0, 0, "SM104", "there is no ENTRYPOINT")
AGAIN = Finding("Dockerfile", 9, 1, "SM101", "and again")

SARIF = Path(__file__).parent / "sarif.json"


def test_text_is_a_line_for_each_and_says_once_how_to_mend_it() -> None:
    lines = formats.text([ODD, AGAIN, IMAGE]).splitlines()
    assert "Dockerfile:9:1: SM101 and again" in lines
    assert "registry:5000/image:tag: SM104 there is no ENTRYPOINT" in lines
    assert [line.strip() for line in lines].count(RULES["SM101"].mend) == 1
    assert lines[-1].startswith("3 findings")


def test_nothing_found_is_nothing_said() -> None:
    assert formats.text([]) == formats.github([]) == ""
    assert json.loads(formats.as_json([])) == []


def test_json_has_no_line_where_there_is_none() -> None:
    first, second = json.loads(formats.as_json([ODD, IMAGE]))
    assert (first["file"], first["line"], first["column"], first["code"]) == (ODD.file, 3, 5, "SM101")
    assert (second["line"], second["column"]) == (None, None)


def test_a_workflow_command_is_one_line_and_is_read_back_as_it_was() -> None:
    (line,) = formats.github([ODD]).splitlines()
    words, message = line.removeprefix("::error ").split("::", 1)
    properties = dict(word.split("=", 1) for word in words.split(","))
    assert unescaped(properties["file"]) == ODD.file
    assert (properties["line"], properties["col"]) == ("3", "5")
    assert unescaped(properties["title"]) == "SM101 ENTRYPOINT in shell form"
    assert unescaped(message) == ODD.message


def test_a_workflow_command_of_an_image_has_no_file_and_names_it() -> None:
    (line,) = formats.github([IMAGE]).splitlines()
    assert "file=" not in line
    assert "registry:5000/image:tag: there is no ENTRYPOINT" in line


def unescaped(text: str) -> str:
    """As GitHub's runner reads a property."""
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


@pytest.mark.parametrize("findings", [[], [ODD, AGAIN, IMAGE], [Finding("/there/Docker file", 1, 1, "SM103", "x")]])
def test_sarif_has_what_the_standard_demands(findings: list[Finding]) -> None:
    log = json.loads(formats.sarif(findings))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "smentryctl"
    assert [rule["id"] for rule in driver["rules"]] == sorted({finding.code for finding in findings})
    assert len(run["results"]) == len(findings)
    for result, finding in zip(run["results"], findings):
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == finding.code
        assert (result["level"], result["message"]["text"]) == ("error", finding.message)
        (location,) = result["locations"]
        assert place(location) == (finding.line, finding.column)


def place(location: dict[str, Any]) -> tuple[int, int]:
    if "logicalLocations" in location:
        assert "physicalLocation" not in location
        return 0, 0
    region = location["physicalLocation"]["region"]
    uri = location["physicalLocation"]["artifactLocation"]["uri"]
    assert not set(uri) & set(" \n,%:") or uri.startswith("file:///") or "%" in uri
    return region["startLine"], region["startColumn"]
