"""What a start loads: every module costs time in every container, so the list is held here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = "import sys; sys.argv[0] = 'smentry'; from smentry.__main__ import main; main()"
ALWAYS = {
    "smentry",
    "smentry.__main__",
    "smentry.cli",
    "smentry.config",
    "smentry.values",
    "smentry.errors",
    "smentry.executable",
    "smentry.job",
    "smentry.run",
}
PID1 = {
    "smentry.pid1",
    *(
        f"smentry.pid1.{name}"
        for name in (
            "events",
            "lanes",
            "lifecycle",
            "linux",
            "process",
            "report",
            "signals",
            "state",
            "stderr",
            "supervisor",
            "sweep",
            "targets",
            "telling",
            "terminal",
            "timeline",
            "witness",
        )
    ),
}
"""The init itself."""

LIBRARY = {"__future__", "errno", "select"}
PRCTL = {"ctypes", "ctypes._endian", "_ctypes", "struct", "_struct", "types"}
"""For prctl(2): where smentry is not PID 1 it makes itself a subreaper."""

NEVER = {
    "argparse",
    "dataclasses",
    "enum",
    "typing",
    "subprocess",
    "logging",
    "re",
    "json",
    "signal",
    "collections",
}
NEVER |= {"functools", "pathlib", "shutil", "contextlib", "inspect", "psutil", "yaml", "shlex", "pwd"}


def loaded(*arguments: str, **variables: str) -> set[str]:
    """The modules that the interpreter loads for `smentry ARGUMENTS` and not for an empty program."""
    return imports(DRIVER, *arguments, **variables) - imports("pass")


def imports(program: str, *arguments: str, **variables: str) -> set[str]:
    process = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program, *arguments],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("SMENTRY_")},
            "PYTHONPATH": str(Path(__file__).parent.parent),
            **variables,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    lines = [line for line in process.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines[1:]}


def test_a_command_loads_exactly_this() -> None:
    assert loaded("--", "true") == ALWAYS | PID1 | LIBRARY | PRCTL


@pytest.mark.parametrize(
    "arguments",
    [["-vv", "-e", "3", "-r", "TERM:INT", "--stop-timeout", "2m", "true"], ["--train", "true", "train"]],
    ids=["options", "train"],
)
def test_nothing_slow_is_loaded(arguments: list[str]) -> None:
    assert not loaded(*arguments) & NEVER


def test_the_contract_of_training_loads_nothing_slow(tmp_path: Path) -> None:
    files = {
        "hyperparameters": '{"epochs": "3", "lr": "1e-4", "model": "resnet50", "layers": "[1, 2]", "zip": "00123"}',
        "inputdataconfig": '{"train": {"TrainingInputMode": "File"}}',
        "resourceconfig": '{"current_host": "algo-1", "hosts": ["algo-1"]}',
    }
    config = tmp_path / "input/config"
    config.mkdir(parents=True)
    for name, text in files.items():
        (config / f"{name}.json").write_text(text)
    found = loaded("--train", "true", "train", SAGEMAKER_BASE_DIR=str(tmp_path))
    assert "smentry.sagemaker.environ" in found
    assert not found & NEVER


def test_yaml_is_loaded_for_a_file_only(tmp_path: Path) -> None:
    file = tmp_path / "smentry.yaml"
    file.write_text("scope: main\n")
    assert "yaml" in loaded("--config", str(file), "true")
    assert "yaml" not in loaded("true")


def test_what_hooks_need_is_loaded_for_hooks_only(tmp_path: Path) -> None:
    file = tmp_path / "start" / "hook"
    file.parent.mkdir()
    assert "smentry.hookfile" not in loaded("true")
    assert "smentry.hookfile" in loaded("--hooks-dir", str(tmp_path), "true")
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    assert not loaded("--hooks-dir", str(tmp_path), "true") & NEVER


def test_what_fetches_and_installs_is_loaded_by_the_process_that_does_it_only(tmp_path: Path) -> None:
    steps = {f"smentry.sagemaker.{name}" for name in ("fetching", "unpack", "download", "codeartifact", "resolving")}
    steps |= {"tarfile", "threading", "socket", "subprocess", "shutil"}
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text("pass")
    base = {"SAGEMAKER_BASE_DIR": str(tmp_path), "SMENTRY_PYTHON": "/bin/true"}
    found = loaded("train", **base)
    assert not found & (steps | {"smentry.sagemaker.code", "smentry.sagemaker.requirements"} | NEVER)
    found = loaded("train", **base, SAGEMAKER_PROGRAM="train.py", SAGEMAKER_SUBMIT_DIRECTORY="/bin")
    assert "smentry.sagemaker.code" in found
    assert not found & (steps | NEVER)


def test_what_companions_need_is_loaded_for_companions_only(tmp_path: Path) -> None:
    needed = {"smentry.processfile", *(f"smentry.pid1.{name}" for name in ("companions", "crew", "turns"))}
    file = tmp_path / "smentry.yaml"
    file.write_text("scope: main\n")
    assert not loaded("--config", str(file), "true") & needed
    file.write_text("processes: [{run: 'true', required: false}]\n")
    found = loaded("--config", str(file), "true")
    assert needed <= found
    assert not found & (NEVER - {"re", "enum", "collections", "functools", "typing", "yaml"})  # PyYAML's
