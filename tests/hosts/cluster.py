"""Several hosts on the loopback interface: each is smentry on an address and a tree of its own. It has no expectations."""

from __future__ import annotations

import itertools
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from running import LIMIT, marked, program, stat, wait_until

if TYPE_CHECKING:
    from running import Run, Starter

_NUMBERS = itertools.count(1)


def addresses(count: int) -> list[str]:
    """Addresses of the loopback interface that no other test has (all of 127.0.0.0/8 are, ip(7))."""
    process = os.getpid()
    return [f"127.{process // 256 % 254 + 1}.{process % 256}.{next(_NUMBERS)}" for _ in range(count)]


class Cluster:
    """One host for each of `does`, what tests/programs/host.py is to do there; its names are addresses, sorted as they come."""

    def __init__(
        self, start: Starter, *does: str, bound: str = "30s", mode: str = "subreaper", options: tuple[str, ...] = (),
        others: tuple[str, ...] = (), together: bool = True,
    ) -> None:  # fmt: skip
        self._start = start
        self._mode = mode
        self._options = ("-v", "--watch-hosts", bound, *options)
        self.names = addresses(len(does))
        self.others = others
        self._does = does
        self.runs: list[Run] = []
        if together:
            for number in range(len(does)):
                self.add(number)

    def add(self, number: int, *options: str, config: str = "", **variables: str) -> Run:
        """Start the host with this number."""
        base = Path(self._start.directory) / f"host-{self.names[number]}"
        (base / "input/config").mkdir(parents=True)
        resources = {"current_host": self.names[number], "hosts": [*self.names, *self.others]}
        (base / "input/config/resourceconfig.json").write_text(json.dumps(resources), encoding="utf-8")
        run = self._start(
            [*self._options, *options, "--train", " ".join([*program("host.py"), self._does[number]]), "train"],
            mode=self._mode,
            separator=(),
            config=config,
            SAGEMAKER_BASE_DIR=str(base),
            TRAINING_JOB_NAME="several",
            **variables,
        )
        self.runs.append(run)
        return run

    def meet(self) -> None:
        """Wait until every host has heard of every other one."""
        for own, run in zip(self.names, self.runs):
            run.wait_for("ready")
            for name in self.names[: len(self.runs)]:
                if name != own:
                    wait_until(
                        lambda run=run, name=name: f"{name} is there" in run.stderr,
                        f"{own} to meet {name}: {run.stderr}",
                    )

    def go(self, number: int) -> None:
        """Let a host's program do what it does."""
        (self.runs[number].state / "go").touch()

    def end(self, number: int, limit: float = LIMIT) -> int:
        """Wait for a host's end; its exit code."""
        return self.runs[number].end(limit)

    def failure(self, number: int) -> str:
        """A host's failure file; empty where there is none."""
        path = Path(self._start.directory) / f"host-{self.names[number]}/output/failure"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def first_line(self, number: int) -> str:
        """The first line of a host's failure file."""
        return self.failure(number).partition("\n")[0]

    def watches(self, number: int) -> list[int]:
        """The pids of a host's watch: smentry's child that runs smentry's own code still."""
        run = self.runs[number]
        return [
            pid for pid in marked(run.state) if stat(pid)[1:2] == [str(run.pid)] and _command(pid) == _command(run.pid)
        ]

    def kill(self, number: int) -> None:
        """As the end of a container by SIGKILL (`mode` init: with PID 1 everything dies)."""
        os.kill(self.runs[number].pid, signal.SIGKILL)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
