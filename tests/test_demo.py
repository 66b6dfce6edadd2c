"""`docker/demo.sh` and the training script that it stops, as real processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "docker/demo.sh"
pytestmark = pytest.mark.slow  # shell and pure arithmetic: the same on every Python
EXAMPLE = ROOT / "docker/examples/training"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Ours, with the tree's smentry, and a temporary directory of its own for what the demo lays out."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base directory with the data in its channel."""
    base = tmp_path / "ml"
    (base / "input/config").mkdir(parents=True)
    shutil.copytree(EXAMPLE / "data", base / "input/data/training")
    return base


@pytest.mark.parametrize("namespaces", ["yes", "no"])
def test_stops_and_saves_and_leaves_nothing_behind(
    environment: dict[str, str], tmp_path: Path, namespaces: str
) -> None:
    ran = subprocess.run(
        [DEMO],
        cwd="/",
        env={**environment, "SMENTRYCTL_NAMESPACES": namespaces},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told, finished = ran.stdout.index("-------- StopTrainingJob"), ran.stdout.index(": Stopped")
    assert re.search(r"SIGTERM: ending after epoch \d", ran.stdout[told:finished])
    assert told < ran.stdout.index("custom_entrypoint.sh: wrote the summary") < finished
    assert "model.tar.gz: model.json, " in ran.stdout[finished:]
    assert ("plain processes" in ran.stdout) or namespaces == "yes"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_fails_where_the_model_is_not_saved(environment: dict[str, str], tmp_path: Path) -> None:
    copy = tmp_path / "docker"
    shutil.copytree(ROOT / "docker", copy)
    (copy / "examples/training/train.py").write_text(
        "import signal\nprint('epoch 3 of 3', flush=True)\nsignal.pause()\n"
    )
    ran = subprocess.run(
        [copy / "demo.sh"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 1
    assert "the model was not saved" in ran.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGPIPE])
def test_interrupted_it_stops_the_job_and_cleans_up(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    null, pipe = subprocess.DEVNULL, subprocess.PIPE
    with subprocess.Popen([DEMO], env=environment, stdin=null, stdout=pipe, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if " images to train on" in line:  # its first line: after the third epoch it is stopped anyway
                break
        if number == signal.SIGPIPE:
            demo.stdout.close()
        else:
            demo.send_signal(number)
        demo.wait(timeout=60)
    assert demo.returncode == 128 + number
    assert list((tmp_path / "scratch").iterdir()) == []
    assert processes_with(f"TRAINING_JOB_NAME=smentry-demo-{demo.pid}") == []


def test_an_unknown_argument_and_a_missing_engine_are_one_line(environment: dict[str, str]) -> None:
    for argument, expected in (("--dokcer", "'--dokcer'"), ("--docker", "no container engine answers")):
        ran = subprocess.run(
            [DEMO, argument], env={**environment, "DOCKER": "/nowhere/docker"}, capture_output=True, text=True
        )
        assert ran.returncode == 1
        assert expected in ran.stderr
        assert len(ran.stderr.splitlines()) == 1


def test_a_resumed_job_ends_with_the_model_of_one_that_was_never_stopped(base: Path, tmp_path: Path) -> None:
    configure(base, epochs=3)
    other = tmp_path / "other"
    shutil.copytree(base, other)

    assert train(base, stop_after="epoch 1 ") == 0
    saved = json.loads((base / "checkpoints/checkpoint.json").read_text())
    assert 1 <= saved["epoch"] < 3
    assert train(base) == 0
    assert train(other) == 0
    assert json.loads((base / "model/model.json").read_text()) == json.loads((other / "model/model.json").read_text())


def test_training_learns(base: Path) -> None:
    configure(base, epochs=4)
    assert train(base) == 0
    model = json.loads((base / "model/model.json").read_text())
    assert model["epochs"] == 4
    assert model["accuracy"] > 0.85


def configure(base: Path, *, epochs: int) -> None:
    """Write the hyperparameters as the platform does: every value is a string."""
    (base / "input/config/hyperparameters.json").write_text(json.dumps({"epochs": str(epochs)}))


def train(base: Path, *, stop_after: str | None = None) -> int:
    """Run `train.py`, send it SIGTERM after a line that begins with `stop_after`; return its exit code."""
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base)}
    command = [sys.executable, str(EXAMPLE / "train.py")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if stop_after and line.startswith(stop_after):
                process.send_signal(signal.SIGTERM)
        return process.wait(timeout=60)


def processes_with(variable: str) -> list[int]:
    """The processes that were started with an environment that holds this text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                held = variable.encode() in (entry / "environ").read_bytes()
            except OSError:
                continue
            if held:
                found.append(int(entry.name))
    return found
