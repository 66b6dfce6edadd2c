"""Code to be fetched, and `smentry train` told to fetch it. It knows what the program prints, and no expectations of a test."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

from container import PYTHON, SHELL

if TYPE_CHECKING:
    from pathlib import Path

    from container import Result, Tree

DIRECTORY = "SAGEMAKER_SUBMIT_DIRECTORY"
SOURCES = {"train.py": PYTHON, "lib/__init__.py": "", "run.sh": SHELL}


def archive(path: Path, sources: dict[str, str], mode: str = "w:gz") -> Path:
    """A tar archive of these files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, content in sources.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content.encode()), 0o644
            tar.addfile(member, io.BytesIO(content.encode()))
    return path


def directory(path: Path, sources: dict[str, str]) -> Path:
    """A directory with these files."""
    for name, content in sources.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content)
    return path


def train(tree: Tree, source: object, program: str | None = "train.py", **variables: str) -> Result:
    """`smentry train x`, with the code from `source`."""
    named = {} if program is None else {"SAGEMAKER_PROGRAM": program}
    return tree.run("train", "x", **{DIRECTORY: str(source), **named, **variables})


def ran(result: Result, tree: Tree, name: str = "train.py") -> bool:
    """Whether the fetched program ran, in the code directory, and nothing else is left beside it."""
    assert result.out == f"ran {tree.base}/code/{name} in {tree.base}/code with 1: x\n", result.err
    assert result.code == 0
    assert not [entry for entry in os.listdir(tree.base) + os.listdir(tree.base / "code") if entry.startswith(".")]
    return True
