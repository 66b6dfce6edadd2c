"""PyTorch's data loader with four workers, stopped in mid-epoch under the real smentry: every stop leaves its checkpoint.

SMENTRY_LOADER_STOPS says how many stops there are of each kind (2).
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smentry.training import latest_checkpoint

if TYPE_CHECKING:
    from running import Run, Starter

if importlib.util.find_spec("torch") is None:  # not importorskip(): it takes seconds to import, and is not used here
    pytest.skip("no torch", allow_module_level=True)
pytestmark = pytest.mark.slow

STOPS = int(os.environ.get("SMENTRY_LOADER_STOPS", "2"))
PROGRAM = str(Path(__file__).parent / "programs" / "loader.py")
PYTHON = sys.executable
LIMIT = 240.0
"""Seconds until a program of four workers, each of which may import torch, trains on a busy machine."""
SCRIPT = f"#!/bin/sh\n{PYTHON} {PROGRAM}\necho $? > $STATE/next\n"
WAYS = {
    "as the program": [PYTHON, PROGRAM],
    "under custom_entrypoint.sh": ["train"],
    "under torchrun": [PYTHON, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "RANKS", PROGRAM],
    "under accelerate launch": [PYTHON, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1", PROGRAM],
}


def stopped(start: Starter, tmp_path: Path, way: str, number: int, **environment: str) -> None:
    """Start it, stop it in mid-epoch, and look for what it left."""
    base = tmp_path / "base"
    (base / "code").mkdir(parents=True, exist_ok=True)
    (base / "code" / "custom_entrypoint.sh").write_text(SCRIPT)
    ranks = int(environment.get("RANKS", "2")) if way == "under torchrun" else 1
    run = start(
        [str(ranks) if word == "RANKS" else word for word in WAYS[way]],
        *("--stop-timeout", "100"),
        separator=() if way == "under custom_entrypoint.sh" else ("--",),
        save=0.5,
        SAGEMAKER_BASE_DIR=str(base),
        WORKERS="4",
        OMP_NUM_THREADS="1",
        READY_AT=str(3 + number % 7),
        **environment,
    )
    for rank in range(ranks):
        run.wait_for(f"ready-{rank}", LIMIT)
    run.send(15)
    code = run.end(LIMIT)
    found = [saving(run, rank) for rank in range(ranks)]
    assert len({each["step"] for each in found}) == 1
    step = found[0]["step"]
    assert step >= 3 + number % 7
    path = latest_checkpoint(run.state / "checkpoints")
    assert path is not None
    assert path.endswith(f"-step-{step}/checkpoint.pt")
    assert json.loads(run.read("saved-0"))["step"] == step
    assert code == 0 or way == "under torchrun", run.stderr  # which says that it was asked to stop
    assert run.read("next") == ("0" if way == "under custom_entrypoint.sh" else "")
    assert not run.left


def saving(run: Run, rank: int) -> dict[str, int]:
    assert run.has(f"saved-{rank}"), run.stderr
    found: dict[str, int] = json.loads(run.read(f"saving-{rank}"))
    assert 0 < found["batch"] == found["step"]
    assert 0 < found["left"] <= 95
    return found


@pytest.mark.parametrize("number", range(STOPS))
@pytest.mark.parametrize("way", WAYS)
def test_a_stop_in_mid_epoch_saves(way: str, number: int, start: Starter, tmp_path: Path) -> None:
    if way == "under accelerate launch" and importlib.util.find_spec("accelerate") is None:
        pytest.skip("no accelerate")
    stopped(start, tmp_path, way, number)


@pytest.mark.parametrize("number", range(max(1, STOPS // 2)))
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_however_the_workers_are_made(method: str, number: int, start: Starter, tmp_path: Path) -> None:
    stopped(start, tmp_path, "under torchrun", number, RANKS="1", METHOD=method)


@pytest.mark.parametrize("number", range(max(1, STOPS // 2)))
def test_workers_that_stay(number: int, start: Starter, tmp_path: Path) -> None:
    stopped(start, tmp_path, "under torchrun", number, RANKS="1", PERSISTENT="1")
