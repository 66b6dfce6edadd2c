"""How findings are printed: for people, as JSON, as GitHub's workflow commands, as SARIF. Pure; it knows no engine."""

from __future__ import annotations

import json
from pathlib import PurePath
from urllib.parse import quote

import smentry
from smentry.ctl.check.rules import RULES
from smentry.ctl.display.lines import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smentry.ctl.check.finding import Finding, Rule

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def text(findings: Sequence[Finding]) -> str:
    """A line each, as compilers print them, and how to mend it below the first of a rule; then how many there are."""
    lines = []
    told = set()
    for finding in findings:
        lines.append(clean(f"{place(finding)}: {finding.code} {finding.message}", colour=False))
        if finding.code not in told:
            told.add(finding.code)
            lines.append(f"    {RULES[finding.code].mend}")
    if findings:
        number = len(findings)
        lines.append(f"{number} finding{'s' * (number > 1)}; smentryctl check --explain {findings[0].code} says more")
    return "".join(f"{line}\n" for line in lines)


def place(finding: Finding) -> str:
    """`file:line:column`, or the image's name."""
    return f"{finding.file}:{finding.line}:{finding.column}" if finding.line else finding.file


def as_json(findings: Sequence[Finding]) -> str:
    """A list of objects: file, line, column, code, title, message, mend. `line` and `column` are null for an image."""
    entries = [
        {
            "file": finding.file,
            "line": finding.line or None,
            "column": finding.column or None,
            "code": finding.code,
            "title": RULES[finding.code].title,
            "message": finding.message,
            "mend": RULES[finding.code].mend,
        }
        for finding in findings
    ]
    return json.dumps(entries, indent=2) + "\n"


def github(findings: Sequence[Finding]) -> str:
    """Workflow commands, which GitHub Actions shows beside the line. An image's have no file.

    Source: GitHub's documentation of workflow commands; the escapes are those of actions/toolkit.
    """
    lines = []
    for finding in findings:
        properties = {"title": f"{finding.code} {RULES[finding.code].title}"}
        if finding.line:
            properties = {"file": finding.file, "line": str(finding.line), "col": str(finding.column), **properties}
        words = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
        message = finding.message if finding.line else f"{finding.file}: {finding.message}"
        lines.append(f"::error {words}::{_data(message)}\n")
    return "".join(lines)


def sarif(findings: Sequence[Finding]) -> str:
    """A SARIF 2.1.0 log with one run. An image is a logical location: it has no file."""
    codes = sorted({finding.code for finding in findings})
    results = [
        {
            "ruleId": finding.code,
            "ruleIndex": codes.index(finding.code),
            "level": "error",
            "message": {"text": finding.message},
            "locations": [_location(finding)],
        }
        for finding in findings
    ]
    driver = {
        "name": "smentryctl",
        "version": smentry.__version__,
        "rules": [_descriptor(RULES[code]) for code in codes],
    }
    log = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }
    return json.dumps(log, indent=2) + "\n"


FORMATS: dict[str, Callable[[Sequence[Finding]], str]] = {
    "text": text,
    "json": as_json,
    "github": github,
    "sarif": sarif,
}


def explained(rule: Rule) -> str:
    """A rule for people."""
    return f"{rule.code}: {rule.title}\n\n{rule.happens}\n\nHow to mend it: {rule.mend}\n"


def _descriptor(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.code,
        "shortDescription": {"text": f"{rule.title}."},
        "fullDescription": {"text": rule.happens},
        "help": {"text": rule.mend},
        "defaultConfiguration": {"level": "error"},
    }


def _location(finding: Finding) -> dict[str, object]:
    if not finding.line:
        return {"logicalLocations": [{"fullyQualifiedName": finding.file, "kind": "resource"}]}
    path = PurePath(finding.file)
    uri = path.as_uri() if path.is_absolute() else quote(path.as_posix(), errors="surrogateescape")
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": uri},
            "region": {"startLine": finding.line, "startColumn": finding.column},
        }
    }


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")
