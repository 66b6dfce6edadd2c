"""What the tests of the copy hook share: a process that runs copies, and trees of files to run them on."""

from __future__ import annotations

import ctypes
import json
import os
import random
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from running import program, surroundings

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


def tree(at: Path, text: str = "new", files: int = 3) -> Path:
    """A directory with files that all hold `text`, one of them in a directory below it."""
    (at / "sub").mkdir(parents=True)
    for number in range(files - 1):
        (at / f"file{number}").write_text(text)
    (at / "sub" / "last").write_text(text)
    return at


def many(at: Path, files: int, text: str = "new") -> Path:
    at.mkdir()
    for number in range(files):
        if number % 100 == 0:
            (at / f"d{number}").mkdir()
        (at / f"d{number - number % 100}/{number}").write_text(text)
    return at


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


def texts(at: Path) -> dict[str, str]:
    """Every file in a directory, with what it holds."""
    return {str(path.relative_to(at)): path.read_text() for path in at.rglob("*") if path.is_file()}


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


def names(at: Path) -> list[str]:
    return sorted(os.listdir(at))


def age(path: Path, seconds: float) -> Path:
    """Let everything in a tree be last changed so long ago."""
    changed = time.time() - seconds
    for each in (*path.rglob("*"), path):
        os.utime(each, (changed, changed), follow_symlinks=False)
    return path


def growing(path: Path) -> Callable[[], None]:
    def grow() -> None:
        with open(path, "ab", buffering=0) as file:
            file.write(b"x" * 1000)
            if file.tell() > 250_000_000:
                file.truncate(200_000_000)

    return grow
