"""Kills processes in the middle of `save_checkpoint`, and looks whether the latest checkpoint is whole.

`killed.py moments COUNT DIRECTORY`: COUNT times at a random moment, while it saves again and again.
`killed.py calls DIRECTORY`: once before each call to the kernel that a save makes.
It forks itself, so it is a process of its own and has no threads. Prints what was wrong; then what was done, as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import select
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING

from smentry.training import latest_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from types import FrameType

KEEP = 2


def write_file(path: str) -> None:
    data = os.urandom(random.choice((10, 4096, 300_000)))
    with open(path, "wb") as file:
        file.write(hashlib.sha256(data).digest())
        for start in range(0, len(data), 65536):
            file.write(data[start : start + 65536])


def write(path: str) -> None:
    """A file, or a directory of some."""
    if random.random() < 0.5:
        write_file(path)
        return
    os.makedirs(os.path.join(path, "layers"))
    for name in ("weights", "layers/0", "layers/1"):
        write_file(os.path.join(path, name))


def write_small(path: str) -> None:
    os.makedirs(os.path.join(path, "layers"))
    for name in ("weights", "layers/0", "layers/1"):
        with open(os.path.join(path, name), "wb") as file:
            file.write(hashlib.sha256(b"layer").digest())
            file.write(b"layer")


def load(path: str) -> None:
    """Read a checkpoint; raises where it is not what was written."""
    names = ("weights", "layers/0", "layers/1") if os.path.isdir(path) else ("",)
    for name in names:
        with open(os.path.join(path, name).rstrip("/"), "rb") as file:
            digest, data = file.read(32), file.read()
        if hashlib.sha256(data).digest() != digest:
            raise ValueError(f"{path}/{name} is torn")


def number(path: str) -> int:
    return int(os.path.basename(os.path.dirname(path)).split("-")[1])


def look(directory: str, least: int) -> None:
    """Load the latest, which is `least` or a later one."""
    latest = latest_checkpoint(directory)
    if latest is None:
        if least:
            raise ValueError(f"nothing is there, though {least} was saved")
        return
    load(latest)
    if number(latest) < least:
        raise ValueError(f"the latest is {latest}, though {least} was saved")


def unfinished(directory: str) -> list[str]:
    return [name for name in os.listdir(directory) if name.startswith(".")]


def moments(count: int, directory: str) -> None:
    saved = found = 0
    for each in range(count):
        random.seed(each)
        patience = random.uniform(0, 0.03)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                while True:
                    path = save_checkpoint(directory, write, keep=KEEP)
                    os.write(writing, b"%d\n" % number(path))
            finally:
                os._exit(1)
        os.close(writing)
        if each % 2:  # from the first answer on: in the middle of the second save or of what follows
            select.select([reading], [], [], 30)
        time.sleep(patience)
        os.kill(pid, signal.SIGKILL)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != -signal.SIGKILL:
            raise ValueError("a save failed before it was killed")
        said = b""
        while part := os.read(reading, 65536):
            said += part
        os.close(reading)
        saved = max([saved, *map(int, said.split())])
        found += bool(unfinished(directory))
        look(directory, saved)
    save_checkpoint(directory, write, keep=KEEP)
    look(directory, saved + 1)
    print(json.dumps({"kills": count, "saved": saved, "found": found, "left": sorted(os.listdir(directory))}))


class Killer:
    """Kills this process before its call to the kernel number `count`, as far as Python shows them."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __call__(self, _frame: FrameType, event: str, called: object) -> None:
        if event != "c_call":
            return
        module, name = getattr(called, "__module__", None), getattr(called, "__name__", "")
        if module in ("posix", "fcntl", "_io", "io") or name in ("write", "flush", "close"):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def calls(directory: str) -> None:
    kills = 0
    ended = False
    while not ended:
        for _ in range(2):  # whatever the kill has left, this is where the next one begins
            saved = number(save_checkpoint(directory, write_small, keep=KEEP))
        if sorted(os.listdir(directory)) != [f"save-{saved - 1:08}", f"save-{saved:08}"]:
            raise ValueError(f"after kill {kills} there is {os.listdir(directory)}")
        pid = os.fork()
        if pid == 0:
            try:
                sys.setprofile(Killer(kills + 1))
                save_checkpoint(directory, write_small, keep=KEEP)
                sys.setprofile(None)
                os._exit(0)
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code not in (0, -signal.SIGKILL):
            raise ValueError(f"a save that was to be killed at call {kills + 1} ended with {code}")
        ended = code == 0
        kills += not ended
        look(directory, saved)
    print(json.dumps({"kills": kills, "saved": saved}))


if __name__ == "__main__":
    import fcntl  # noqa: F401  # what a save imports when it begins is imported here once
    import warnings  # noqa: F401

    shutil.rmtree(sys.argv[-1], ignore_errors=True)
    if sys.argv[1] == "moments":
        moments(int(sys.argv[2]), sys.argv[3])
    else:
        calls(sys.argv[2])
