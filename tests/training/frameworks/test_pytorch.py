"""PyTorch, the real one: ranks that agree on a stop over gloo, and trainings that end the same, stopped or not."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from running import surroundings

if TYPE_CHECKING:
    from collections.abc import Callable

    Ranks = Callable[[str], list[Any]]

if importlib.util.find_spec("torch") is None:  # not importorskip(): it takes seconds to import, and is not used here
    pytest.skip("no torch", allow_module_level=True)
pytestmark = pytest.mark.slow

PROGRAM = str(Path(__file__).parent / "programs" / "ranks.py")
ASKED = {"requested": True, "complete": False, "again": 0}
AT_THE_END = {"requested": False, "reason": None, "complete": True, "again": 3}


def played(directory: Path, *scenarios: str, **environment: str) -> dict[str, list[Any]]:
    """What the ranks of these scenarios, or of all, returned."""
    ran = subprocess.run(
        [sys.executable, PROGRAM, str(directory), *scenarios],
        env={**surroundings(), "OMP_NUM_THREADS": "1", "SMENTRY_GRACE_SECONDS": "", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, list[Any]] = json.loads(ran.stdout)
    return found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    """What each rank of a scenario returned. One program plays them all: to import torch takes longer than any of them."""
    found = played(tmp_path_factory.mktemp("ranks"))

    def of(scenario: str) -> list[Any]:
        results = found[scenario]
        assert not any(isinstance(each, str) and each.startswith("Traceback") for each in results), results
        return results

    return of


def same(results: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    for each in results:
        assert {name: each[name] for name in expected} == expected


# -- a stop ------------------------------------------------------------------------------------------


def test_one_rank_is_asked_and_all_leave_after_its_step(ranks: Ranks) -> None:
    found = ranks("one_is_asked")
    same(found, {**ASKED, "given": 7})
    assert [each["reason"] for each in found] == ["rank 2 was asked to stop", "rank 2 was asked to stop", "SIGTERM"]


def test_all_are_asked_at_different_steps_and_leave_after_the_first(ranks: Ranks) -> None:
    found = ranks("all_are_asked_at_different_steps")
    same(found, {**ASKED, "given": 5})


def test_the_seconds_left_are_the_least_of_all(ranks: Ranks) -> None:
    assert all(50 < each["left"] <= 100 for each in ranks("one_is_asked"))


def test_before_a_stop_they_are_each_ranks_own(ranks: Ranks) -> None:
    assert [each["left"] for each in ranks("different_lengths")] == [100, 200, 300]


@pytest.mark.parametrize("scenario", ["every_fourth_step", "every_fourth_step_without_a_length"])
def test_with_every_a_stop_is_at_a_multiple_of_it(scenario: str, ranks: Ranks) -> None:
    same(ranks(scenario), {**ASKED, "given": 8})


def test_a_loop_of_ones_own(ranks: Ranks) -> None:
    found = ranks("by_hand")
    assert [each["given"] for each in found] == [6, 6, 6]
    assert found[1]["reason"] == "the loss is no number"


def test_without_a_length_it_is_at_the_same_step_too(ranks: Ranks) -> None:
    same(ranks("no_length_and_asked"), {**ASKED, "given": 4})


# -- the end of the data -----------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["different_lengths", "no_lengths", "one_without_a_length"])
def test_the_shortest_ends_it_for_all(scenario: str, ranks: Ranks) -> None:
    same(ranks(scenario), {**AT_THE_END, "given": 5})


def test_a_rank_without_data_ends_it_for_all(ranks: Ranks) -> None:
    same(ranks("no_data_on_one"), {**AT_THE_END, "given": 0})


def test_of_what_has_a_length_no_more_is_taken_than_given_out(ranks: Ranks) -> None:
    assert [each["taken"] for each in ranks("different_lengths")] == [5, 5, 5]


def test_a_length_that_is_wrong_is_said(ranks: Ranks) -> None:
    first, second = ranks("a_wrong_length")
    assert "the data has ended after 3 items, and its len() is 6" in second
    assert "another rank has ended or failed" in first


# -- with and without torch.distributed ------------------------------------------------------------------


def test_it_works_before_after_and_between_process_groups(ranks: Ranks) -> None:
    for number, found in enumerate(ranks("without_and_with_others")):
        assert found[:2] == [[0, True, [number]], 3 + number]
        assert found[2:4] == [[number, number == 0, [0, 1]], 3]
        assert found[4:6] == [[number], 3 + number]
        assert found[6:] == [[0, 1], True]


def test_it_works_without_numpy(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise ModuleNotFoundError('no numpy')")
    path = os.pathsep.join(filter(None, [str(tmp_path), surroundings().get("PYTHONPATH")]))
    name = "two_hosts_with_two_ranks"
    for found in played(tmp_path, name, PYTHONPATH=path)[name]:
        assert found[4:] == [True, 5], found


# -- workers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_outlive_signals_to_the_whole_group(method: str, ranks: Ranks) -> None:
    groups = 2 if method == "fork" else 1
    assert ranks(f"workers under fire: {method}") == [{"given": 6, "groups": groups, "shared": False, "left": []}]


# -- what goes wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["one_fails_and_stays", "one_is_killed"])
def test_a_rank_that_fails_is_not_waited_for(scenario: str, ranks: Ranks) -> None:
    first, _, third = ranks(scenario)
    for each in (first, third):
        assert "another rank has ended or failed: see what it said first" in each["error"]
        assert each["seconds"] < 60  # of two hours


def test_a_rank_may_be_slower_than_the_jobs_own_group_allows(ranks: Ranks) -> None:
    assert ranks("one_is_slow") == [{"error": None}] * 2


def test_a_rank_that_is_stuck_is_waited_for_until_the_timeout(ranks: Ranks) -> None:
    first, _, third = ranks("one_is_stuck")
    # Who is first to give up leaves, and that may be what the other hears of.
    assert first["error"]
    assert third["error"]
    assert any("another rank did not come within 6 s (timeout)" in each["error"] for each in (first, third))


def test_what_fails_on_one_fails_on_all_and_they_go_on(ranks: Ranks) -> None:
    told = "RuntimeError: rank 1 failed: OSError: [Errno 28] No space left on device"
    own = "OSError: [Errno 28] No space left on device"
    assert ranks("one_fails_in_what_they_do_together") == [[each, [0, 1, 2]] for each in (told, own, told)]


# -- checkpoints of several hosts --------------------------------------------------------------------


def test_the_newest_that_all_hosts_have(ranks: Ranks) -> None:
    for number, found in enumerate(ranks("newest_of_all_hosts")):
        both, without_the_torn, later, none, said_of_none, lost, said_of_lost, is_saver = found
        assert both == "save-00000002-step-20/checkpoint"  # two of them have step 30 as well
        assert without_the_torn == "save-00000001-step-10/checkpoint"
        assert later == f"save-0000000{4 if number else 3}-step-15/checkpoint"
        assert none is None
        assert not said_of_none
        assert lost is None
        assert said_of_lost
        assert is_saver


def test_one_rank_of_each_host_saves(ranks: Ranks) -> None:
    path = "save-00000001-step-5/checkpoint.pt"
    expected = [[rank % 2 == 0, rank // 2 * 2, path, 1, True, 5] for rank in range(4)]
    assert ranks("two_hosts_with_two_ranks") == expected


def test_the_same_step_of_another_run_is_not_taken(ranks: Ranks) -> None:
    assert ranks("saved_by_another_timeline") == [[True, 10]] * 3


def test_a_save_that_fails_on_one_host_fails_on_all(ranks: Ranks) -> None:
    first, second = ranks("a_disk_is_full")
    assert first[0] == "RuntimeError"
    assert first[1].startswith(f"rank 1 failed: {second[0]}: ")
    assert second[2] == []


def test_a_model_of_which_each_rank_has_a_part_is_refused(ranks: Ranks) -> None:
    for said in ranks("sharded"):
        assert said.startswith("part.weight is sharded over ranks: expected whole tensors")


def test_a_checkpoint_of_something_else_is_refused(ranks: Ranks) -> None:
    ((other, foreign, directory, damaged),) = ranks("other_parts")
    assert "checkpoint.pt has model: expected the parts model, scheduler" in other
    assert "model.pt was not saved by a TrainingState" in foreign
    assert "xgboost was not saved by a TrainingState, or is damaged" in directory
    assert "checkpoint.pt was not saved by a TrainingState, or is damaged" in damaged


def test_numbers_of_numpy_in_a_schedule_are_loaded_again(ranks: Ranks) -> None:
    assert ranks("a_schedule_in_numpy") == [[True, "numpy", True]]


def test_what_could_not_be_loaded_again_is_not_saved(ranks: Ranks) -> None:
    ((said, left),) = ranks("what_could_not_be_loaded")
    assert said.startswith("the state_dict() of a part has pathlib.")
    assert left == []


def test_where_there_is_no_room_for_it_that_is_what_is_said(ranks: Ranks) -> None:
    assert ranks("no_room") == [["File too large", []]]


def test_another_number_of_ranks_goes_on_at_the_same_place_in_the_data(ranks: Ranks) -> None:
    for given, batch, step, heard, item in ranks("another_number_of_ranks"):
        assert given == [0, 1, 2]
        assert (batch, step, item) == (6, 3, 6)
        assert "is of 2 ranks, these are 1" in heard[0]


def test_with_another_number_of_ranks_nothing_comes_twice_after_a_stop(ranks: Ranks) -> None:
    for found in ranks("another_number_of_ranks_and_a_stop"):
        assert found == [16, 16]  # of 20: four were read by two ranks


# -- the same end, stopped or not --------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "alone",
        "two ranks",
        "workers",
        "persistent workers",
        "a generator",
        "drawn with replacement",
        "an evaluation that draws",
    ],
)
def test_stopped_and_gone_on_with_it_ends_as_if_it_was_not(name: str, ranks: Ranks) -> None:
    for each in ranks(f"trained: {name}"):
        assert each["steps"] == [*each["stops"], 18]
        assert each["parts"] == each["whole"]


# -- what cannot be ----------------------------------------------------------------------------------


def test_what_cannot_be_is_said(ranks: Ranks) -> None:
    for said, expected in zip(ranks("what_cannot_be")[0], ("every is 0: ", "timeout is 0: ", "timeout is inf: ")):
        assert said.startswith(expected)
