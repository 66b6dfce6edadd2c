from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from smentry.errors import RefusedError
from smentry.launch import python

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A PATH with a `python3`, and what a user may have beside it."""
    for name in ("python3", "python3.11", "sh", "torchrun"):
        (tmp_path / name).symlink_to(sys.executable)
    return {"PATH": str(tmp_path)}


@pytest.mark.parametrize(
    ("line", "options", "module", "script", "arguments"),
    [
        ("python3 a.py", [], "", "a.py", []),
        ("python3 -u a.py --lr 1 -m x", ["-u"], "", "a.py", ["--lr", "1", "-m", "x"]),
        ("python3.11 -m pack.age -c x", [], "pack.age", "", ["-c", "x"]),
        ("python3 -um package", ["-u"], "package", "", []),
        ("python3 -mpackage x", [], "package", "", ["x"]),
        ("python3 -W error -X dev -OO a.py", ["-W", "error", "-X", "dev", "-OO"], "", "a.py", []),
        ("python3 -Werror -bX importtime a.py", ["-Werror", "-bX", "importtime"], "", "a.py", []),
        ("python3 --check-hash-based-pycs always a.py", ["--check-hash-based-pycs", "always"], "", "a.py", []),
        ("python3 -- a.py --x", [], "", "a.py", ["--x"]),
    ],
)
def test_a_python_program_is_its_options_its_script_or_module_and_its_arguments(
    environment: dict[str, str], line: str, options: list[str], module: str, script: str, arguments: list[str]
) -> None:
    program = python.read(line.split(), environment, "--launcher")
    assert program.python == f"{environment['PATH']}/{line.split()[0]}"
    assert (program.options, program.module, program.script) == (options, module, script)
    assert program.arguments == arguments


def test_the_words_of_a_program_run_it_again(environment: dict[str, str]) -> None:
    program = python.read(["python3", "-OO", "-u", "-m", "package", "x"], environment, "--launcher")
    assert program.words == [f"{environment['PATH']}/python3", "-OO", "-u", "-m", "package", "x"]


@pytest.mark.parametrize("first", ["#!/usr/bin/env python3", "#!{bin}/python3", "#! {bin}/python3.11"])
def test_a_script_says_in_its_first_line_that_it_is_pythons(
    environment: dict[str, str], tmp_path: Path, first: str
) -> None:
    script = tmp_path / "start"
    script.write_text(f"{first.format(bin=tmp_path)}\nprint()\n")
    script.chmod(0o755)
    for words in ([str(script), "--x"], ["start", "--x"]):  # by its path, and on PATH
        program = python.read(words, environment, "--launcher")
        assert program.python.startswith(f"{tmp_path}/python3")
        assert (program.script, program.arguments) == (str(script), ["--x"])


def test_options_in_the_first_line_of_a_script_are_kept(environment: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "start"
    script.write_text(f"#!{tmp_path}/python3 -OO\nprint()\n")
    script.chmod(0o755)
    assert python.read([str(script)], environment, "--launcher").options == ["-OO"]


@pytest.mark.parametrize("named", ["{path}", "interpreter"])
def test_the_python_that_the_user_named_is_one_whatever_its_name(tmp_path: Path, named: str) -> None:
    path = tmp_path / "interpreter"
    path.symlink_to(sys.executable)
    environment = {"PATH": str(tmp_path), "SMENTRY_PYTHON": named.format(path=path)}
    assert python.read([str(path), "a.py"], environment, "--launcher").python == str(path)


@pytest.mark.parametrize("name", ["python3.13t", "python3.12d", "pypy3"])
def test_other_builds_of_python_are_python(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(sys.executable)
    assert python.read([name, "a.py"], {"PATH": str(tmp_path)}, "--launcher").script == "a.py"


@pytest.mark.parametrize(
    "line", ["sh a.sh", "python3", "python3 -u", "python3 -c pass", "python3 -", "python3 -m", "python3 -- -x", "torch"]
)
def test_what_is_no_python_program_is_refused(environment: dict[str, str], tmp_path: Path, line: str) -> None:
    (tmp_path / "torch").write_text("#!/bin/sh\necho\n")
    (tmp_path / "torch").chmod(0o755)
    with pytest.raises(RefusedError) as refused:
        python.read(line.split(), environment, "--launcher")
    assert refused.value.message == (
        f"--launcher: only a Python program can be launched: expected a script or a module for Python, got {line!r}"
    )


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("torchrun a.py", "torchrun"),
        ("/opt/bin/mpirun -np 2 a.py", "/opt/bin/mpirun"),
        ("python3 -m torch.distributed.run a.py", "torch.distributed.run"),
        ("python3 /opt/bin/accelerate launch a.py", "/opt/bin/accelerate"),
    ],
)
def test_a_launcher_is_not_launched(environment: dict[str, str], line: str, name: str) -> None:
    with pytest.raises(RefusedError, match=f"^--launcher: {name} is a launcher itself: expected the program for it"):
        python.read(line.split(), environment, "--launcher")
