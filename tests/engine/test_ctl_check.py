"""What `smentryctl check IMAGE` finds in images of the engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smentry.ctl.check import dockerfile, instructions
from smentry.ctl.main import main

from ..ctl.check.test_rules_page import NEEDS_IMAGE, SECTIONS, write
from .containers import PLAIN, Engine, docker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smentry.ctl.check.instructions import Instruction

FAULTY = """\
FROM scratch
COPY start.sh /app/
COPY data.csv /opt/ml/input/data/training/
COPY data.csv /usr/lib/libnvidia-ml.so.550.54.14
VOLUME /opt/ml/model
STOPSIGNAL SIGINT
ENTRYPOINT ["/app/start.sh"]
CMD ["--epochs", "3"]
"""


@pytest.fixture
def builder(base: str, tmp_path: Path) -> Iterator[Engine]:
    """Builds images; they are removed at the end of the test."""
    engine = Engine(base, tmp_path)
    yield engine
    engine.close()


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A directory to build from."""
    place = tmp_path / "context"
    place.mkdir()
    (place / "data.csv").write_text("1,2\n", encoding="utf-8")
    (place / "start.sh").write_bytes(b"#!/bin/sh\npython3 /app/train.py\n")
    (place / "train").write_bytes(b"\x7fELF\0")
    (place / "train").chmod(0o755)
    return place


def codes(image: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    main(["check", image, "--format", "json"])
    written = capsys.readouterr()
    assert not written.err
    return [finding["code"] for finding in json.loads(written.out)]


def test_what_is_wrong_with_an_image_is_found(
    builder: Engine, context: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = codes(builder.build(FAULTY, context), capsys)
    assert sorted(found) == ["SM105", "SM106", "SM107", "SM108", "SM109", "SM110", "SM201", "SM409"]


def test_how_the_engine_keeps_an_entrypoint_is_understood(
    builder: Engine, context: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell_form = builder.build("FROM scratch\nCOPY train /bin/sh\nENTRYPOINT train --epochs 3\n", context)
    assert codes(shell_form, capsys) == ["SM101"]
    no_json = builder.build("FROM scratch\nCOPY train /bin/sh\nENTRYPOINT ['train']\n", context)
    assert codes(no_json, capsys) == ["SM111"]


def test_a_train_on_path_is_enough(builder: Engine, context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert codes(builder.build("FROM scratch\nCOPY train /usr/bin/\n", context), capsys) == []
    assert codes(builder.build("FROM scratch\nCOPY train /opt/program/\n", context), capsys) == ["SM104"]


@pytest.mark.parametrize(
    "text",
    [
        '# escape=`\nFROM scratch\nENTRYPOINT ["a", `\n # c\n\n  "b"]\nCMD ["x"]\n',
        'FROM scratch AS one\nCMD ["x"]\nFROM One\nENTRYPOINT ["a"]\n',
        'FROM scratch AS one\nENTRYPOINT ["a"]\nCMD ["x"]\nFROM one\n',
        "from scratch\nentrypoint ['a', 'b']\nCmd [\"a\",]\n",
        'FROM scratch\r\nENTRYPOINT ["a", \\\r\n "b"]\r\nSTOPSIGNAL SIGINT\r\n',
        'FROM scratch\nARG S=SIGUSR1 \nENV D=/opt\nSTOPSIGNAL ${S}\nWORKDIR ${D}/x\nWORKDIR y/../z${N:-n}\nENTRYPOINT ["$S"]\n',
        "FROM scratch\nENTRYPOINT a \\\n  b\nCMD c\n",
    ],
)
def test_a_dockerfile_is_read_as_the_engine_reads_it(text: str, builder: Engine, context: Path, tmp_path: Path) -> None:
    made = json.loads(docker("inspect", "--format", "{{json .Config}}", builder.build(text, context)).stdout)
    recipe = dockerfile.Recipe(tmp_path / "Dockerfile0", instructions.lineage(instructions.stages(text)))

    def words(instruction: Instruction | None) -> list[str] | None:
        if instruction is None or instruction.json is not None:
            return instruction and instruction.json
        return ["/bin/sh", "-c", instruction.value]

    read = (words(recipe.entrypoint), words(recipe.command), recipe.stop_signal and recipe.stop_signal.expanded)
    assert read == (made.get("Entrypoint"), made.get("Cmd"), made.get("StopSignal"))
    assert recipe.directory == (made.get("WorkingDir") or "/")


@pytest.mark.parametrize("code", sorted(NEEDS_IMAGE))
def test_the_examples_that_need_an_image_are_right(
    code: str, builder: Engine, base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, expected in (("Bad", [code]), ("Good", [])):
        place = tmp_path / kind
        place.mkdir()
        write(SECTIONS[code].examples[kind], place)
        text = (place / "Dockerfile").read_text(encoding="utf-8")
        assert "BASE_IMAGE=python:3.12-slim" in text
        image = builder.build(text.replace("BASE_IMAGE=python:3.12-slim", f"BASE_IMAGE={base}"), place)
        assert codes(image, capsys) == expected


def test_the_image_of_this_repository_is_clean(image: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert image
    assert codes(PLAIN, capsys) == []


def test_no_container_is_started_and_none_is_left(
    builder: Engine, context: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = builder.build("FROM scratch\nCOPY train /usr/bin/\nVOLUME /data\n", context)
    began = docker("info", "--format", "{{.SystemTime}}").stdout.strip()
    codes(image, capsys)
    ended = docker("info", "--format", "{{.SystemTime}}").stdout.strip()
    told = docker(
        *("events", "--since", began, "--until", ended),
        *("--filter", f"image={image}", "--filter", "type=container", "--format", "{{.Action}}"),
    ).stdout.split()
    assert told[0] == "create"
    assert told[-1] == "destroy"
    assert "start" not in told


def test_an_image_that_is_not_there_is_said(base: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert base
    assert main(["check", "smentry-test-none:1"]) == 2
    assert capsys.readouterr().err == (
        "smentryctl: smentry-test-none:1: no such file or directory, and as an image:"
        " the image 'smentry-test-none:1' is not on this machine: pull it or build it first\n"
    )
