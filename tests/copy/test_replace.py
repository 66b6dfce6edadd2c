"""The copy hook with real files: what it replaces, what it refuses, and that the target is whole when something goes wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.copy.copying import UID, Copier, mounted, names, needs_root, texts, tree


def test_the_target_is_exactly_the_copy_afterwards(copy: Copier, here: Path) -> None:
    tree(here / "source")
    (tree(here / "to", "old") / "more").touch()
    copy(here / "to", here / "source")
    assert texts(here / "to") == texts(here / "source")
    assert names(here) == ["source", "to"]


def test_missing_parents_are_made(copy: Copier, here: Path) -> None:
    copy(here / "a/b/to", tree(here / "source"))
    assert texts(here / "a/b/to") == texts(here / "source")


def test_a_file_goes_into_a_directory_under_its_own_name(copy: Copier, here: Path) -> None:
    (here / "weights.pt").write_text("new")
    (here / "latest.pt").symlink_to("weights.pt")
    (here / "model").mkdir()
    (here / "model/other").touch()
    copy(here / "model", here / "weights.pt")
    copy(f"{here}/made/", here / "latest.pt")
    copy(here / "file", here / "latest.pt")
    assert names(here / "model") == ["other", "weights.pt"]
    assert names(here / "made") == ["latest.pt"]
    assert (here / "file").read_text() == "new"
    (here / "model/weights.pt").unlink()
    (here / "model/weights.pt").mkdir()
    assert "is a directory" in (copy(here / "model", here / "weights.pt").error or "")


def test_a_file_and_a_directory_take_each_others_place(copy: Copier, here: Path) -> None:
    (here / "to").write_text("old")
    copy(here / "to", tree(here / "source"))
    assert texts(here / "to") == texts(here / "source")


def test_what_a_linked_target_leads_to_is_replaced(copy: Copier, here: Path) -> None:
    tree(here / "real", "old")
    (here / "to").symlink_to("real")
    copy(here / "to", tree(here / "source"))
    assert (here / "to").is_symlink()
    assert texts(here / "real") == texts(here / "source")


def test_a_copy_onto_or_into_itself_is_refused(copy: Copier, here: Path) -> None:
    tree(here / "source")
    (here / "link").symlink_to("source/sub")
    for to, source, said in (
        ("source", "source", "onto or into itself"),
        ("source/new/to", "source", "onto or into itself"),
        ("link", "source", "onto or into itself"),
        ("source", "source/sub", "is inside"),
        ("source", "source/file0", "onto or into itself"),
    ):
        assert said in (copy(here / to, here / source).error or "")
    assert "/ cannot be replaced" in (copy("/", "/etc").error or "")
    assert len(texts(here / "source")) == 3


@needs_root
def test_a_copy_into_itself_by_another_name_is_refused(copy: Copier, here: Path) -> None:
    tree(here / "source")
    with mounted(here / "bound", "--bind", str(here / "source")):
        assert "onto or into itself" in (copy(here / "bound", here / "source").error or "")
        assert "onto or into itself" in (copy(here / "bound/x", here / "source").error or "")


@needs_root
@pytest.mark.parametrize("files", [1, 200])
def test_a_full_disk_leaves_the_old_target_whole(copy: Copier, here: Path, files: int) -> None:
    (here / "source").mkdir()
    for number in range(files):
        (here / f"source/{number}").write_bytes(bytes(4_000_000 // files))
    with mounted(here / "disk", "-t", "tmpfs", "-o", "size=2m", "tmpfs") as disk:
        tree(disk / "to", "old")
        answer = copy(disk / "to", here / "source")
        assert answer.error is not None
        assert answer.error.endswith(f" cannot be copied to {disk}/to: no space left on device")
        assert set(texts(disk / "to").values()) == {"old"}
        assert names(disk) == ["to"]
        answer = copy(disk, here / "source")
        assert answer.error is not None
        assert answer.error.endswith("no space left on device")
        assert set(texts(disk / "to").values()) == {"old"}
        assert names(disk) == ["to"]


@needs_root
def test_a_read_only_target_is_an_error(copy: Copier, here: Path) -> None:
    tree(here / "source")
    with mounted(here / "disk", "-t", "tmpfs", "-o", "ro", "tmpfs") as disk:
        for target in (disk, disk / "to"):
            error = copy(target, here / "source").error or ""
            assert error.startswith(f"{here}/source cannot be copied to {target}: ")
            assert error.endswith(": read-only file system")


@needs_root
def test_what_a_user_may_not_do_is_an_error(copy: Copier, here: Path) -> None:
    tree(here / "source")
    (here / "source/file1").chmod(0o600)
    assert (copy(here / "to", here / "source", uid=UID).error or "").endswith(": permission denied")
    (here / "mine").mkdir()
    os.chown(here / "mine", UID, UID)
    error = copy(here / "mine/to", here / "source", uid=UID).error
    assert error == f"{here}/source/file1 cannot be copied to {here}/mine/to: permission denied"
    assert names(here / "mine") == []


def test_a_parent_that_is_a_file_is_an_error(copy: Copier, here: Path) -> None:
    (here / "file").touch()
    assert "file" in (copy(here / "file/to", tree(here / "source")).error or "")


def test_a_device_is_not_replaced(copy: Copier, here: Path) -> None:
    assert "/dev/null is neither" in (copy("/dev/null", tree(here / "source")).error or "")


def test_it_gives_up_before_its_deadline(copy: Copier, here: Path, crowd: Path) -> None:
    tree(here / "to", "old")
    answer = copy(here / "to", crowd, seconds=0.18)
    assert answer.error is not None
    assert f"{crowd} was not copied to {here}/to: out of time after " in answer.error
    assert " files, " in answer.error
    assert set(texts(here / "to").values()) == {"old"}
    assert names(here) == ["to"]
