"""smentry.training.keras with the real library: what it comes to after stops is what it comes to without."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from running import surroundings

from smentry.training import latest_checkpoint

if TYPE_CHECKING:
    from running import Run, Starter

pytestmark = pytest.mark.slow

PROGRAMS = Path(__file__).parent / "programs"
STOP_TIMEOUT = ("--stop-timeout", "60")
LIMIT = 240.0
BACKEND = os.environ.get("KERAS_BACKEND", "torch")
# Not imported: it would choose a backend here.
if not all(importlib.util.find_spec(name) for name in ("keras", BACKEND)):
    pytest.skip(f"needs keras and {BACKEND}", allow_module_level=True)
SURROUNDINGS = {"OMP_NUM_THREADS": "1", "KERAS_BACKEND": BACKEND}
AVERAGED = {"use_ema": True, "ema_overwrite_frequency": 5, "gradient_accumulation_steps": 3}
CASES: dict[str, dict[str, Any]] = {
    "arrays": {"stops": [{"request_at": 3}, {"request_at": 5}]},
    "at the first batch and the last of an epoch": {"stops": [{"request_at": 0}, {"request_at": 6}]},
    "at the first batch of an epoch and the last of all": {"stops": [{"request_at": 14}, {"request_at": 27}]},
    "in a validation": {"stops": [{"validate_at": 1}]},
    "a PyDataset that draws": {"data": "dataset", "stops": [{"request_at": 9}]},
    "averaged weights, accumulated gradients": {"optimizer": AVERAGED, "stops": [{"request_at": 8}]},
    "early stopping": {"early": 1, "epochs": 12, "optimizer": {"learning_rate": 0.2}, "stops": [{"request_at": 9}]},
}
if BACKEND == "torch":
    CASES["a loader with workers"] = {"data": "loader", "stops": [{"request_at": 9}]}
else:
    CASES["two steps an execution"] = {"execution": 2, "stops": [{"request_at": 11}]}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the trainings come to, all of them run in one process."""
    place = str(tmp_path_factory.mktemp("cases"))
    ran = subprocess.run(
        [sys.executable, str(PROGRAMS / "keras_cases.py"), place, json.dumps(CASES)],
        env={**surroundings(), **SURROUNDINGS},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    result: dict[str, Any] = json.loads(ran.stdout)
    return result


@pytest.mark.parametrize("case", CASES)
def test_the_same_model_and_history_as_uninterrupted(case: str, found: dict[str, Any]) -> None:
    whole, parts = found["cases"][case]["whole"], found["cases"][case]["parts"]
    assert [part["stopped"] for part in parts] == [True] * (len(parts) - 1) + [False]
    assert parts[-2]["model"] != whole["model"] or parts[-2]["steps"] == whole["steps"]
    assert parts[-1] == whole


def test_a_training_that_has_ended_does_nothing_at_the_next_start(found: dict[str, Any]) -> None:
    over, whole = found["cases"]["arrays"]["over"], found["cases"]["arrays"]["whole"]
    for key in ("model", "optimizer", "history", "epochs", "steps", "best"):
        assert over[key] == whole[key], key


def test_a_validation_that_is_cut_short_counts_for_nobody(found: dict[str, Any]) -> None:
    stopped = found["cases"]["in a validation"]["parts"][0]
    assert math.isnan(stopped["history"]["val_loss"][-1])
    assert stopped["history"]["loss"][-1] > 0
    assert stopped["best"][1] == stopped["history"]["val_loss"][0]


def test_early_stopping_goes_on_waiting_where_it_was(found: dict[str, Any]) -> None:
    whole = found["cases"]["early stopping"]["whole"]
    assert 2 < len(whole["epochs"]) < 12


REFUSED = {
    "again": "RuntimeError: this SaveOnStop was used for a fit already",
    "not ours": "was not saved by smentry.training.keras",
    "metrics": "ValueError: the checkpoint is of a model with other metrics",
    "layers": "ValueError: the checkpoint is of a model with other random layers",
    "fewer batches": "batches fewer than were trained before the stop",
    "every": "ValueError: every is 0: expected a number of batches",
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused(what: str, found: dict[str, Any]) -> None:
    assert REFUSED[what] in str(found["refused"][what])
    assert "\n" not in found["refused"][what]


# -- in processes of their own ---------------------------------------------------------------------


def begin(start: Starter, directory: Path, result: Path, **asked: Any) -> Run:
    what = json.dumps({"directory": str(directory), "result": str(result), **asked})
    return start([sys.executable, str(PROGRAMS / "keras_fit.py"), what], *STOP_TIMEOUT, **SURROUNDINGS)


def outcome(result: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def test_it_goes_on_after_a_signal_and_after_a_kill_half_through_a_save(
    start: Starter, tmp_path: Path, found: dict[str, Any]
) -> None:
    result = tmp_path / "result"
    run = begin(start, tmp_path / "saved", result, wait_at=10)
    run.wait_for("ready", LIMIT)
    run.send(signal.SIGTERM)
    assert run.end(LIMIT) == 0, run.stderr
    stopped = outcome(result)
    assert (stopped["reason"], stopped["stopped"], stopped["steps"]) == ("SIGTERM", True, 11)
    run = begin(start, tmp_path / "saved", result, every=3, kill_at=17)
    assert run.end(LIMIT) == 137, run.stderr
    path = latest_checkpoint(tmp_path / "saved")
    assert path is not None
    state = json.loads((Path(path) / "state.json").read_text())
    assert (state["epoch"], state["batch"]) == (2, 3)
    run = begin(start, tmp_path / "saved", result)
    assert run.end(LIMIT) == 0, run.stderr
    whole = found["cases"]["arrays"]["whole"]
    assert {key: value for key, value in outcome(result).items() if key != "reason"} == whole
