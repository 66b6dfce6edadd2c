"""Runs of a training program in processes that need not import its framework each, for that takes seconds.

It knows `programs/preloaded.py`, which forks them, and what every such program takes and leaves; nothing of a framework.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from running import surroundings

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = Path(__file__).parent / "programs"
LIMIT = 180.0
"""Seconds after which a run counts as hanging."""


class Preloaded:
    """One process that has imported a program, and forks a run of it whenever it is asked to."""

    def __init__(self, program: str, directory: Path) -> None:
        self.directory = directory
        self._stderr = directory / "stderr"
        with open(self._stderr, "wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAMS / "preloaded.py"), program],
                env={**surroundings(), "OMP_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )

    def codes(self, *pairs: tuple[dict[str, str], dict[str, Any]]) -> list[int]:
        """Run `main` in so many processes at once: what is added to the environment, what is handed over. Their exit codes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(pairs).encode() + b"\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], LIMIT)[0]:
            self._kill()
            pytest.fail(f"a run has not ended {LIMIT:g} s later; stderr:\n{self.stderr}")
        answer = self._process.stdout.readline()
        if not answer:
            pytest.fail(f"the program could not be imported; stderr:\n{self.stderr}")
        codes: list[int] = json.loads(answer)
        return codes

    def run(self, directory: Path, **asked: Any) -> dict[str, Any]:
        """A run that ends with 0: what it came to, with its checkpoints in `directory`."""
        result = directory / "result"
        assert self.codes(({}, {"directory": str(directory), "result": str(result), **asked})) == [0], self.stderr
        return came_to(result)

    def ranks(self, directory: Path, *, hosts: bool = False, **asked: Any) -> list[dict[str, Any]]:
        """Two ranks that end with 0: what they came to. With `hosts` each is on a host of its own, `directory`/0 and /1."""
        result = directory / "result"
        assert self.codes(*self.pairs(directory, hosts=hosts, **asked)) == [0, 0], self.stderr
        return [came_to(result, rank) for rank in (0, 1)]

    def pairs(
        self, directory: Path, *, hosts: bool = False, **asked: Any
    ) -> list[tuple[dict[str, str], dict[str, Any]]]:
        """What two ranks are asked for, as a launcher does."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = str(listener.getsockname()[1])
        found = []
        for rank in ("0", "1"):
            environment = {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            environment |= {"LOCAL_RANK": "0" if hosts else rank, "LOCAL_WORLD_SIZE": "1" if hosts else "2"}
            environment |= {"GROUP_RANK": rank if hosts else "0", "TORCHELASTIC_RUN_ID": "none"}
            own = directory / rank if hosts else directory
            found.append(
                (environment, {"directory": str(own), "result": str(directory / "result"), "hosts": hosts, **asked})
            )
        return found

    @property
    def stderr(self) -> str:
        """What all runs have written to stderr so far."""
        return self._stderr.read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """End it, and kill what is left of its runs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            pass
        self._kill()
        self._process.wait()
        self._process.stdout.close()

    def _kill(self) -> None:
        """Kill it and all of its runs."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def preloaded(program: str, factory: pytest.TempPathFactory) -> Iterator[Preloaded]:
    """The body of a fixture for a module."""
    found = Preloaded(program, factory.mktemp(program))
    yield found
    found.close()


def came_to(result: Path, rank: int = 0) -> dict[str, Any]:
    """What a run has written that it came to."""
    found: dict[str, Any] = json.loads(result.with_name(f"{result.name}.{rank}").read_text())
    return found
