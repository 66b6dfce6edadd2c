from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from container import Directory, Fifo, Link, Tree, unanswering

from smentry.sagemaker import failure
from smentry.sagemaker.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def write(tree: Tree, text: str, *, training: bool = True, within: float = 10.0) -> str:
    return failure.write(Layout(str(tree.base)), text, training=training, within=within)


def test_the_reason_is_written(tree: Tree) -> None:
    assert write(tree, "too few epochs: für 3 · ∞") == ""
    assert tree.failure == "too few epochs: für 3 · ∞"


def test_the_platform_reads_1024_characters_so_no_more_are_written(tree: Tree) -> None:
    assert write(tree, "ü" * 1023 + "∞" + "x" * 10) == ""
    assert tree.failure == "ü" * 1023 + "∞"


def test_what_cannot_be_encoded_is_replaced(tree: Tree) -> None:
    assert write(tree, "file \udcff") == ""
    assert tree.failure == "file ?"


@pytest.mark.parametrize("there", ["mine", Fifo(), Directory(), Link("{other}/gone"), Link("{other}/empty")], ids=repr)
def test_what_is_there_is_never_replaced(tree: Tree, there: object) -> None:
    empty = tree.other / "empty"
    empty.touch()
    file = tree.put("output/failure", there)
    before = file.lstat()
    assert write(tree, "late") == ""
    assert (file.lstat().st_ino, file.lstat().st_size) == (before.st_ino, before.st_size)
    assert list(tree.other.iterdir()) == [empty]
    assert empty.read_bytes() == b""


def test_a_file_that_user_code_opened_and_wrote_nothing_to_is_filled(tree: Tree) -> None:
    tree.put("output/failure", "")
    assert write(tree, "killed") == ""
    assert tree.failure == "killed"


def test_an_empty_file_that_has_another_name_too_is_somebody_else_s(tree: Tree) -> None:
    other = tree.other / "marker"
    other.touch()
    tree.put("output/.keep", "")
    os.link(other, tree.base / "output/failure")
    assert write(tree, "late") == ""
    assert other.read_bytes() == b""


def test_without_a_base_directory_nothing_is_made(tree: Tree) -> None:
    tree.base.rmdir()
    assert write(tree, "x") == ""
    assert not tree.base.exists()


def test_an_output_that_is_no_directory_is_no_error_but_is_said(tree: Tree) -> None:
    file = tree.put("output", "a file")
    assert write(tree, "x") == f"{file}/failure: not a directory"


# Which file.


def test_a_processing_job_has_a_message_instead(tree: Tree) -> None:
    tree.put("config/processingjobconfig.json", {})
    assert write(tree, "no input", training=False) == ""
    assert (tree.base / "output/message").read_text() == "no input"
    assert tree.failure is None


def test_a_plain_command_writes_where_a_training_job_is_laid_out_and_nowhere_else(tree: Tree) -> None:
    assert write(tree, "x", training=False) == ""
    assert list(tree.base.iterdir()) == []
    tree.put("input/config/hyperparameters.json", {})
    assert write(tree, "x", training=False) == ""
    assert tree.failure == "x"


# Places that do not take it.


@pytest.fixture
def small(tree: Tree) -> Iterator[Tree]:
    """A tree on a file system of its own, of one page; it needs root."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(tree.base)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted: {mounted.stderr.decode().strip()}")
    yield tree
    subprocess.run(["umount", "--lazy", str(tree.base)], check=True)


def test_a_full_disk_is_no_error_but_is_said(small: Tree) -> None:
    small.put("output/data", b"x" * 4096)
    assert write(small, "no space left") == f"{small.base}/output/failure: no space left on device"


def test_a_read_only_file_system_is_no_error_but_is_said(small: Tree) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small.base)], check=True)
    assert write(small, "x") == f"{small.base}/output/failure: read-only file system"


def test_a_file_system_that_does_not_answer_is_not_waited_for(tree: Tree, tmp_path: Path) -> None:
    """The open of the file waits for whoever watches the directory (fanotify(7)), who does not answer."""
    (tree.base / "output").mkdir()
    with unanswering(tree.base / "output"):
        began = time.monotonic()
        assert write(tree, "x", within=0.2) == "the file system has not answered for 0.2 s"
        assert 0.2 <= time.monotonic() - began < 5


def test_a_reason_with_nul_is_no_error(tree: Tree) -> None:
    assert write(tree, "a\0b") == ""
