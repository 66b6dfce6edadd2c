"""Lightning's Trainer with SaveOnStop: stopped, killed, with two ranks; what it comes to is what it comes to without."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from preloaded import LIMIT, PROGRAMS, Preloaded, came_to, preloaded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from running import Starter

if find_spec("lightning") is None:  # not imported here: it takes seconds
    pytest.skip("lightning is not there", allow_module_level=True)
pytestmark = pytest.mark.slow
PROGRAM = str(PROGRAMS / "lightning_trainer.py")


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preloaded]:
    yield from preloaded("lightning_trainer", tmp_path_factory)


@pytest.fixture(scope="module")
def uninterrupted(trainer: Preloaded) -> dict[str, Any]:
    found = trainer.run(trainer.directory / "uninterrupted")
    assert (found["step"], found["epoch"], len(found["losses"]), found["stopped"]) == (15, 3, 39, False)
    return found


@pytest.fixture(scope="module")
def two(trainer: Preloaded) -> list[dict[str, Any]]:
    """What two ranks come to."""
    found = trainer.ranks(trainer.directory / "two")
    assert found[0]["weights"] == found[1]["weights"]
    return found


def saves(directory: Path) -> list[str]:
    return sorted(path.parent.name for path in directory.glob("*/complete.json"))


# In the middle of an accumulation, at the last batch of an epoch, and in the second epoch.
@pytest.mark.parametrize(("batch", "step"), [(2, 1), (13, 5), (15, 6)])
def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(
    batch: int, step: int, trainer: Preloaded, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    stopped = trainer.run(tmp_path, stop_at=batch)
    assert (stopped["step"], stopped["stopped"], stopped["handled"]) == (step, True, True)
    assert stopped["validated"] == (2 if step <= 5 else 4), "the sanity check, and after each epoch before the stop"
    saved = saves(tmp_path)[-1]
    assert saved.endswith(f"-step-{step}")
    found = trainer.run(tmp_path)
    assert found["from"] == saved
    assert stopped["losses"] + found["losses"] == uninterrupted["losses"]
    assert found["weights"] == uninterrupted["weights"]


def test_stopped_at_the_last_batch_of_an_epoch_and_again_in_the_next(
    trainer: Preloaded, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    runs = [trainer.run(tmp_path, **asked) for asked in ({"stop_at": 13}, {"stop_at": 4}, {})]
    assert [run["step"] for run in runs] == [5, 7, 15]
    assert [loss for run in runs for loss in run["losses"]] == uninterrupted["losses"]
    assert runs[-1]["weights"] == uninterrupted["weights"]


def test_workers_that_persist(trainer: Preloaded, tmp_path: Path) -> None:
    settings = {"persistent": True, "noise": 0}
    expected = trainer.run(tmp_path / "uninterrupted", **settings)
    stopped = trainer.run(tmp_path / "stopped", stop_at=15, **settings)
    found = trainer.run(tmp_path / "stopped", **settings)
    assert stopped["losses"] + found["losses"] == expected["losses"]
    assert found["weights"] == expected["weights"]


def test_what_a_kill_has_left_is_not_gone_on_from(
    trainer: Preloaded, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    asked = {"directory": str(tmp_path), "result": "", "every": 2, "kill_at": 25}
    assert trainer.codes(({}, asked)) == [-9]
    assert list(tmp_path.glob(".save-*/lightning.ckpt"))
    found = trainer.run(tmp_path, every=2)
    assert found["from"] == "save-00000004-step-8"
    assert found["weights"] == uninterrupted["weights"]
    assert not list(tmp_path.glob(".save-*"))


def test_from_what_model_checkpoint_has_saved_it_goes_on_exactly_too(
    trainer: Preloaded, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    trainer.run(tmp_path, stop_at=26, checkpoints=str(tmp_path / "theirs"))
    found = trainer.run(tmp_path, **{"from": str(tmp_path / "theirs" / "step=7.ckpt")})
    assert found["losses"] == uninterrupted["losses"][-len(found["losses"]) :]
    assert found["weights"] == uninterrupted["weights"]


def test_two_hosts_leave_after_the_same_step_when_one_rank_is_asked(
    trainer: Preloaded, two: list[dict[str, Any]], tmp_path: Path
) -> None:
    stopped = trainer.ranks(tmp_path, hosts=True, stop_at=17, stop_rank=1)
    assert [found["step"] for found in stopped] == [7, 7]
    assert saves(tmp_path / "0") == saves(tmp_path / "1") == ["save-00000001-step-5", "save-00000002-step-7"]
    found = trainer.ranks(tmp_path, hosts=True)
    assert [each["from"] for each in found] == ["save-00000002-step-7"] * 2
    for rank in (0, 1):
        assert stopped[rank]["losses"] + found[rank]["losses"] == two[rank]["losses"]
        assert found[rank]["weights"] == two[rank]["weights"]


def test_two_hosts_go_on_from_what_both_have_where_they_are_joined(
    trainer: Preloaded, two: list[dict[str, Any]], tmp_path: Path
) -> None:
    trainer.ranks(tmp_path, hosts=True, stop_at=17, stop_rank=1)
    next((tmp_path / "0").glob("*-step-7/complete.json")).unlink()
    pairs = trainer.pairs(tmp_path, hosts=True)
    assert trainer.codes(*pairs) == [1, 1]
    assert "the ranks go on from checkpoints of different steps, 5, 7" in trainer.stderr
    found = trainer.ranks(tmp_path, hosts=True, join=True)
    assert [each["from"] for each in found] == ["save-00000001-step-5"] * 2
    assert [each["weights"] for each in found] == [each["weights"] for each in two]


def test_under_torchrun_and_smentry_the_ranks_save_at_the_same_step(
    trainer: Preloaded, two: list[dict[str, Any]], start: Starter, tmp_path: Path
) -> None:
    asked = {"directory": str(tmp_path), "result": str(tmp_path / "result"), "wait_at": 17}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run = start([*command, PROGRAM, json.dumps(asked)], OMP_NUM_THREADS="1")
    run.wait_for("ready", LIMIT)
    run.send(15)
    run.end(LIMIT)  # torchrun's own exit code after a signal is none of the ranks'
    assert not run.left
    assert [came_to(tmp_path / "result", rank)["step"] for rank in (0, 1)] == [7, 7], run.stderr
    found = trainer.ranks(tmp_path)
    assert [each["weights"] for each in found] == [each["weights"] for each in two]


def test_with_another_number_of_ranks_it_goes_on_and_says_what_begins_anew(trainer: Preloaded, tmp_path: Path) -> None:
    trainer.ranks(tmp_path, stop_at=17, stop_rank=0)
    found = trainer.run(tmp_path)
    assert (found["from"], found["epoch"]) == ("save-00000002-step-7", 3)
    assert "the checkpoint is of 2 ranks, and there are 1" in trainer.stderr


def test_the_package_pytorch_lightning_under_smentry(
    trainer: Preloaded, uninterrupted: dict[str, Any], start: Starter, tmp_path: Path
) -> None:
    if find_spec("pytorch_lightning") is None:
        pytest.skip("pytorch_lightning is not there")
    asked = {"directory": str(tmp_path), "result": str(tmp_path / "result"), "wait_at": 17}
    environment = {"LIGHTNING": "pytorch_lightning", "OMP_NUM_THREADS": "1"}
    run = start([sys.executable, PROGRAM, json.dumps(asked)], **environment)
    run.wait_for("ready", LIMIT)
    run.send(15)
    assert run.end(LIMIT) == 0, run.stderr
    assert not run.left
    assert came_to(tmp_path / "result")["step"] == 7
    found = trainer.run(tmp_path)
    assert found["from"] == "save-00000002-step-7"
    assert found["weights"] == uninterrupted["weights"]
