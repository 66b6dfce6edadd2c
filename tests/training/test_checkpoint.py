"""Checkpoints are whole or not there, whatever happens to who saves them."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from running import surroundings

from smentry.training import checkpoints, latest_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KILLED = Path(__file__).with_name("killed.py")


def text(content: str) -> Callable[[str], object]:
    """What writes a file with this content."""
    return lambda path: Path(path).write_text(content, encoding="utf-8")


def tree(path: str) -> None:
    (Path(path) / "layers").mkdir(parents=True)
    (Path(path) / "config.json").write_text("{}", encoding="utf-8")
    (Path(path) / "layers" / "0.bin").write_bytes(b"0" * 1000)


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def run(program: str, *arguments: object, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, "-c", program, *map(str, arguments)],
        env=surroundings(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# -- what is saved is found ------------------------------------------------------------------------


def test_a_file(tmp_path: Path) -> None:
    saved = save_checkpoint(tmp_path / "new" / "checkpoints", text("weights"))
    assert latest_checkpoint(tmp_path / "new" / "checkpoints") == saved
    assert Path(saved).read_text() == "weights"
    assert saved == str(tmp_path / "new" / "checkpoints" / "save-00000001" / "checkpoint")


def test_a_directory(tmp_path: Path) -> None:
    saved = save_checkpoint(str(tmp_path), tree, step=3400, name="model")
    assert latest_checkpoint(str(tmp_path)) == saved == str(tmp_path / "save-00000001-step-3400" / "model")
    assert names(Path(saved)) == ["config.json", "layers"]
    manifest = json.loads((Path(saved).parent / "complete.json").read_text())
    assert manifest == {
        "name": "model",
        "step": 3400,
        "files": {"model/config.json": 2, "model/layers/0.bin": 1000},
    }


def test_nothing_is_found_where_nothing_was_saved(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "missing") is None
    assert latest_checkpoint(tmp_path) is None
    (tmp_path / "checkpoint-500").mkdir()
    (tmp_path / "save-00000007").mkdir()
    (tmp_path / "save-latest").write_text("of the user's own")
    assert latest_checkpoint(tmp_path) is None


def test_it_is_new_at_its_path_while_it_is_written(tmp_path: Path) -> None:
    def write(path: str) -> None:
        assert not os.path.lexists(path)
        assert os.path.basename(path) == "model.keras"
        assert os.path.dirname(os.path.dirname(path)) == str(tmp_path)
        assert latest_checkpoint(tmp_path) is None
        text("weights")(path)

    save_checkpoint(tmp_path, write, name="model.keras")


def test_it_has_the_modes_that_the_umask_gives(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        saved = save_checkpoint(tmp_path, tree)
    finally:
        os.umask(old)
    assert Path(saved).parent.stat().st_mode & 0o777 == 0o750


def test_a_relative_directory_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def write(path: str) -> None:
        monkeypatch.chdir("/")
        text("weights")(path)

    saved = save_checkpoint("checkpoints", write)
    assert saved == latest_checkpoint(tmp_path / "checkpoints")


def test_the_last_one_saved_is_the_latest_whatever_its_step(tmp_path: Path) -> None:
    for step in (1000, 10, 10, None):
        saved = save_checkpoint(tmp_path, text(f"step {step}"), step=step, keep=None)
        assert latest_checkpoint(tmp_path) == saved
    assert names(tmp_path) == [
        "save-00000001-step-1000", "save-00000002-step-10", "save-00000003-step-10", "save-00000004",
    ]  # fmt: skip


def test_all_that_are_complete_are_listed_with_their_steps(tmp_path: Path) -> None:
    saved = [(save_checkpoint(tmp_path, text("."), step=step, keep=None), step) for step in (20, None, 0, 20)]
    assert checkpoints(tmp_path) == saved
    assert checkpoints(tmp_path)[-1][0] == latest_checkpoint(tmp_path)
    (tmp_path / "save-00000003-step-0" / "checkpoint").write_text("torn")
    assert checkpoints(tmp_path) == [saved[0], saved[1], saved[3]]
    assert checkpoints(tmp_path / "none") == []


def test_numbers_go_on_above_eight_digits(tmp_path: Path) -> None:
    for old in ("save-99999998", "save-99999999"):
        shutil.move(os.path.dirname(save_checkpoint(tmp_path / "x", text(old))), tmp_path / old)
    save_checkpoint(tmp_path, text("newest"), keep=2)
    assert Path(latest_checkpoint(tmp_path) or "").read_text() == "newest"
    assert names(tmp_path) == ["save-100000000", "save-99999999", "x"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keep": 0}, "keep is 0: expected 1 or more"),
        ({"step": -1}, "step is -1"),
        ({"name": "a/b"}, "name is 'a/b'"),
        ({"name": ".."}, "name is"),
        ({"name": ""}, "name is"),
        ({"name": "complete.json"}, "not complete.json"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        save_checkpoint(tmp_path / "new", text("weights"), **given)
    assert names(tmp_path) == []


# -- what is kept ----------------------------------------------------------------------------------


def test_the_last_ones_are_kept(tmp_path: Path) -> None:
    for each in range(5):
        save_checkpoint(tmp_path, text(str(each)), keep=2)
    assert names(tmp_path) == ["save-00000004", "save-00000005"]
    save_checkpoint(tmp_path, text("5"), keep=1)
    assert names(tmp_path) == ["save-00000006"]


def test_old_ones_are_there_while_the_new_one_is_written(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, text("old"), keep=1)

    def write(path: str) -> None:
        assert Path(latest_checkpoint(tmp_path) or "").read_text() == "old"
        text("new")(path)

    save_checkpoint(tmp_path, write, keep=1)
    assert names(tmp_path) == ["save-00000002"]


def test_incomplete_ones_do_not_count_among_those_kept(tmp_path: Path) -> None:
    for each in range(3):
        save_checkpoint(tmp_path, text(str(each)), keep=None)
    (tmp_path / "save-00000003" / "checkpoint").write_text("")
    save_checkpoint(tmp_path, text("3"), keep=2)
    assert names(tmp_path) == ["save-00000002", "save-00000003", "save-00000004"]
    save_checkpoint(tmp_path, text("4"), keep=2)
    assert names(tmp_path) == ["save-00000004", "save-00000005"]


def test_what_is_somebody_elses_stays(tmp_path: Path) -> None:
    others = ["save-1", "save-00000001-epoch-2", "save-00000001-step", ".save-mine", ".save-0123456789", "checkpoint-5"]
    for name in others:
        (tmp_path / name).mkdir()
    for each in range(3):
        save_checkpoint(tmp_path, text(str(each)), keep=1)
    assert names(tmp_path) == sorted([*others, "save-00000003"])


def test_one_that_cannot_be_removed_is_a_warning(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, text("old"), keep=1)
    (tmp_path / "save-00000001" / "complete.json").unlink()
    (tmp_path / "save-00000001" / "complete.json").symlink_to("complete.json")
    save_checkpoint(tmp_path, text("new"), keep=1)  # one in which nothing can be read is older: it goes unread
    (tmp_path / "save-00000002" / "complete.json").unlink()
    (tmp_path / "save-00000002" / "complete.json").symlink_to("complete.json")
    with pytest.warns(RuntimeWarning, match="an old checkpoint was not removed") as caught:
        saved = save_checkpoint(tmp_path, text("newest"), keep=2)
    assert caught[0].filename == __file__
    assert Path(saved).read_text() == "newest"


# -- what goes wrong while one is written ----------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_what_write_raises_is_passed_on_and_nothing_is_left(error: BaseException, tmp_path: Path) -> None:
    def write(path: str) -> None:
        tree(path)
        raise error

    old = save_checkpoint(tmp_path, text("old"), keep=1)
    with pytest.raises(type(error)) as caught:
        save_checkpoint(tmp_path, write, keep=1)
    assert caught.value is error
    assert names(tmp_path) == ["save-00000001"]
    assert latest_checkpoint(tmp_path) == old


def test_a_write_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has written nothing at its path"):
        save_checkpoint(tmp_path, lambda path: None)
    assert names(tmp_path) == []


def test_a_full_disk_leaves_the_old_one(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("no mount without root")
    program = """
