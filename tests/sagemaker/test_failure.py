from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from container import Directory, Fifo, Link, Tree

from smentry.sagemaker import failure
from smentry.sagemaker.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def write(tree: Tree, reason: str) -> bool:
    return failure.write(Layout(str(tree.base)), reason)


def test_the_reason_is_written(tree: Tree) -> None:
    assert write(tree, "too few epochs: für 3 · ∞")
    assert tree.failure == "too few epochs: für 3 · ∞"


def test_the_platform_reads_1024_characters_so_no_more_are_written(tree: Tree) -> None:
    assert write(tree, "ü" * 1023 + "∞" + "x" * 10)
    assert tree.failure == "ü" * 1023 + "∞"


def test_what_cannot_be_encoded_is_replaced(tree: Tree) -> None:
    assert write(tree, "file \udcff")
    assert tree.failure == "file ?"


@pytest.mark.parametrize("there", ["mine", "", Fifo(), Directory(), Link("{other}/gone"), Link("{other}")], ids=repr)
def test_what_is_there_is_never_replaced(tree: Tree, there: object) -> None:
    file = tree.put("output/failure", there)
    before = file.lstat()
    assert not write(tree, "late")
    assert (file.lstat().st_ino, file.lstat().st_size) == (before.st_ino, before.st_size)
    assert list(tree.other.iterdir()) == []


def test_without_a_base_directory_nothing_is_made(tree: Tree) -> None:
    tree.base.rmdir()
    assert not write(tree, "x")
    assert not tree.base.exists()


def test_an_output_that_is_no_directory_is_no_error(tree: Tree) -> None:
    tree.put("output", "a file")
    assert not write(tree, "x")


def test_a_reason_with_nul_is_no_error(tree: Tree) -> None:
    assert write(tree, "a\0b")
