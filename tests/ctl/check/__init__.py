"""What the tests of check share: running it, and what it has found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from smentry.ctl.main import main

if TYPE_CHECKING:
    import pytest


def found(directory: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """The exit code of `check DIRECTORY --format json`, and `file:line:column CODE` of each finding."""
    code = main(["check", str(directory), "--format", "json"])
    written = capsys.readouterr()
    assert not written.err
    findings = json.loads(written.out)
    return code, [
        f"{Path(one['file']).relative_to(directory)}:{one['line']}:{one['column']} {one['code']}" for one in findings
    ]
