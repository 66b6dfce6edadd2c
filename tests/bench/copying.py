"""How long a copy hook takes, in turns with `cp -a` of the same tree on the same file system."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from .contenders import ENVIRONMENT
from .results import Row, Samples, ratio_row

CP = "cp -a"
HOOK = """
import sys
from smentry import copy
from smentry.copy import staging
from smentry.pid1.hooks import Copy
if sys.argv[3] != "synced":
    staging.Staging.sync = lambda self: None
copy.run(Copy(sys.argv[2], source=sys.argv[1]), ended=None, deadline=float("inf"), say=lambda text: None)
"""


def measure(python: Path, scratch: Path, files: int, size: int, rounds: int) -> list[Row]:
    """Many small files and a large one (`size` bytes), until all is copied, and until all is on disk as well.

    The hook always syncs; `cp` gets `sync -f` for the comparison, the hook goes without for the other one.
    """
    sources = {
        f"copy of {files:,} files": small(scratch / "small", files),
        f"copy of a file of {size / 1e9:.1f} GB": large(scratch / "large", size),
    }
    rows = []
    for what, source in sources.items():
        for how in ("written", "synced"):
            samples = Samples()
            for number in range(rounds):
                for name in ("smentry", CP):
                    target = scratch / "copies" / how / name / str(number)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    samples.add(name, seconds(name, python, source, target, how))
                    if source.name == "large":
                        subprocess.run(["rm", "-r", str(target)], check=True)
            rows.append(ratio_row(f"{what}, {how}", "s", ".2f", samples, to=CP, at_most=1.2))
        # Not before: ext4 looks for a free inode behind each that was freed in the last half minute, and that is all
        # that would be measured then.
        subprocess.run(["rm", "-r", str(scratch / "copies")], check=True)
    return rows


def seconds(name: str, python: Path, source: Path, target: Path, how: str) -> float:
    """Seconds of one copy to a target that does not exist, with nothing left to write of the last one."""
    os.sync()
    if name == CP:
        commands = [["cp", "-a", str(source), str(target)]]
        if how == "synced":
            commands.append(["sync", "-f", str(target)])
    else:
        commands = [[str(python), "-c", HOOK, str(source), str(target), how]]
    started = time.monotonic()
    for command in commands:
        subprocess.run(command, env=ENVIRONMENT, check=True)
    return time.monotonic() - started


def small(at: Path, files: int) -> Path:
    """Files of 0 to 4 kB, a thousand to a directory."""
    at.mkdir()
    for number in range(files):
        directory = at / str(number // 1000)
        if number % 1000 == 0:
            directory.mkdir()
        (directory / f"file{number}").write_bytes(b"x" * (number % 1000 * 4))
    return at


def large(at: Path, size: int) -> Path:
    """A directory with one file."""
    at.mkdir()
    block = os.urandom(1 << 20)
    with open(at / "weights", "wb") as file:
        for _ in range(size >> 20):
            file.write(block)
    return at
