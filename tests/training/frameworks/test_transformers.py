"""transformers' Trainer with SaveOnStop: stopped, killed, with two ranks; what it comes to is what it comes to without."""

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

if find_spec("transformers") is None or find_spec("accelerate") is None:  # not imported here: it takes seconds
    pytest.skip("transformers with accelerate is not there", allow_module_level=True)
pytestmark = pytest.mark.slow
STEPS = 15


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preloaded]:
    yield from preloaded("transformers_trainer", tmp_path_factory)


@pytest.fixture(scope="module")
def uninterrupted(trainer: Preloaded) -> dict[str, Any]:
    found = trainer.run(trainer.directory / "uninterrupted")
    assert (found["step"], found["passes"], found["stopped"]) == (STEPS, 39, False)
    return found


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Whether two runs came to the same, and by the same way."""
    return all(found[key] == expected[key] for key in ("step", "weights", "losses"))


def complete(directory: Path) -> list[str]:
    return sorted((path.parent.name for path in directory.glob("*/complete.json")), key=lambda name: int(name[11:]))


# In the middle of an accumulation, at the last step of an epoch, and at the only batch of a step.
@pytest.mark.parametrize(("batch", "step"), [(2, 1), (14, 6), (26, 10)])
def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(
    batch: int, step: int, trainer: Preloaded, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    stopped = trainer.run(tmp_path, stop_at=batch)
    assert (stopped["step"], stopped["stopped"]) == (step, True)
    assert stopped["losses"] == uninterrupted["losses"][:step]
    assert complete(tmp_path)[-1] == f"checkpoint-{step}"
    found = trainer.run(tmp_path)
    assert found["from"] == f"checkpoint-{step}"
    assert same(found, uninterrupted)


def test_a_stop_does_not_evaluate_and_saves_once(trainer: Preloaded, tmp_path: Path) -> None:
    arguments = {"eval_strategy": "epoch", "save_strategy": "epoch"}
    stopped = trainer.run(tmp_path, stop_at=26, arguments=arguments)
    assert (stopped["step"], stopped["evaluated"], stopped["saved"]) == (10, [5], [5, 10])
    found, expected = (trainer.run(place, arguments=arguments) for place in (tmp_path, tmp_path / "uninterrupted"))
    assert (found["evaluated"], expected["evaluated"]) == ([5, 15], [5, 10, 15])
    assert same(found, expected), "an evaluation draws random numbers"


def test_what_a_kill_has_left_is_not_gone_on_from(
    trainer: Preloaded, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    assert trainer.codes(({}, {"directory": str(tmp_path), "result": "", "kill_at": 8})) == [-9]
    assert (tmp_path / "checkpoint-8" / "optimizer.pt").exists()
    assert complete(tmp_path) == ["checkpoint-4"]
    found = trainer.run(tmp_path)
    assert found["from"] == "checkpoint-4"
    assert same(found, uninterrupted)


def test_a_checkpoint_that_is_written_over_is_not_complete_meanwhile(
    trainer: Preloaded, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    trainer.run(tmp_path, stop_at=17)
    assert complete(tmp_path) == ["checkpoint-4", "checkpoint-7"]
    assert trainer.codes(({}, {"directory": str(tmp_path), "result": "", "kill_at": 4, "anew": True})) == [-9]
    assert complete(tmp_path) == ["checkpoint-7"]
    found = trainer.run(tmp_path)
    assert found["from"] == "checkpoint-7"
    assert same(found, uninterrupted)


def test_of_checkpoints_from_before_the_callback_the_last_finished_one_is_gone_on_from(
    trainer: Preloaded, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    trainer.run(tmp_path, stop_at=26)
    for marked in tmp_path.glob("*/complete.json"):
        marked.unlink()
    (tmp_path / "checkpoint-10" / "trainer_state.json").write_text('{"epoch": 2.')
    found = trainer.run(tmp_path)
    assert found["from"] == "checkpoint-8"
    assert same(found, uninterrupted)


@pytest.mark.parametrize("argument", ["enable_jit_checkpoint", "save_only_model"])
def test_what_cannot_work_is_refused(argument: str, trainer: Preloaded, tmp_path: Path) -> None:
    asked = {"directory": str(tmp_path), "result": "", "arguments": {argument: True}}
    assert trainer.codes(({}, asked)) == [1]
    assert f"ValueError: {argument}=True" in trainer.stderr


def test_two_ranks_leave_after_the_same_step_when_one_is_asked(trainer: Preloaded, tmp_path: Path) -> None:
    expected = trainer.ranks(tmp_path / "uninterrupted")
    assert expected[0]["weights"] == expected[1]["weights"]
    directory = tmp_path / "stopped"
    assert [found["step"] for found in trainer.ranks(directory, stop_at=17, stop_rank=1)] == [7, 7]
    found = trainer.ranks(directory)
    assert [each["from"] for each in found] == ["checkpoint-7", "checkpoint-7"]
    assert all(same(*pair) for pair in zip(found, expected))


def test_two_hosts_go_on_from_a_checkpoint_that_both_have(trainer: Preloaded, tmp_path: Path) -> None:
    trainer.ranks(tmp_path, hosts=True, stop_at=17, stop_rank=1)
    assert complete(tmp_path / "0") == complete(tmp_path / "1") == ["checkpoint-4", "checkpoint-7"]
    (tmp_path / "0" / "checkpoint-7" / "optimizer.pt").unlink()
    found = trainer.ranks(tmp_path, hosts=True)
    assert [each["from"] for each in found] == ["checkpoint-4", "checkpoint-4"]
    assert [each["step"] for each in found] == [STEPS, STEPS]
    assert found[0]["weights"] == found[1]["weights"]


def test_under_smentry_a_stop_ends_it_with_exit_code_0(
    trainer: Preloaded, uninterrupted: dict[str, Any], start: Starter, tmp_path: Path
) -> None:
    asked = json.dumps({"directory": str(tmp_path), "result": str(tmp_path / "result"), "wait_at": 17})
    run = start([sys.executable, str(PROGRAMS / "transformers_trainer.py"), asked], OMP_NUM_THREADS="1")
    run.wait_for("ready", LIMIT)
    run.send(15)
    assert run.end(LIMIT) == 0, run.stderr
    assert not run.left
    assert came_to(tmp_path / "result")["step"] == 7
    found = trainer.run(tmp_path)
    assert found["from"] == "checkpoint-7"
    assert same(found, uninterrupted)
