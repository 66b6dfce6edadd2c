"""A processing job: its container is given a command, which runs as it stands, and has 120 s for a stop."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from .containers import Engine

CODE = "/opt/ml/processing/input/code/x.py"
PROGRAM = """\
import os, sys
with open("/proc/self/environ") as given, open(os.environ["STATE"] + "/variables", "w") as file:
    file.write("\\n".join(line.partition("=")[0] for line in given.read().split("\\0") if line))
sys.path.insert(0, os.environ["PROGRAMS"])
import saver
"""
HOST = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}
OF_THE_ENGINE = {"HOME", "HOSTNAME"}
SET_BY_SMENTRY = {"SMENTRY_STOP_TIMEOUT", "SMENTRY_GRACE_SECONDS", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"}


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """What the platform lays out for a processing job."""
    ml = tmp_path / "ml"
    for directory in ("config", "processing/input/code", "output"):
        (ml / directory).mkdir(parents=True)
    (ml / "config/processingjobconfig.json").write_text(json.dumps({"ProcessingJobName": "p"}), encoding="utf-8")
    (ml / "config/resourceconfig.json").write_text(json.dumps(HOST), encoding="utf-8")
    script = ml / "processing/input/code/x.py"
    script.write_text(PROGRAM, encoding="utf-8")
    script.chmod(0o644)  # S3 keeps no mode bits
    return ml


def mounted(job: Path) -> list[str]:
    """Options that mount it."""
    return ["--volume", f"{job}:/opt/ml"]


@pytest.mark.parametrize("entrypoint", [[], ["--entrypoint", "smentry"]], ids=["image's", "job's"])
def test_the_command_of_a_processing_job_runs_as_it_stands(entrypoint: list[str], engine: Engine, job: Path) -> None:
    container = engine.start("python3", CODE, "--rate", "a b", options=[*mounted(job), *entrypoint])
    container.ready()
    assert json.loads(container.read("ready"))["argv"] == [CODE, "--rate", "a b"]
    given = {line.partition("=")[0] for line in json.loads(container.inspect("{{json .Config.Env}}"))}
    assert set(container.lines("variables")) - given - OF_THE_ENGINE == SET_BY_SMENTRY
    assert container.stop() == 0, container.output
    assert container.lines("told") == ["SIGTERM"]
    assert container.has("saved")
    assert " of 120 s: " in container.last_line


def test_why_a_processing_job_failed_is_in_its_message(engine: Engine, job: Path) -> None:
    (job / "processing/input/code/x.py").write_text("raise ValueError('no rows')", encoding="utf-8")
    container = engine.start("python3", CODE, options=mounted(job))
    assert container.end() == 1, container.output
    assert (job / "output/message").read_text(encoding="utf-8").splitlines()[0].endswith(": ValueError: no rows")
    assert not (job / "output/failure").exists()


def test_a_script_without_its_interpreter_is_an_error_that_says_so(engine: Engine, job: Path) -> None:
    container = engine.start(CODE, options=mounted(job))
    assert container.end() == 126
    assert "has no executable bit" in (job / "output/message").read_text(encoding="utf-8")
