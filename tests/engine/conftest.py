"""What every test on a container engine may use: `engine`, which starts containers of the test image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .containers import Engine, base_image, prepare, why_no_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
LONGEST = (
    "test_torchrun.py",
    "test_stop.py",
    "test_ctl_run.py",
    "test_examples.py",
    "test_stop_page.py",
    "test_mpirun.py",
    "test_hooks.py",
    "test_ctl_serve.py",
)
"""Files that take longest go first: begun as the last, one would keep a single worker busy when the others are through."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.engine)
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    is_long = HERE in item.path.parents and item.path.name in LONGEST
    return LONGEST.index(item.path.name) if is_long else len(LONGEST)


@pytest.fixture(scope="session")
def base() -> str:
    """The base image. Skips where no engine answers, or fails there with $SMENTRY_REQUIRE_ENGINE."""
    reason = why_no_engine()
    if reason and os.environ.get("SMENTRY_REQUIRE_ENGINE"):
        pytest.fail(f"SMENTRY_REQUIRE_ENGINE is set, and {reason}")
    if reason:
        pytest.skip(reason)
    return base_image()


@pytest.fixture(scope="session")
def image(base: str) -> str:
    """The image for the tests."""
    return prepare(base)


@pytest.fixture
def engine(image: str, tmp_path: Path) -> Iterator[Engine]:
    """Start containers; they are removed at the end of the test."""
    engine = Engine(image, tmp_path)
    yield engine
    engine.close()
