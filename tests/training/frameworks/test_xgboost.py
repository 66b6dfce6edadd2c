"""smentry.training.xgboost with the real library: what it comes to after stops is what it comes to without."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from running import surroundings, wait_until

from smentry.training import latest_checkpoint

if TYPE_CHECKING:
    from running import Run, Starter

pytest.importorskip("xgboost")
pytestmark = pytest.mark.slow

PROGRAMS = Path(__file__).parent / "programs"
STOP_TIMEOUT = ("--stop-timeout", "60")
LIMIT = 120.0
BY_ROUND = {"seed_per_iteration": True, "seed": 3}
TREES = {"subsample": 0.5, "colsample_bytree": 0.5}
CONSTRAINTS = {"monotone_constraints": "(0,0,1)", "interaction_constraints": "[[0,1],[2,3,4,5,6,7]]", "eta": 0.1}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "stopped before its first round": {"stops": [0]},
    "stopped after each of its first rounds": {"stops": [1, 3, 5]},
    "stopped after its last round": {"stops": [29]},
    "without scores": {"evals": False},
    "several metrics": {"parameters": {"eval_metric": ["mae", "rmse"]}},
    "early stopping": {"early": 4, "rounds": 200, "stops": [8, 21]},
    "early stopping, the best model": {"best": 4, "rounds": 200, "stops": [8, 21]},
    "learning rates by round": {"rates": True},
    "exact, with samples by round": {"parameters": {"tree_method": "exact", **TREES, **BY_ROUND}},
    "dart, with drops by round": {"parameters": {"booster": "dart", "rate_drop": 0.3, **BY_ROUND}},
    "several trees a round": {"parameters": {"num_parallel_tree": 2}},
    "constraints": {"parameters": CONSTRAINTS},
    "trees by leaves": {"parameters": {"grow_policy": "lossguide", "max_leaves": 5, "max_depth": 0}},
    "linear": {"parameters": {"booster": "gblinear", "updater": "coord_descent", "alpha": 0.1}},
    "on top of a model": {"base": True},
}
SAMPLES = {"samples": {"parameters": TREES}}
"""What XGBoost draws is not the same after a stop; see docs/training.md."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the trainings come to, all of them run in one process."""
    ran = subprocess.run(
        [
            sys.executable,
            str(PROGRAMS / "xgboost_cases.py"),
            str(tmp_path_factory.mktemp("cases")),
            json.dumps({**CASES, **SAMPLES}),
        ],
        env={**surroundings(), "OMP_NUM_THREADS": "1"},
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
def test_the_same_model_scores_and_rounds_as_uninterrupted(case: str, found: dict[str, Any]) -> None:
    whole, parts = found["cases"][case]["whole"], found["cases"][case]["parts"]
    stops = CASES[case].get("stops", [11, 19])
    assert [part["stopped"] for part in parts] == [True] * len(stops) + [False]
    assert [part["done"] for part in parts[:-1]] == sorted({part["done"] for part in parts[:-1]})
    assert parts[-2]["done"] == (stops[-1] + 1 if stops != [0] else 0)
    assert parts[-1] == whole
    assert whole["class"] == "xgboost.core"


def test_other_samples_are_drawn_after_a_stop(found: dict[str, Any]) -> None:
    whole, parts = found["cases"]["samples"]["whole"], found["cases"]["samples"]["parts"]
    assert parts[-1]["seen"] == whole["seen"]
    assert parts[-1]["scores"]["valid"]["rmse"][:12] == whole["scores"]["valid"]["rmse"][:12]
    assert parts[-1]["scores"]["valid"]["rmse"][-1] < whole["scores"]["valid"]["rmse"][0]
    assert parts[-1]["model"] != whole["model"]


def test_fewer_rounds_than_there_are_give_the_model_of_as_many(found: dict[str, Any]) -> None:
    assert found["others"]["fewer"] == [True, True, 4]


def test_what_other_callbacks_save_of_rounds_that_are_gone_through_again_is_as_it_was(found: dict[str, Any]) -> None:
    assert found["others"]["written"] == [[number, number + 1, number + 1, "xgboost.core"] for number in range(4)]


REFUSED = {
    "cv": "ValueError: xgboost.cv cannot go on after a stop",
    "again": "RuntimeError: this SaveOnStop was used for a training already",
    "copy": "RuntimeError: this SaveOnStop was used for a training already",
    "base": "began with a model of 0 rounds, this one begins with 4",
    "evals": "has scores of ['train', 'valid'], this training's evals are ['other']",
    "not ours": "was not saved by smentry.training.xgboost",
    "objective": "with reg:squarederror, this one is with reg:absoluteerror",
    "every": "ValueError: every is 0: expected a number of rounds",
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused(what: str, found: dict[str, Any]) -> None:
    assert REFUSED[what] in found["others"][what]
    assert "\n" not in found["others"][what]


# -- in processes of their own ---------------------------------------------------------------------


def begin(start: Starter, directory: Path, result: Path, **asked: Any) -> Run:
    what = json.dumps({"directory": str(directory), "result": str(result), **asked})
    return start(
        [sys.executable, str(PROGRAMS / "xgboost_rounds.py"), what],
        *STOP_TIMEOUT,
        OMP_NUM_THREADS="1",
    )


def outcome(result: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def test_a_signal_ends_it_after_the_round_and_it_goes_on(start: Starter, tmp_path: Path, found: dict[str, Any]) -> None:
    result = tmp_path / "result"
    run = begin(start, tmp_path / "saved", result, wait_at=12)
    run.wait_for("ready", LIMIT)
    run.send(signal.SIGTERM)
    assert run.end(LIMIT) == 0, run.stderr
    stopped = outcome(result)
    assert (stopped["reason"], stopped["stopped"], stopped["done"]) == ("SIGTERM", True, 13)
    run = begin(start, tmp_path / "saved", result)
    assert run.end(LIMIT) == 0, run.stderr
    whole = found["cases"]["plain"]["whole"]
    assert {key: value for key, value in outcome(result).items() if key != "reason"} == whole


def test_killed_half_through_a_save_it_goes_on_from_the_one_before(
    start: Starter, tmp_path: Path, found: dict[str, Any]
) -> None:
    result = tmp_path / "result"
    run = begin(start, tmp_path / "saved", result, every=5, kill_at=14)
    assert run.end(LIMIT) == 137, run.stderr
    path = latest_checkpoint(tmp_path / "saved")
    assert path is not None
    assert json.loads((Path(path) / "state.json").read_text())["rounds"] == 10
    run = begin(start, tmp_path / "saved", result, every=5)
    assert run.end(LIMIT) == 0, run.stderr
    assert outcome(result)["model"] == found["cases"]["plain"]["whole"]["model"]


def workers(
    start: Starter, tmp_path: Path, name: str, directories: list[str], wait_at: int | None = None
) -> list[dict[str, Any]]:
    """Two workers; the second one waits at a round, and it alone gets a signal."""
    address = tmp_path / f"{name}-address"
    script = [sys.executable, str(PROGRAMS / "xgboost_tracker.py"), "2", str(address)]
    tracker = start([], init=script, before=("env",), separator=())
    wait_until(lambda: address.exists() or tracker.has_ended, f"the tracker; stderr:\n{tracker.stderr}", LIMIT)
    results = [tmp_path / f"{name}-result-{rank}" for rank in range(2)]
    asked = {"tracker": json.loads(address.read_text()), "workers": 2, "every": 8}
    runs = [
        begin(start, tmp_path / directories[rank], results[rank], rank=rank, wait_at=wait_at if rank else None, **asked)
        for rank in range(2)
    ]
    if wait_at is not None:
        runs[1].wait_for("ready", LIMIT)
        runs[1].send(signal.SIGTERM)
    assert [run.end(LIMIT) for run in runs] == [0, 0], [run.stderr for run in runs]
    return [outcome(result) for result in results]


def test_workers_leave_after_the_same_round_and_who_has_the_checkpoint_gives_it_to_all(
    start: Starter, tmp_path: Path
) -> None:
    whole = workers(start, tmp_path, "whole", ["whole-0", "whole-1"])
    stopped = workers(start, tmp_path, "stopped", ["saved-0", "saved-1"], wait_at=12)
    assert [(part["stopped"], part["done"]) for part in stopped] == [(True, 13), (True, 13)]
    assert [part["reason"] for part in stopped] == [None, "SIGTERM"]
    assert not (tmp_path / "saved-1").exists()
    resumed = workers(start, tmp_path, "resumed", ["saved-1", "saved-0"])  # the ranks are on the other hosts now
    assert resumed == whole
    assert whole[0]["model"] == whole[1]["model"]
