"""The copy hook with real files: what is chosen, that the copy is exact, and that the target is whole whatever happens."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import random
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from running import program, surroundings

from smentry.copy import staging
from smentry.copy.choose import Match, newest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
UID = 12345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to mount, and to become another user")
X86 = os.uname().machine == "x86_64" and ctypes.sizeof(ctypes.c_void_p) == 8
RENAMEAT2, COPY_FILE_RANGE, SYNCFS = ("316", "326", "306") if X86 else ("276", "285", "267")


class Answer:
    """How a copy went: `error` is None where it was done."""

    def __init__(self, facts: dict[str, Any]) -> None:
        assert facts.get("kind") != "defect", facts["error"]
        self.said: list[str] = facts["said"]
        self.error: str | None = facts["error"]
        self.killed: bool = facts["killed"]
        self.seconds: float = facts["seconds"]

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.said if line.startswith("warning")]


class Copier:
    """The process that forks each copy."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            program("copier.py"), env=surroundings(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, to: Path | str, source: Path | str = "", **options: Any) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"to": str(to), "source": str(source), **options}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Answer(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate(timeout=30)


@pytest.fixture(scope="module")
def copy() -> Iterator[Copier]:
    copier = Copier()
    yield copier
    copier.close()


@pytest.fixture
def here() -> Iterator[Path]:
    """An empty directory in memory, where there is one: a sync of the disk waits for everybody's files."""
    path = Path(tempfile.mkdtemp(prefix="copy-", dir=MEMORY))
    path.chmod(0o755)
    yield path
    staging.remove(str(path))