import os, subprocess, sys
from smentry.training import checkpoints, latest_checkpoint, save_checkpoint
directory = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", directory], check=True)
def write(size):
    def act(path):
        with open(path, "wb") as file:
            file.write(b"x" * size)
    return act
save_checkpoint(directory, write(100_000), keep=1)
try:
    save_checkpoint(directory, write(300_000), keep=1)
except OSError as error:
    print(error.errno, os.listdir(directory), os.stat(latest_checkpoint(directory)).st_size)
print(os.path.basename(os.path.dirname(save_checkpoint(directory, write(100_000), keep=1))))
"""
    ran = run(program, tmp_path, before=("unshare", "-m"))
    assert ran.stdout == f"{errno.ENOSPC} ['save-00000001'] 100000\nsave-00000002\n", ran.stderr


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    saved = save_checkpoint(tmp_path, text("old"))
    program = """
import os, sys
import json, shutil
from smentry.training import checkpoints, latest_checkpoint, save_checkpoint
os.chmod(sys.argv[1], 0o555)
for parent in sys.argv[2:]:
    os.chmod(parent, 0o755)
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    save_checkpoint(sys.argv[1], lambda path: print("written"))
except PermissionError as error:
    print("refused")
print(latest_checkpoint(sys.argv[1]))
"""
    ran = run(program, tmp_path, tmp_path.parent, tmp_path.parent.parent, tmp_path.parent.parent.parent)
    assert ran.stdout == f"refused\n{saved}\n", ran.stderr


def test_a_file_where_the_directory_should_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(FileExistsError):
        save_checkpoint(tmp_path / "checkpoints", text("weights"))
    with pytest.raises(NotADirectoryError):
        latest_checkpoint(tmp_path / "checkpoints")


# -- what comes back incomplete --------------------------------------------------------------------


def cut(saved: Path) -> None:
    (saved / "model" / "layers" / "0.bin").write_bytes(b"0" * 999)


def lose_a_file(saved: Path) -> None:
    (saved / "model" / "layers" / "0.bin").unlink()


def lose_the_manifest(saved: Path) -> None:
    (saved / "complete.json").unlink()


def tear_the_manifest(saved: Path) -> None:
    (saved / "complete.json").write_text((saved / "complete.json").read_text()[:-5])


def another_manifest(saved: Path) -> None:
    (saved / "complete.json").write_text("[1, 2]")


def lose_everything_else(saved: Path) -> None:
    shutil.rmtree(saved / "model")


@pytest.mark.parametrize(
    "harm", [cut, lose_a_file, lose_the_manifest, tear_the_manifest, another_manifest, lose_everything_else]
)
def test_one_of_which_something_is_missing_is_passed_over(harm: Callable[[Path], None], tmp_path: Path) -> None:
    """As after an upload that was interrupted: S3 has some of the files, each of them whole."""
    old = save_checkpoint(tmp_path, tree, name="model")
    new = save_checkpoint(tmp_path, tree, name="model")
    harm(Path(new).parent)
    assert latest_checkpoint(tmp_path) == old
    assert save_checkpoint(tmp_path, tree, name="model") == str(tmp_path / "save-00000003" / "model")


def test_one_that_may_not_be_read_is_an_error_and_not_a_new_beginning(tmp_path: Path) -> None:
    manifest = Path(save_checkpoint(tmp_path, text("weights"))).parent / "complete.json"
    manifest.unlink()
    manifest.symlink_to(manifest.name)
    with pytest.raises(OSError, match="symbolic links") as caught:
        latest_checkpoint(tmp_path)
    assert caught.value.errno == errno.ELOOP


# -- several at once -------------------------------------------------------------------------------


def test_several_at_once_are_checkpoints_of_their_own(tmp_path: Path) -> None:
    saved: list[str] = []
    barrier = threading.Barrier(4)

    def act(content: str) -> None:
        def write(path: str) -> None:
            barrier.wait(20)
            text(content)(path)

        saved.extend([save_checkpoint(tmp_path, write, keep=None) for _ in range(4)])

    threads = [threading.Thread(target=act, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(saved)) == 16
    assert sorted(Path(path).read_text() for path in saved) == sorted("0123" * 4)
    assert names(tmp_path) == [f"save-{number:08}" for number in range(1, 17)]


def test_a_save_removes_what_was_left_and_not_what_is_being_written(tmp_path: Path) -> None:
    left = tmp_path / ".save-00c0ffee"
    tree(str(left))

    def write(path: str) -> None:
        assert not left.exists()
        save_checkpoint(tmp_path, text("inner"))
        text("outer")(path)

    save_checkpoint(tmp_path, write)
    assert names(tmp_path) == ["save-00000001", "save-00000002"]
    assert Path(latest_checkpoint(tmp_path) or "").read_text() == "outer"


def test_a_reader_always_finds_one_while_others_come_and_go(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, text("first"), keep=1)
    program = """
