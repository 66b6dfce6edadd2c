"""That the copy of a file is exact, or none is made, with real files."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

import pytest

from tests.copy.copying import (
    COPY_FILE_RANGE,
    SYNCFS,
    UID,
    Copier,
    growing,
    meanwhile,
    names,
    needs_root,
    picture,
    rich,
    texts,
    tree,
)


def test_a_file_that_is_still_being_written_is_an_error(copy: Copier, here: Path) -> None:
    tree(here / "source")
    (here / "source/growing").write_bytes(bytes(200_000_000))  # long enough that the writer has its turn meanwhile
    tree(here / "to", "old")
    with meanwhile(growing(here / "source/growing")):
        answer = copy(here / "to", here / "source")
    assert answer.error == f"{here}/source/growing is still being written: it changed each time in 3 tries"
    assert set(texts(here / "to").values()) == {"old"}
    assert names(here) == ["source", "to"]


def test_everything_is_kept(copy: Copier, here: Path) -> None:
    rich(here / "source")
    assert copy(here / "to", here / "source").error is None
    assert picture(here / "to") == picture(here / "source")


def test_everything_is_kept_on_another_file_system(copy: Copier, here: Path, tmp_path: Path) -> None:
    rich(here / "source")
    assert copy(tmp_path / "to", here / "source").error is None
    assert picture(tmp_path / "to") == picture(here / "source")


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EXDEV, errno.EPERM])
def test_everything_is_kept_where_the_kernel_does_not_copy(copy: Copier, here: Path, error: int) -> None:
    rich(here / "source")
    assert copy(here / "to", here / "source", refuse={COPY_FILE_RANGE: error, SYNCFS: errno.ENOSYS}).error is None
    assert picture(here / "to") == picture(here / "source")


@needs_root
def test_owners_are_kept_by_root(copy: Copier, here: Path) -> None:
    rich(here / "source")
    os.chown(here / "source/file1", 1, 2)
    (here / "source/file1").chmod(0o6711)
    os.chown(here / "source/sub", 3, 4)
    os.chown(here / "source/link", 5, 6, follow_symlinks=False)
    assert copy(here / "to", here / "source").error is None
    assert picture(here / "to") == picture(here / "source")


@needs_root
def test_another_users_setuid_bit_is_not_taken_over(copy: Copier, here: Path) -> None:
    (here / "file").touch()
    (here / "file").chmod(0o6755)
    (here / "mine").mkdir()
    os.chown(here / "mine", UID, UID)
    assert copy(here / "mine/file", here / "file", uid=UID).error is None
    status = (here / "mine/file").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (UID, 0o755)


def test_holes_stay_holes(copy: Copier, here: Path) -> None:
    with open(here / "sparse", "wb") as file:
        for at in (0, 10_000_000, 30_000_000):
            file.seek(at)
            file.write(b"data" * 20_000)
        file.truncate(50_000_000)
    assert copy(here / "to", here / "sparse").error is None
    assert (here / "to").read_bytes() == (here / "sparse").read_bytes()
    assert (here / "to").stat().st_blocks * 512 < 1_000_000


def test_a_small_file_that_changed_is_copied_from_its_beginning(copy: Copier, here: Path) -> None:
    (here / "source").mkdir()
    files = [os.open(here / f"source/{number}", os.O_WRONLY | os.O_CREAT) for number in range(100)]
    for file in files:
        os.write(file, b"H" * 60_000)

    def write() -> None:
        for file in files:
            os.pwrite(file, b"A" * 10, 5)
        time.sleep(0.003)  # what it takes to train a step

    copies = 0
    with meanwhile(write):
        for _ in range(30):
            if copy(here / "to", here / "source").error is None:
                copies += 1
                for path in (here / "to").iterdir():
                    assert path.read_bytes().replace(b"A", b"H") == b"H" * 60_000
    for file in files:
        os.close(file)
    assert copies