@contextmanager
def mounted(at: Path, *words: str) -> Iterator[Path]:
    at.mkdir(exist_ok=True, parents=True)
    done = subprocess.run(["mount", *words, str(at)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def tree(at: Path, text: str = "new", files: int = 3) -> Path:
    """A directory with files that all hold `text`, one of them in a directory below it."""
    (at / "sub").mkdir(parents=True)
    for number in range(files - 1):
        (at / f"file{number}").write_text(text)
    (at / "sub" / "last").write_text(text)
    return at


def texts(at: Path) -> dict[str, str]:
    """Every file in a directory, with what it holds."""
    return {str(path.relative_to(at)): path.read_text() for path in at.rglob("*") if path.is_file()}


def age(path: Path, seconds: float) -> Path:
    """Let everything in a tree be last changed so long ago."""
    changed = time.time() - seconds
    for each in (*path.rglob("*"), path):
        os.utime(each, (changed, changed), follow_symlinks=False)
    return path


def names(at: Path) -> list[str]:
    return sorted(os.listdir(at))


# -- what is chosen --------------------------------------------------------------------------------


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
    answer = copy(here / "model", newest=str(here / "c/*"))
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
    assert f"taking the newest, {here}/c/b, though it changed 2.0" in answer.warnings[0]


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


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Do something over and over in the background."""
    ended = threading.Event()

    def loop() -> None:
        while not ended.is_set():
            act()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


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


# -- a source that is still being written ----------------------------------------------------------


def growing(path: Path) -> Callable[[], None]:
    def grow() -> None:
        with open(path, "ab", buffering=0) as file:
            file.write(b"x" * 1000)
            if file.tell() > 50_000_000:
                file.truncate(1_000_000)

    return grow


def test_a_file_that_is_still_being_written_is_an_error(copy: Copier, here: Path) -> None:
    tree(here / "source")
    (here / "source/growing").write_bytes(bytes(20_000_000))
    tree(here / "to", "old")
    with meanwhile(growing(here / "source/growing")):
        answer = copy(here / "to", here / "source")
    assert answer.error == f"{here}/source/growing is still being written: it changed each time in 3 tries"
    assert set(texts(here / "to").values()) == {"old"}
    assert names(here) == ["source", "to"]


def test_a_match_that_is_still_being_written_gives_way_to_another(copy: Copier, here: Path) -> None:
    age(tree(here / "c/a", "a"), 60)
    age(tree(here / "c/b", "b"), 30)
    (here / "c/b/growing").write_bytes(bytes(20_000_000))
    with meanwhile(growing(here / "c/b/growing")):
        answer = copy(here / "to", newest=f"{here}/c/*", ended=time.time() + 60)
    assert set(texts(here / "to").values()) == {"a"}
    assert "still being written" in answer.said[0]


# -- what is kept ----------------------------------------------------------------------------------


def picture(at: Path) -> dict[str, tuple[object, ...]]:
    """All that is kept of a tree."""
    seen: dict[str, tuple[object, ...]] = {}
    for path in (at, *sorted(at.rglob("*"))):
        status = path.lstat()
        held: object = None
        if path.is_symlink():
            held = os.readlink(path)
        elif path.is_file():
            held = path.read_bytes()
        seen[str(path.relative_to(at))] = (status.st_mode, status.st_mtime_ns, status.st_uid, status.st_gid, held)
    return seen


def rich(at: Path) -> Path:
    """A tree with one of everything that is kept."""
    tree(at)
    (at / "empty directory").mkdir()
    (at / "empty").touch()
    (at / "large").write_bytes(random.Random(1).randbytes(3_000_001))
    (at / os.fsdecode(b"\xff\n odd")).write_text("name")
    (at / "link").symlink_to("sub/last")
    (at / "sub/up").symlink_to("../file0")
    (at / "dangling").symlink_to("sub/not there")
    (at / "itself").symlink_to(".")
    for mode, name in enumerate(("file0", "file1", "sub/last")):
        (at / name).chmod((0o400, 0o4755, 0o666)[mode])
    (at / "none").touch(0o000)
    (at / "sub").chmod(0o555)
    (at / "empty directory").chmod(0o1777)
    for number, path in enumerate((*at.rglob("*"), at)):
        os.utime(path, ns=(10**18 + number, 10**18 + 123456789 * number), follow_symlinks=False)
    at.chmod(0o750)
    return at


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


def test_holes_stay_holes(copy: Copier, here: Path) -> None:
    with open(here / "sparse", "wb") as file:
        for at in (0, 10_000_000, 30_000_000):
            file.seek(at)
            file.write(b"data" * 20_000)
        file.truncate(50_000_000)
    assert copy(here / "to", here / "sparse").error is None
    assert (here / "to").read_bytes() == (here / "sparse").read_bytes()
    assert (here / "to").stat().st_blocks * 512 < 1_000_000


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


# -- what is replaced ------------------------------------------------------------------------------


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


# -- targets that cannot be exchanged as a whole ---------------------------------------------------


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EINVAL])
def test_without_exchange_the_target_is_replaced_by_renames(copy: Copier, here: Path, error: int) -> None:
    tree(here / "to", "old")
    answer = copy(here / "to", tree(here / "source"), refuse={RENAMEAT2: error})
    assert answer.error is None
    assert texts(here / "to") == texts(here / "source")
    assert names(here) == ["source", "to"]


def test_an_old_target_that_was_renamed_away_is_put_back(copy: Copier, here: Path) -> None:
    tree(here / ".to.smentry-1234", "new")
    tree(here / ".to.smentry-1234-old", "old")
    (tree(here / "source") / "out").symlink_to("/")
    assert copy(here / "to", here / "source").error is not None
    assert set(texts(here / "to").values()) == {"old"}
    assert names(here) == ["source", "to"]


@needs_root
def test_a_mount_point_is_replaced_entry_by_entry(copy: Copier, here: Path) -> None:
    rich(here / "source")
    with mounted(here / "volume", "-t", "tmpfs", "tmpfs") as volume:
        (volume / "lost+found").mkdir()
        (tree(volume / "sub", "old") / "more").touch()
        (volume / "old").touch()
        (volume / "file0").mkdir()
        for refused in ({}, {RENAMEAT2: errno.ENOSYS}):
            assert copy(volume, here / "source", refuse=refused).said[-1].startswith("copied")
            assert names(volume) == sorted(["lost+found", *names(here / "source")])
            expected = {name: facts for name, facts in picture(here / "source").items() if name != "."}
            assert {name: facts for name, facts in picture(volume).items() if name in expected} == expected


@needs_root
def test_a_mount_point_below_the_target_keeps_what_is_in_it(copy: Copier, here: Path) -> None:
    tree(here / "to", "old")
    with mounted(here / "to/sub", "-t", "tmpfs", "tmpfs") as volume:
        (volume / "precious").touch()
        answer = copy(here / "to", tree(here / "source"))
        assert answer.error == f"{here}/to cannot be replaced as a whole: {here}/to/sub in it is a mount point"
        assert names(volume) == ["precious"]


@needs_root
def test_a_user_who_may_write_only_the_target_replaces_its_entries(copy: Copier, here: Path) -> None:
    tree(here / "source")
    (here / "source/sub").chmod(0o555)
    (here / "to").mkdir()
    os.chown(here / "to", UID, UID)
    for _ in range(2):
        answer = copy(here / "to", here / "source", uid=UID)
        assert (answer.error, answer.warnings) == (None, [])
        assert texts(here / "to") == texts(here / "source")
        assert names(here / "to") == names(here / "source")
        assert stat.S_IMODE((here / "to/sub").stat().st_mode) == 0o555


@needs_root
def test_entries_that_cannot_be_replaced_leave_all_as_it_was(copy: Copier, here: Path) -> None:
    tree(here / "source")
    tree(here / "to", "old")
    os.chown(here / "to", UID, UID)
    (here / "to").chmod(0o1777)
    (here / "to/extra").mkdir()
    answer = copy(here / "to", here / "source", uid=UID + 1)
    assert answer.error == f"{here}/to cannot be replaced: operation not permitted"
    assert set(texts(here / "to").values()) == {"old"}
    assert names(here / "to") == ["extra", "file0", "file1", "sub"]


@needs_root
def test_a_directory_of_an_image_is_replaced(copy: Copier, here: Path) -> None:
    tree(here / "source")
    (here / "lower/model").mkdir(parents=True)
    (here / "lower/model/file0").write_text("old")
    tree(here / "lower/deep", "old")
    for name in ("upper", "work"):
        (here / name).mkdir()
    layers = f"lowerdir={here}/lower,upperdir={here}/upper,workdir={here}/work,redirect_dir=off"
    with mounted(here / "image", "-t", "overlay", "overlay", "-o", layers) as image:
        assert copy(image / "model", here / "source").error is None
        assert texts(image / "model") == texts(here / "source")
        assert names(image) == ["deep", "model"]
        assert copy(image / "deep", here / "source").error == (
            f"{image}/deep cannot be replaced: invalid cross-device link, being a directory of the image:"
            " mount a volume there"
        )
        assert set(texts(image / "deep").values()) == {"old"}
        assert names(image) == ["deep", "model"]


# -- what goes wrong -------------------------------------------------------------------------------


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


def many(at: Path, files: int, text: str = "new") -> Path:
    at.mkdir()
    for number in range(files):
        if number % 100 == 0:
            (at / f"d{number}").mkdir()
        (at / f"d{number - number % 100}/{number}").write_text(text)
    return at


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """So many files that several processes copy them."""
    directory = Path(tempfile.mkdtemp(prefix="crowd-", dir=MEMORY))
    directory.chmod(0o755)
    yield many(directory / "source", 3000)
    shutil.rmtree(directory)


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


def test_it_gives_up_before_its_deadline(copy: Copier, here: Path, crowd: Path) -> None:
    tree(here / "to", "old")
    answer = copy(here / "to", crowd, seconds=0.18)
    assert answer.error is not None
    assert f"{crowd} was not copied to {here}/to: out of time after " in answer.error
    assert " files, " in answer.error
    assert set(texts(here / "to").values()) == {"old"}
    assert names(here) == ["to"]


# -- killed at any moment --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["directory", "file", "without exchange"])
def test_killed_at_any_moment_the_target_is_old_or_new(copy: Copier, here: Path, kind: str) -> None:
    versions = {}
    for text in ("one", "two"):
        source = here / text
        if kind == "file":
            source.write_text(text * 1_000_000)
        else:
            many(source, 200, text)
        versions[text] = source

    def content() -> set[str]:
        if kind == "file":
            held = (here / "to").read_text()
            return {text for text in versions if held == text * 1_000_000}
        held_files = texts(here / "to")
        return set(held_files.values()) if len(held_files) == 200 else set()

    refused = {RENAMEAT2: errno.ENOSYS} if kind == "without exchange" else {}
    whole = [copy(here / "to", versions[text], refuse=refused).seconds for text in ("one", "two", "one")]
    killed, now = 0, {"one"}
    chance = random.Random(4)
    for _ in range(40):
        (other,) = set(versions) - now
        killed += copy(here / "to", versions[other], refuse=refused, kill=chance.uniform(0, max(whole))).killed
        if kind == "without exchange" and not (here / "to").exists():
            continue  # between the renames: the old one waits for the next copy
        now = content()
        assert len(now) == 1
    assert killed > 10
    copy(here / "to", versions["one"])
    assert names(here) == ["one", "to", "two"]


def test_the_place_of_a_living_copy_is_left_alone(copy: Copier, here: Path) -> None:
    tree(here / ".to.smentry-living")
    tree(here / ".to.smentry-dead")
    (here / ".to.smentry-file").touch()
    living = os.open(here / ".to.smentry-living", os.O_RDONLY)
    try:
        fcntl.flock(living, fcntl.LOCK_EX)
        copy(here / "to", tree(here / "source"))
        assert names(here) == [".to.smentry-living", "source", "to"]
    finally:
        os.close(living)