import sys
from smentry.training import save_checkpoint
def write(path):
    with open(path, "w") as file:
        file.write("next")
for _ in range(60):
    save_checkpoint(sys.argv[1], write, keep=1)
"""
    process = subprocess.Popen([sys.executable, "-c", program, tmp_path], env=surroundings())
    looks = 0
    while process.poll() is None or looks == 0:
        assert latest_checkpoint(tmp_path) is not None
        looks += 1
    assert process.wait(30) == 0


# -- killed ----------------------------------------------------------------------------------------


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: a killed process leaves the same there, and hundreds of syncs take no time."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path) as directory:
        yield Path(directory)


def killed(*arguments: object) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, KILLED, *map(str, arguments)],
        env=surroundings(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def is_clear(left: list[str]) -> bool:
    return 1 <= len(left) <= 2 and all(name.startswith("save-") for name in left)


def test_killed_before_any_call_it_makes_the_latest_one_loads(memory: Path) -> None:
    """And the next save removes what is left, wherever it was killed."""
    assert killed("calls", memory / "checkpoints")["kills"] > 30


@pytest.mark.parametrize("count", [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_killed_at_random_moments_the_latest_one_loads(count: int, memory: Path) -> None:
    found = killed("moments", count, memory / "checkpoints")
    assert found["kills"] == count
    assert found["found"] > count / 20  # so many kills came in the middle of writing or of removing
    assert is_clear(found["left"])
