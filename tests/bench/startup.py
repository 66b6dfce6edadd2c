"""How long a start takes: around `true`, and up to the first moment of a channel's script."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from .contenders import ENVIRONMENT, Contender
from .results import Row, Samples, ratio_row


def measure(smentry: Contender, others: list[Contender], python: Path, scratch: Path, rounds: int) -> list[Row]:
    """Rows 1 and 2 of the budgets."""
    around_true, to_exec = Samples(), Samples()
    bare = [str(python), "-c", "pass"]
    commands = {contender.name: contender.command("/bin/true") for contender in (smentry, *others)}
    train, environment = training_job(smentry, scratch)
    for _ in range(rounds):
        around_true.add("bare python", wall_time(bare))
        for name, command in commands.items():
            around_true.add(name, wall_time(command))
        to_exec.add("smentry", time_to_exec(train, environment))
        to_exec.add("bare python", wall_time(bare))
    return [
        ratio_row("wall time around `true`", "ms", ".1f", around_true, to="bare python", at_most=2.0),
        ratio_row("`smentry train` to exec of the script", "ms", ".1f", to_exec, to="bare python", at_most=3.0),
    ]


def training_job(smentry: Contender, scratch: Path) -> tuple[list[str], dict[str, str]]:
    """A job with ten hyperparameters, two channels and one host; the first and only act of its script is a byte on stdout."""
    base = scratch / "ml"
    config, code = base / "input/config", base / "input/data/code"
    config.mkdir(parents=True)
    code.mkdir(parents=True)
    described = {
        "hyperparameters": {
            "epochs": "30", "learning-rate": "0.02", "batch_size": "64", "model": "resnet50", "layers": "[64, 128, 256]",
            "optimizer": '{"name": "adam", "betas": [0.9, 0.999]}', "seed": "7", "augment": "true", "dropout": "1e-1",
            "warmup": "null",
        },
        "inputdataconfig": {
            name: {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
            for name in ("code", "train")
        },
        "resourceconfig": {
            "current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0",
            "current_instance_type": "ml.g5.2xlarge", "current_group_name": "homogeneousCluster",
            "instance_groups": [
                {"instance_group_name": "homogeneousCluster", "instance_type": "ml.g5.2xlarge", "hosts": ["algo-1"]}
            ],
        },
    }  # fmt: skip
    for name, content in described.items():
        (config / f"{name}.json").write_text(json.dumps(content))
    (code / "custom_entrypoint.sh").write_text("#!/bin/sh\necho\n")
    return [*smentry.prefix, "train"], {**ENVIRONMENT, "SAGEMAKER_BASE_DIR": str(base)}


def wall_time(command: list[str]) -> float:
    """Milliseconds from spawn to the end of `command`."""
    start = time.perf_counter_ns()
    pid = os.posix_spawn(command[0], command, ENVIRONMENT, file_actions=[null(0), null(1), null(2)])
    _, status = os.waitpid(pid, 0)
    took = time.perf_counter_ns() - start
    if status != 0:
        raise RuntimeError(f"{' '.join(command)} ended with wait status {status}, expected 0")
    return took / 1e6


def time_to_exec(command: list[str], environment: dict[str, str]) -> float:
    """Milliseconds from spawn to the first byte that the script writes: its shell's start is in it."""
    reader, writer = os.pipe()
    actions = [null(0), (os.POSIX_SPAWN_DUP2, writer, 1), null(2)]
    start = time.perf_counter_ns()
    pid = os.posix_spawn(command[0], command, environment, file_actions=actions)
    os.close(writer)
    first = os.read(reader, 1)
    took = time.perf_counter_ns() - start
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    if first != b"\n" or status != 0:
        raise RuntimeError(f"{' '.join(command)}: the script did not run, wait status {status}")
    return took / 1e6


def null(descriptor: int) -> tuple[int, int, str, int, int]:
    return (os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_RDWR, 0)
