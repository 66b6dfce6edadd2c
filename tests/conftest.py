"""What every test may use: `start`, which runs smentry on a real program, and the mark `together`."""

from __future__ import annotations

import signal
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from running import Starter

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE = 24
"""So many tests marked `together` run at the same time: they wait for processes most of the time, some of them for all of a
stop timeout. (Only a few of them start one at a time: running.py.)"""

# How long an example takes depends on what else the machine does. Where a property deserves more examples, its test says so.
hypothesis.settings.register_profile("smentry", deadline=None, max_examples=50)
hypothesis.settings.load_profile("smentry")

_FUTURES = pytest.StashKey[dict[pytest.Function, Future[None]]]()
_POOL = pytest.StashKey[ThreadPoolExecutor]()


def pytest_configure(config: pytest.Config) -> None:
    # What nohup ignores, or a shell for what it runs with `&`, a program of a test would inherit ignored.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    config.addinivalue_line(
        "markers", "together: runs at the same time as the others of its file; may use `start` and parameters only"
    )
    config.stash[_FUTURES] = {}
    config.stash[_POOL] = ThreadPoolExecutor(AT_ONCE)


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_POOL].shutdown(wait=True, cancel_futures=True)


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """Start smentry on a program; everything is killed at the end of the test."""
    starter = Starter(tmp_path_factory.getbasetemp())
    yield starter
    starter.close()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test marked `together` along with all those of its file, and wait for this one's outcome."""
    if pyfuncitem.get_closest_marker("together") is None:
        return None
    futures = pyfuncitem.config.stash[_FUTURES]
    if pyfuncitem not in futures:
        directory = pyfuncitem._request.getfixturevalue("tmp_path_factory").getbasetemp()
        for item in pyfuncitem.session.items:
            if item.path == pyfuncitem.path and item.get_closest_marker("together") is not None:
                assert isinstance(item, pytest.Function)
                futures[item] = pyfuncitem.config.stash[_POOL].submit(_call, item, directory)
    futures[pyfuncitem].result()
    return True


def _call(item: pytest.Function, directory: Path) -> None:
    parameters = dict(item.callspec.params) if hasattr(item, "callspec") else {}
    starter = Starter(directory)
    try:
        item.function(start=starter, **parameters)
    finally:
        starter.close()
