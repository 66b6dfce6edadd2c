"""What an init costs while nothing happens: memory and wake-ups."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from .contenders import ENVIRONMENT, Contender
from .results import Row, Samples, bound_row

SETTLED = 0.5
"""Seconds without a wake-up after which an init counts as idle; tini wakes up once a second."""


def measure(smentry: Contender, others: list[Contender], scratch: Path, rounds: int, seconds: float) -> list[Row]:
    """Rows 5 and 6 of the budgets. All inits idle at the same time."""
    resident, shared, training, wakes, training_wakes = Samples(), Samples(), Samples(), Samples(), Samples()
    train, environment = waiting_job(smentry, scratch)
    for _ in range(rounds):
        inits = {contender.name: start(contender.command("/bin/sleep", "infinity")) for contender in (smentry, *others)}
        job = start(train, environment)
        try:
            for process in (*inits.values(), job):
                wait_until_idle(process.pid)
            before = {name: switches(process.pid) for name, process in inits.items()}
            before_job = switches(job.pid)
            time.sleep(seconds)  # what is measured is this time itself
            for name, process in inits.items():
                wakes.add(name, switches(process.pid) - before[name])
                resident.add(name, memory(process.pid, "status", "VmRSS") / 1000)
                shared.add(name, memory(process.pid, "smaps_rollup", "Pss") / 1000)
            training_wakes.add("smentry", switches(job.pid) - before_job)
            training.add("smentry", memory(job.pid, "status", "VmRSS") / 1000)
        finally:
            for process in (*inits.values(), job):
                process.send_signal(signal.SIGTERM)
                process.wait()
    return [
        bound_row("resident memory, idle (VmRSS)", "MB", ".1f", resident, at_most=13),
        bound_row("… of `smentry train`", "MB", ".1f", training, at_most=13),
        Row("… proportional (Pss)", "MB", shared.medians(".1f")),
        bound_row(f"wake-ups, idle, in {seconds:g} s", "", ".0f", wakes, at_most=0),
        bound_row("… of `smentry train`", "", ".0f", training_wakes, at_most=0),
    ]


def waiting_job(smentry: Contender, scratch: Path) -> tuple[list[str], dict[str, str]]:
    """`smentry train` with a script that waits for ever."""
    base = scratch / "idle"
    config, code = base / "input/config", base / "input/data/code"
    config.mkdir(parents=True)
    code.mkdir(parents=True)
    (config / "hyperparameters.json").write_text('{"epochs": "30"}')
    (config / "inputdataconfig.json").write_text('{"code": {"TrainingInputMode": "File"}}')
    (code / "custom_entrypoint.sh").write_text("#!/bin/sh\nexec sleep infinity\n")
    return [*smentry.prefix, "train"], {**ENVIRONMENT, "SAGEMAKER_BASE_DIR": str(base)}


def start(command: list[str], environment: dict[str, str] = ENVIRONMENT) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    return subprocess.Popen(command, env=environment, stdin=null, stdout=null, stderr=null)


def wait_until_idle(pid: int) -> None:
    """Wait until the init's program is `sleep` and the init itself has slept for a while."""
    deadline = time.monotonic() + 20
    last, since = -1, time.monotonic()
    while time.monotonic() < deadline:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        asleep = any(Path(f"/proc/{child}/comm").read_text() == "sleep\n" for child in children)
        count = switches(pid)
        if count != last or not asleep:
            last, since = count, time.monotonic()
        elif time.monotonic() - since > SETTLED:
            return
        time.sleep(0.02)
    raise RuntimeError(f"process {pid} is not idle after 20 s")


def switches(pid: int) -> int:
    """How often the threads of a process were switched to and away from: an idle one is not."""
    count = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        for line in Path(f"/proc/{pid}/task/{task}/status").read_text().splitlines():
            if "ctxt_switches" in line:
                count += int(line.split()[1])
    return count


def memory(pid: int, file: str, key: str) -> int:
    """A figure of /proc/PID/status or smaps_rollup in kB, as the kernel calls 1024 bytes."""
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/{pid}/{file} has no {key}")
