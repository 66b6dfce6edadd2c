"""How much of a program's stderr goes through smentry in a second, beside what goes through `cat`."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from .contenders import ENVIRONMENT, Contender
from .results import Row, Samples

CAT = "cat"
BLOCK = 64 << 20
LEAST = 0.5
LINE = b"2026-01-01 00:00:00,000 INFO train step 12345: loss 0.1234, 56.7 samples/s\n"


def measure(smentry: Contender, scratch: Path, size: int, rounds: int) -> list[Row]:
    """The budget of the tap: for bytes without line ends, and for lines."""
    base = scratch / "listening"
    (base / "input/config").mkdir(parents=True)
    rows = []
    for kind, text in (("zeros", bytes(1 << 20)), ("lines", LINE * (BLOCK // len(LINE)))):
        source = base / kind
        source.write_bytes((text * (BLOCK // len(text) + 1))[:BLOCK])
        program = " ".join(["exec cat", *[str(source)] * (size // BLOCK), ">&2"])
        environment = {**ENVIRONMENT, "SAGEMAKER_BASE_DIR": str(base)}
        samples = Samples()
        for _ in range(rounds):
            samples.add(CAT, throughput(["sh", "-c", f"({program}) 2>&1 | cat >&2"], environment, size))
            samples.add("smentry", throughput([*smentry.prefix, "-q", "--", "sh", "-c", program], environment, size))
        ratio = samples.median("smentry") / samples.median(CAT)
        row = Row(f"stderr through the tap, {size >> 20} MiB of {kind}", "GB/s", samples.medians(".2f"))
        row.measured, row.budget, row.met = f"{ratio:.2f} x {CAT}", f"≥ {LEAST} x {CAT}", ratio >= LEAST
        rows.append(row)
    return rows


def throughput(command: list[str], environment: dict[str, str], size: int) -> float:
    """GB/s that arrive on stderr, from the first byte to the last."""
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    descriptor, buffer = process.stderr.fileno(), [bytearray(1 << 17)]
    count = os.readv(descriptor, buffer)
    began = time.perf_counter()
    while True:
        read = os.readv(descriptor, buffer)
        if not read:
            break
        count += read
    took = time.perf_counter() - began
    process.stderr.close()
    if process.wait() or count != size:
        raise RuntimeError(f"{command[0]}: {count} bytes arrived, expected {size}; exit code {process.returncode}")
    return size / took / 1e9
