"""What is said of smentry's settings is what smentry itself says of them, at its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from smentry.ctl.check import hooks
from smentry.errors import RefusedError

from .test_inputs import inputs

REFUSED = ("SM501", "SM502")


def checked(text: str, directory: Path) -> list[tuple[int, int, str]]:
    path = directory / "smentry.yaml"
    path.write_text(text, encoding="utf-8")
    return [(finding.line, finding.column, finding.code) for finding in hooks.findings(path)]


def files(kind: str) -> list[Path]:
    return [path for directory in inputs(kind) for path in sorted(directory.rglob("smentry.yaml"))]


@pytest.mark.parametrize("path", files("bad") + files("good"), ids=lambda path: str(path.relative_to(path.parents[2])))
def test_smentry_refuses_what_is_said_to_be_refused_and_nothing_else(path: Path, tmp_path: Path) -> None:
    said = {finding.code for finding in hooks.findings(path)}
    served = "serve" if "serve" in path.read_text(encoding="utf-8") else "train"
    words = [
        "--hooks-dir",
        str(tmp_path),
        "--config",
        str(path),
        "--train",
        "true",
        "--serve",
        "true",
        "--dry-run",
        served,
    ]
    done = subprocess.run([sys.executable, "-m", "smentry", *words], capture_output=True, text=True, timeout=20)
    assert done.returncode == (2 if said.intersection(REFUSED) else 0), done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("hooks: []\n", []),
        ("stop_timeout: 120s\n", []),
        ("stop_timeout: 121s\n", [(1, 1, "SM503")]),
        ("stop_timeout: 121s\nprofile: ecs\n", []),
        ("serve: gunicorn app\nstop_timeout: 31s\n", [(2, 1, "SM503")]),
        ("stop_timeout: 31s\n", []),
        ("hooks:\n  - {on: stopping, run: a, timeout: 114s}\n", []),
        ("hooks:\n  - {on: stopping, run: a, timeout: 115s}\n", [(2, 28, "SM502")]),
        ("stop_timeout: 60s\nhooks:\n  - on: exit\n    run: a\n    timeout: 60s\n", [(1, 1, "SM502")]),
        ("processes:\n  - {run: a, verb: serve}\nhooks:\n  - {on: exit, run: b, timeout: 30s}\n", [(4, 24, "SM502")]),
        ("profile: ecs\nhooks:\n  - {on: exit, run: b, timeout: 30s}\n", [(3, 24, "SM502")]),
        ("hooks:\n  - {on: USR2, run: a, timeout: 1h}\n", []),
        ("stop_timout: 60s\n", [(1, 1, "SM501")]),
        ("processes:\n  - {name: a}\n", [(2, 5, "SM501")]),
        ("hooks:\n  - on: stopping\n    copy: {from: a, to: /b}\n", [(3, 12, "SM501")]),
        ("hooks:\n  - on: QUIT\n    run: a\n", [(2, 5, "SM501")]),
        ("a: b: c\n", [(1, 5, "SM501")]),
        ("- train\n", [(1, 1, "SM501")]),
        ("train: a | b\n", [(1, 1, "SM504")]),
        ("hooks:\n  - on: start\n    run: [a, '&&', b]\n", [(3, 5, "SM504")]),
    ],
)
def test_each_part_has_its_place(text: str, expected: list[tuple[int, int, str]], tmp_path: Path) -> None:
    assert checked(text, tmp_path) == expected


def test_what_this_machine_does_not_have_is_no_finding(tmp_path: Path) -> None:
    text = (
        "train: /app/no/such/program\ntimeline: /no/such/directory/file\nhooks_dir: /no/such/hooks.d\nuser: nobody-at-all\n"
        "hooks:\n  - {on: stopping, run: /no/such/hook}\nprocesses:\n  - {run: no-such-companion}\n"
    )
    assert checked(text, tmp_path) == []


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="no such file"):
        hooks.findings(tmp_path / "smentry.yaml")


def test_the_message_names_no_path_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "smentry.yaml"
    path.write_text("hooks:\n  - {on: stopping, run: a, timeout: 5m}\n", encoding="utf-8")
    (found,) = hooks.findings(path)
    assert str(tmp_path) not in found.message
    assert "shorten hooks[0].timeout (300 s)" in found.message


@pytest.mark.parametrize(
    ("place", "mode", "expected"),
    [
        ("hooks.d/stopping/10-save", 0o755, []),
        ("hooks.d/SIGUSR2/save.sh", 0o755, []),
        ("hooks.d/stopping/10-save", 0o644, ["SM504"]),
        ("hooks.d/stopping/10-save~", 0o644, []),
        ("hooks.d/stoping/10-save", 0o755, ["SM501"]),
        ("hooks.d/TERM/10-save", 0o755, ["SM501"]),
        ("hooks.d/save.sh", 0o755, ["SM504"]),
        ("hooks.d/common.sh", 0o644, []),
        ("scripts/stopping/save.sh", 0o644, []),
    ],
)
def test_a_hook_has_its_place_and_its_bit(place: str, mode: int, expected: list[str], tmp_path: Path) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(mode)
    assert [finding.code for finding in hooks.of_directory(path)] == expected
