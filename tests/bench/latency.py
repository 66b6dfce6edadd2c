"""How long a signal takes from its sender through the init to the program's handler."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from .contenders import ENVIRONMENT, Contender
from .results import Row, Samples, ratio_row

PAUSE = 0.001
"""Seconds between two signals: in an idle container the init sleeps, and the caches are cold."""


def measure(smentry: Contender, others: list[Contender], program: Path, signals: int) -> list[Row]:
    """Row 3 of the budgets. All inits run at the same time and get one signal each in turn."""
    commands = {contender.name: contender.command(str(program), "listener") for contender in (smentry, *others)}
    commands["no init"] = [str(program), "listener"]
    samples = Samples()
    with ExitStack() as stack:
        listeners = {name: stack.enter_context(Listener(command)) for name, command in commands.items()}
        for _ in range(signals):
            for name, listener in listeners.items():
                samples.add(name, listener.latency())
                time.sleep(PAUSE)
    what = f"signal in → handler of the program ({signals} USR1)"
    row = ratio_row(f"{what}, median", "µs", ".0f", samples, to="tini", at_most=1.5)
    high = {name: f"{samples.percentile(name, 0.99):.0f}" for name in samples.values}
    return [row, Row("… p99", "µs", high)]


class Listener:
    """A running init whose program says when its handler ran."""

    def __init__(self, command: list[str]) -> None:
        self._command = command

    def __enter__(self) -> Listener:
        self._process = subprocess.Popen(
            self._command,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        self._moment()  # its first: the handler is there
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate()

    def latency(self) -> float:
        """Microseconds from sending a signal to the handler's first statement. Both read CLOCK_MONOTONIC."""
        sent = time.monotonic_ns()
        os.kill(self._process.pid, signal.SIGUSR1)
        return (self._moment() - sent) / 1e3

    def _moment(self) -> int:
        data = os.read(self._output, 8)
        if len(data) != 8:
            raise RuntimeError(f"{' '.join(self._command)} ended, expected it to listen for USR1")
        moment: int = struct.unpack("=Q", data)[0]
        return moment
