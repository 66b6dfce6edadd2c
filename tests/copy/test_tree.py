"""What becomes of links and of what is no file, and the processes that copy many files."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from tests.copy.copying import UID, Copier, names, needs_root, picture, texts, tree


@needs_root
def test_an_ordinary_user_copies_directories_without_write_permission(copy: Copier, here: Path) -> None:
    tree(here / "source")
    (here / "source/sub").chmod(0o555)
    (here / "source").chmod(0o555)
    (here / "mine").mkdir()
    os.chown(here / "mine", UID, UID)
    for _ in range(2):
        assert copy(here / "mine/to", here / "source", uid=UID).warnings == []
        assert texts(here / "mine/to") == texts(here / "source")
        assert stat.S_IMODE((here / "mine/to").stat().st_mode) == 0o555
        assert names(here / "mine") == ["to"]


def test_an_absolute_link_into_the_tree_leads_into_the_copy(copy: Copier, here: Path) -> None:
    tree(here / "source")
    (here / "source/sub/latest").symlink_to(here / "source/file0")
    assert copy(here / "to", here / "source").error is None
    assert os.readlink(here / "to/sub/latest") == "../file0"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("link", "/etc/passwd"),
        ("link", "../outside"),
        ("link", "../source/file0"),
        ("sub/link", "../../outside"),
        ("sub/link", "deep/../../../outside"),
        ("link", "inner/../../.."),
        ("link", ".."),
    ],
)
def test_a_link_that_leads_out_is_refused(copy: Copier, here: Path, name: str, text: str) -> None:
    (tree(here / "source") / "inner").symlink_to("sub")
    tree(here / "to", "old")
    (here / "source" / name).symlink_to(text)
    answer = copy(here / "to", here / "source")
    assert answer.error == f"the link {here}/source/{name} leads out of what is copied, to {text}"
    assert set(texts(here / "to").values()) == {"old"}
    assert names(here) == ["source", "to"]


def test_special_files_are_left_out_with_a_warning(copy: Copier, here: Path) -> None:
    tree(here / "source")
    os.mkfifo(here / "source/sub/fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(here / "source/socket"))
        answer = copy(here / "to", here / "source")
    assert texts(here / "to") == texts(here / "source")
    assert names(here / "to") == ["file0", "file1", "sub"]
    (warning,) = answer.warnings
    assert "sub/fifo" in warning
    assert "socket" in warning
    assert copy(here / "to", here / "source/sub/fifo").error == (
        f"{here}/source/sub/fifo is neither a file nor a directory"
    )


def test_many_files_are_all_copied(copy: Copier, here: Path, crowd: Path) -> None:
    assert copy(here / "to", crowd).error is None
    assert picture(here / "to") == picture(crowd)


def test_the_death_of_one_process_fails_the_copy(copy: Copier, here: Path, crowd: Path) -> None:
    tree(here / "to", "old")
    assert copy(here / "to", crowd, kill_child=True).error == (
        f"{crowd} was not copied: one of its processes died of SIGKILL"
    )
    assert set(texts(here / "to").values()) == {"old"}
    assert names(here) == ["to"]


@needs_root
def test_without_a_second_process_one_copies_alone(copy: Copier, here: Path, crowd: Path) -> None:
    (here / "mine").mkdir()
    os.chown(here / "mine", UID, UID)
    assert copy(here / "mine/to", crowd, uid=UID, processes=1).error is None
    assert len(texts(here / "mine/to")) == 3000
