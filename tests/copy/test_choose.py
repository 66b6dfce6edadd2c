"""Which match of a pattern is copied, with real files."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import pytest

from smentry.copy.choose import Match, newest
from tests.copy.copying import Copier, age, growing, meanwhile, texts, tree


@pytest.mark.parametrize(
    ("matches", "settled", "chosen"),
    [
        ({"a": 1, "b": 2, "c": 3}, 3, "c"),
        ({"a": 1, "b": 2, "c": 3}, 2, "b"),
        ({"a": 2, "b": 3}, 1, "b"),
        ({"step-9": 5, "step-10": 5, "step-8": 5}, 9, "step-10"),
        ({}, 9, None),
    ],
    ids=["newest", "settled", "only unsettled", "same time", "none"],
)
def test_the_newest_settled_match_wins(matches: dict[str, int], settled: int, chosen: str | None) -> None:
    found = newest([Match(path, change, True) for path, change in matches.items()], settled)
    assert (found.path if found else None) == chosen


def test_the_newest_settled_match_is_copied(copy: Copier, here: Path) -> None:
    age(tree(here / "c/step-1", "1"), 60)
    age(tree(here / "c/step-2", "2"), 30)
    tree(here / "c/step-3", "3")
    answer = copy(here / "model", newest=str(here / "c/*"), settled=20)
    assert set(texts(here / "model").values()) == {"2"}
    assert answer.warnings == []
    assert answer.said[-1].startswith(f"copied {here}/c/step-2 to {here}/model: 3 files, 3 bytes in ")


def test_the_last_change_is_that_of_the_whole_tree(copy: Copier, here: Path) -> None:
    age(tree(here / "c/a", "a"), 30)
    age(tree(here / "c/b", "b"), 60)
    age(here / "c/b/sub/last", 20)
    copy(here / "model", newest=str(here / "c/*"))
    assert set(texts(here / "model").values()) == {"b"}


def test_settled_counts_from_the_end_of_the_program(copy: Copier, here: Path) -> None:
    age(tree(here / "c/a", "a"), 50)
    age(tree(here / "c/b", "b"), 20.5)
    age(tree(here / "c/c", "c"), 19)
    copy(here / "model", newest=str(here / "c/*"), ended=time.time() - 20, settled=1)
    assert set(texts(here / "model").values()) == {"a"}
    copy(here / "model", newest=str(here / "c/*"), ended=time.time() - 10, settled=1)
    assert set(texts(here / "model").values()) == {"c"}


def test_the_newest_is_taken_where_none_is_settled_with_a_warning(copy: Copier, here: Path) -> None:
    age(tree(here / "c/a", "a"), 5)
    age(tree(here / "c/b", "b"), 2)
    answer = copy(here / "model", newest=str(here / "c/*"), settled=60)
    assert set(texts(here / "model").values()) == {"b"}
    assert len(answer.warnings) == 1
    told = re.search(rf"taking the newest, {here}/c/b, though it changed ([\d.]+) s before now", answer.warnings[0])
    assert told
    assert 2 <= float(told[1]) < 60


def test_a_match_without_the_complete_entry_is_passed_over(copy: Copier, here: Path) -> None:
    (tree(here / "c/a", "a") / "done").touch()
    age(here / "c/a", 60)
    age(tree(here / "c/b", "b"), 30)
    (here / "c/file").touch()
    copy(here / "model", newest=str(here / "c/*"), complete="done")
    assert set(texts(here / "model").values()) == {"a", ""}
    answer = copy(here / "model", newest=str(here / "c/*"), complete="other")
    assert answer.error == f"none of 3 matches of {here}/c/* holds other: none is complete"


def test_a_linked_match_counts_as_what_it_leads_to(copy: Copier, here: Path) -> None:
    age(tree(here / "c/step-1", "1"), 60)
    (here / "c/latest").symlink_to("step-1")
    (here / "c/nowhere").symlink_to("gone")
    answer = copy(here / "model", newest=str(here / "c/*"))
    assert set(texts(here / "model").values()) == {"1"}
    assert answer.warnings == []


def test_the_target_is_no_match(copy: Copier, here: Path) -> None:
    age(tree(here / "c/step-1", "1"), 60)
    for _ in range(2):
        assert copy(here / "c/best", newest=str(here / "c/*")).error is None


def test_no_match_is_an_error(copy: Copier, here: Path) -> None:
    assert copy(here / "model", newest=f"{here}/*.pt").error == f"nothing matches {here}/*.pt"


def test_pattern_characters_of_a_source_are_not_special(copy: Copier, here: Path) -> None:
    (here / "a[1]*.pt").write_text("it")
    copy(here / "to", here / "a[1]*.pt")
    assert (here / "to").read_text() == "it"


def test_a_source_that_does_not_exist_is_an_error(copy: Copier, here: Path) -> None:
    assert copy(here / "to", here / "missing").error == f"{here}/missing does not exist"


def test_a_program_that_rotates_its_checkpoints_loses_none(copy: Copier, here: Path) -> None:
    step = 0

    def rotate() -> None:
        nonlocal step
        step += 1
        tree(here / "c" / f".{step}", str(step), files=30)
        os.rename(here / "c" / f".{step}", here / "c" / str(step))
        shutil.rmtree(here / "c" / str(step - 4), ignore_errors=True)
        time.sleep(0.005)  # what it takes to train a step

    (here / "c").mkdir()
    rotate()
    with meanwhile(rotate):
        for _ in range(20):
            assert copy(here / "model", newest=f"{here}/c/*", settled=0).error is None
            copied = texts(here / "model")
            assert len(copied) == 30
            assert len(set(copied.values())) == 1


def test_a_match_that_disappears_gives_way_to_another(copy: Copier, here: Path, crowd: Path) -> None:
    age(tree(here / "c/old", "old"), 60)

    def remove() -> None:
        if any(name.startswith(".model") for name in os.listdir(here)) and (here / "c/new").exists():
            os.rename(here / "c/new", here / "gone")
            for name in os.listdir(here / "gone"):
                os.rename(here / "gone" / name, here / "gone" / f"{name} gone")

    said = []
    for _ in range(5):
        shutil.copytree(crowd, here / "c/new", copy_function=os.link)
        with meanwhile(remove):
            said += copy(here / "model", newest=f"{here}/c/*", ended=time.time() + 60).said
        assert texts(here / "model") in (texts(here / "c/old"), texts(crowd))
        shutil.rmtree(here / "gone")
    assert any(line.endswith("disappeared while it was copied: trying again") for line in said)


def test_a_match_that_is_still_being_written_gives_way_to_another(copy: Copier, here: Path) -> None:
    age(tree(here / "c/a", "a"), 60)
    age(tree(here / "c/b", "b"), 30)
    (here / "c/b/growing").write_bytes(bytes(200_000_000))  # long enough that the writer has its turn meanwhile
    with meanwhile(growing(here / "c/b/growing")):
        answer = copy(here / "to", newest=f"{here}/c/*", ended=time.time() + 60)
    assert set(texts(here / "to").values()) == {"a"}
    assert "still being written" in answer.said[0]


@pytest.mark.parametrize("complete", ["sub/last", "sub/", "./sub", "sub//last", "./file0/"])
def test_the_complete_entry_may_be_any_path_in_the_match(copy: Copier, here: Path, complete: str) -> None:
    age(tree(here / "c/a", "a"), 60)
    (here / "c/b").mkdir()
    assert copy(here / "model", newest=str(here / "c/*"), complete=complete).error is None
    assert set(texts(here / "model").values()) == {"a"}
