"""How long a stop takes that has thousands of processes to tell or to kill."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import time
from pathlib import Path

from .contenders import ENVIRONMENT, Contender
from .results import Row, Samples, bound_row

LINGER = 1.0  # seconds; the least that shows the wait apart from the work


def measure(smentry: Contender, program: Path, count: int, rounds: int) -> list[Row]:
    """Row 8 of the budgets: from the decision to the end of smentry, which is the end of all processes.

    The decision is the SIGTERM where all are told at once, the main process's end where that is what they are
    told after, and the end of `linger` where they ignore what they were told.
    """
    cases = {
        "all told at once (`--scope all`)": (("--scope", "all"), "mixed", "ends"),
        "told after the main process's end": ((), "mixed", "ends"),
        "all have handlers below a main process that has none": ((), "handler", "waits"),
        "killed, having ignored it": (("--linger", f"{LINGER:g}s"), "ignore", "ends"),
    }
    samples = {case: Samples() for case in cases}
    for _ in range(rounds):
        for case, (options, kind, main) in cases.items():
            command = smentry.command(str(program), "crowd", str(count), kind, main, options=options)
            samples[case].add("smentry", seconds_of_stop(command, kind, main, options))
    return [
        bound_row(f"a stop with {count:,} processes: {case}", "s", ".2f", taken, at_most=2)
        for case, taken in samples.items()
    ]


def seconds_of_stop(command: list[str], kind: str, main: str, options: tuple[str, ...]) -> float:
    """Seconds from the decision to the end of smentry; raises RuntimeError where it left a process alive."""
    null, pipe = subprocess.DEVNULL, subprocess.PIPE
    with subprocess.Popen(command, env=ENVIRONMENT, stdin=null, stdout=pipe, stderr=null) as process:
        assert process.stdout is not None
        output = process.stdout.fileno()
        if len(os.read(output, 8)) != 8:
            raise RuntimeError(f"{' '.join(command)} did not start its processes")
        decided = time.monotonic_ns()
        process.send_signal(signal.SIGTERM)
        process.wait()
        ended = time.monotonic_ns()
        said = rest(output)
    if main == "ends" and "all" not in options:
        decided = struct.unpack("=Q", said)[0]
    took = (ended - decided) / 1e9
    return took - LINGER if kind == "ignore" else took


def rest(output: int) -> bytes:
    """What was written to the pipe. Its end, which is there once nobody can write, must be there already."""
    os.set_blocking(output, False)
    said = b""
    try:
        while data := os.read(output, 64):
            said += data
    except BlockingIOError:
        raise RuntimeError("smentry has ended, and left processes alive") from None
    return said
