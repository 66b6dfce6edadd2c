"""Checkpoints that prove themselves whole, as tests/programs/careless.py writes them. It knows no container."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class TornError(Exception):
    """What is in a directory is not one whole checkpoint."""


def step(directory: Path) -> int:
    """The step of the checkpoint in a directory. Raises TornError where that is not one whole one and nothing else."""
    files = [path for path in directory.rglob("*") if not path.is_dir() and path.name != "done"]
    heads = []
    for path in files:
        head, _, data = path.read_bytes().partition(b"\n")
        try:
            found = json.loads(head)
        except ValueError:
            raise TornError(f"{path} has no head") from None
        if hashlib.sha256(data).hexdigest() != found["digest"]:
            raise TornError(f"{path} is torn")
        heads.append((found["step"], found["files"]))
    if len(set(heads)) != 1:
        raise TornError(f"{directory} holds {len(files)} files, of {sorted(set(heads))}")
    if len(files) != heads[0][1]:
        raise TornError(f"{directory} holds {len(files)} files of {heads[0][1]}: {sorted(os.listdir(directory))[:10]}")
    return int(heads[0][0])


def is_whole(directory: Path) -> bool:
    """Whether a directory holds one whole checkpoint."""
    try:
        step(directory)
    except TornError:
        return False
    return True


def write(directory: Path, number: int, files: int, size: int) -> None:
    """Write the checkpoint of step `number`: so many files of `size` bytes each, each with other contents."""
    directory.mkdir(parents=True, exist_ok=True)
    for index in range(files):
        data = os.urandom(16) * (size // 16)
        head = {"step": number, "files": files, "digest": hashlib.sha256(data).hexdigest(), "index": index}
        (directory / f"shard-{index}").write_bytes(json.dumps(head).encode() + b"\n" + data)


def last_change(directory: Path) -> float:
    """The newest time of modification in a directory, Unix time."""
    return max(path.stat().st_mtime for path in (directory, *directory.rglob("*")))
