from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from smentry.ctl.check import image
from smentry.ctl.check.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PYTHON = ("usr/bin/python3", b"\x7fELF\0", 0o755)
SH = ("usr/bin/sh", b"\x7fELF\0", 0o755)
BASE: tuple[tuple[str, bytes | str, int], ...] = (
    ("bin", "usr/bin", 0o777),
    PYTHON,
    SH,
    ("usr/bin/bash", b"\x7fELF\0", 0o755),
    ("usr/bin/env", b"\x7fELF\0", 0o755),
    ("app/train.py", b"#!/usr/bin/env python3\nprint(1)\n", 0o755),
    ("app/windows.sh", b"#!/bin/sh\r\nexec python3 /app/train.py\r\n", 0o755),
    ("app/plain.sh", b"#!/bin/sh\nexec python3 /app/train.py\n", 0o644),
    ("app/waits.sh", b"#!/bin/sh\npython3 /app/train.py\n", 0o755),
    ("app/strange.sh", b"#!/opt/strange/sh\nexec python3 /app/train.py\n", 0o755),
)
"""Path, content (a text: a link to it) and mode. /bin is a link, as it is in every newer distribution."""


def archive(files: Iterable[tuple[str, bytes | str, int]], piece: int = 700) -> Iterator[bytes]:
    """A tar stream, in pieces."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as writing:
        for name, content, mode in files:
            member = tarfile.TarInfo(name)
            member.mode = mode
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                writing.addfile(member)
            else:
                member.size = len(content)
                writing.addfile(member, io.BytesIO(content))
    data = buffer.getvalue()
    return (data[start : start + piece] for start in range(0, len(data), piece))


def codes(configuration: dict[str, Any], *files: tuple[str, bytes | str, int]) -> list[str]:
    names = {word.rpartition("/")[2] for word in configuration.get("Entrypoint") or ()}
    tree = Tree(archive([*BASE, *files]), names.union(image.VERBS))
    return [finding.code for finding in image.problems("image:tag", configuration, tree)]


def entrypoint(*words: str, **more: Any) -> dict[str, Any]:
    return {"Entrypoint": list(words), **more}


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        (entrypoint("python3", "/app/train.py"), []),
        (entrypoint("/bin/sh", "-c", "python3 /app/train.py"), ["SM101"]),
        (entrypoint("/bin/sh", "-c", "['python3', '/app/train.py']"), ["SM111"]),
        (entrypoint("bash", "-c", "true && python3 /app/train.py"), ["SM102"]),
        (entrypoint("bash", "-c", "true && exec python3 /app/train.py"), []),
        ({}, ["SM104"]),
        ({"Entrypoint": None, "Cmd": ["python3", "/app/train.py"]}, ["SM104"]),
        (entrypoint("python3", "/app/train.py", Cmd=["--epochs", "3"]), ["SM105"]),
        (entrypoint("python3", "/app/train.py", Cmd=["train"]), []),
        (entrypoint("python3", "/app/train.py", Cmd=["/bin/bash"]), []),
        (entrypoint("python3", Volumes={"/opt/ml/model/": {}, "/data": {}}), ["SM107"]),
        (entrypoint("python3", StopSignal="SIGQUIT"), ["SM109"]),
        (entrypoint("python3", StopSignal="SIGTERM"), []),
        (entrypoint("/app/windows.sh"), ["SM401"]),
        (entrypoint("/app/plain.sh"), ["SM409"]),
        (entrypoint("sh", "/app/plain.sh"), []),
        (entrypoint("plain.sh", WorkingDir="/app"), ["SM201"]),
        (entrypoint("./waits.sh", WorkingDir="/app"), ["SM110"]),
        (entrypoint("waits.sh", Env=["PATH=/usr/bin:/app"]), ["SM110"]),
        (entrypoint("/app/strange.sh"), ["SM201"]),
        (entrypoint("/app"), ["SM201"]),
        (entrypoint("/app/missing"), ["SM201"]),
    ],
)
def test_the_configuration_and_the_files_it_names(configuration: dict[str, Any], expected: list[str]) -> None:
    assert codes(configuration) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([("usr/local/bin/train", "/app/train.py", 0o777)], []),
        ([("usr/local/bin/serve", "../../../app/train.py", 0o777)], []),
        ([("usr/local/bin/train", "/app/waits.sh", 0o777)], ["SM110"]),
        ([("usr/local/bin/train", "/app/missing", 0o777)], ["SM104"]),
        ([("usr/local/bin/train", "train", 0o777)], ["SM104"]),
        ([("usr/local/bin/train", b"\x7fELF\0", 0o644)], ["SM409"]),
        ([("usr/local/bin/train", b"python3 /app/train.py\n", 0o755)], ["SM402"]),
        ([("opt/program/train", b"\x7fELF\0", 0o755)], ["SM104"]),
    ],
)
def test_without_an_entrypoint_a_verb_on_path_is_started(
    files: list[tuple[str, bytes | str, int]], expected: list[str]
) -> None:
    assert codes({}, *files) == expected


@pytest.mark.parametrize(
    ("path", "size", "variables", "expected"),
    [
        ("opt/ml/input/data/training/data.csv", 1, [], ["SM106"]),
        ("opt/ml/code/train.py", 1, [], ["SM106"]),
        ("opt/ml/code/train.py", 1, ["SAGEMAKER_PROGRAM=train.py"], []),
        ("opt/ml/model/.keep", 0, [], []),
        ("opt/mlflow/data.csv", 1, [], []),
        ("usr/lib/x86_64-linux-gnu/libcuda.so.550.54.14", 1, [], ["SM108"]),
        ("usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1", 1, [], ["SM108"]),
        ("usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1", 0, [], []),  # what a mount has left behind
        ("usr/lib/x86_64-linux-gnu/libnvidia-container.so.1", 1, [], []),
        ("usr/local/cuda-12.4/targets/x86_64-linux/lib/stubs/libcuda.so", 1, [], []),
        ("usr/local/cuda-12.4/compat/libcuda.so.550.54.14", 1, [], []),
        ("usr/local/lib/python3.12/site-packages/nvidia/nvjitlink/lib/libnvJitLink.so.12", 1, [], []),
    ],
)
def test_files_that_must_not_be_there(path: str, size: int, variables: list[str], expected: list[str]) -> None:
    assert codes(entrypoint("python3", Env=variables), (path, b"x" * size, 0o644)) == expected


def test_tini_may_execute_a_train_that_is_there() -> None:
    tini = ("usr/bin/tini", b"\x7fELF\0", 0o755)
    assert codes(entrypoint("tini", "--"), tini) == ["SM103"]
    assert codes(entrypoint("tini", "--"), tini, ("usr/bin/train", b"\x7fELF\0", 0o755)) == []


def test_a_finding_in_a_script_of_the_image_names_its_place() -> None:
    tree = Tree(archive(BASE), {"waits.sh"})
    (finding,) = image.problems("image:tag", entrypoint("/app/waits.sh"), tree)
    assert (finding.file, finding.line, finding.column) == ("image:tag:/app/waits.sh", 2, 1)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("python", True),
        ("python:3.12-slim", True),
        ("registry:5000/team/image:tag", True),
        ("763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.3.0-gpu", True),
        ("image@sha256:" + "0" * 64, True),
        ("9252478cfa8e", True),
        ("Image", False),
        ("a b", False),
        ("image:", False),
    ],
)
def test_what_may_be_the_name_of_an_image(name: str, is_one: bool) -> None:
    assert image.could_be(name) is is_one
