"""What every test of the copy hook may use: `copy`, which runs one, an empty directory, and many files."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smentry.copy import staging
from tests.copy.copying import MEMORY, Copier, many

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """So many files that several processes copy them."""
    directory = Path(tempfile.mkdtemp(prefix="crowd-", dir=MEMORY))
    directory.chmod(0o755)
    yield many(directory / "source", 3000)
    shutil.rmtree(directory)
