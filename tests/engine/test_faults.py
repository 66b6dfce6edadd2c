"""Stops with hooks in a container that runs out of something: room, processes, memory, or a reader of what is written."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running import pids, stat, status, wait_until

from . import checkpoints
from .containers import STATE, Container

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .containers import Engine

    Start = Callable[..., Container]

AROUND = ("stopping", "stopped", "exit")
SAVER = ("python3", "/opt/programs/saver.py")
EATER = "python3 -c 'b = bytes(1); [b := b + bytes(1 << 20) for _ in range(2000)]'"
MEMORY = ("--memory", "100m", "--memory-swap", "100m")


def note(event: str, before: str = "") -> str:
    """A hook that adds a line with its event to `log`, after it did something else."""
    return f'{{on: {event}, run: [sh, -c, "{before}echo {event} >>{STATE}/log"], timeout: 10s}}'


@pytest.fixture
def start(engine: Engine, tmp_path: Path) -> Start:
    """Start a container with hooks, each a YAML mapping in one line."""

    def start(hooks: Sequence[str], *command: str, options: Sequence[str] = (), **environment: str) -> Container:
        file = tmp_path / "smentry.yaml"
        file.write_text("linger: 1s\nhooks:\n" + "".join(f"  - {hook}\n" for hook in hooks), encoding="utf-8")
        mount = ("--volume", f"{file}:/etc/smentry.yaml:ro")
        return engine.start(*command, options=(*mount, *options), environment=environment)

    return start


# Room.

TRAIN = ("--train", "python3 /opt/programs/careless.py", "train")
COPY = '{on: stopped, copy: {newest: "/opt/ml/checkpoints/*", to: /opt/ml/model, complete: done}, timeout: 30s}'


def test_a_model_directory_that_is_read_only_fails_the_copy_and_nothing_else(start: Start, tmp_path: Path) -> None:
    checkpoints.write(tmp_path / "model", 0, 2, 100)
    container = start(
        [COPY, *map(note, AROUND)], *TRAIN, options=("--volume", f"{tmp_path}/model:/opt/ml/model:ro"), INTERVAL="0.3"
    )
    container.ready()
    assert container.stop() == 143
    assert "cannot be copied to /opt/ml/model: " in container.output
    assert "read-only file system" in container.output
    assert checkpoints.step(tmp_path / "model") == 0
    assert container.lines("log") == list(AROUND)


def test_a_model_directory_without_room_keeps_what_is_in_it(start: Start) -> None:
    hooks = [
        '{on: start, run: [sh, -c, "echo old >/opt/ml/model/weights"]}',
        COPY,
        note("stopped", f"ls -A /opt/ml/model >{STATE}/names; cp /opt/ml/model/weights {STATE}/weights; "),
    ]
    container = start(hooks, *TRAIN, options=("--tmpfs", "/opt/ml/model:size=1m"), INTERVAL="0.3")
    container.ready()
    assert container.stop() == 143
    assert "no space left on device" in container.output
    assert container.read("weights") == "old"
    assert container.read("names") == "weights"
    assert container.lines("log") == ["stopped"]


# Processes.


def test_hooks_that_cannot_be_forked_are_logged_and_the_program_saves(start: Start) -> None:
    """When the program has gone there is room again, and the hooks after it run."""
    crowd = f"while [ ! -e {STATE}/ready ]; do sleep 0.1; done; exec python3 /opt/programs/forks.py"
    hooks = [*map(note, AROUND), note("USR2"), "{on: stopping, copy: {from: /etc/hostname, to: /tmp/copy}}"]
    container = start(hooks, "sh", "-c", f"({crowd}) & exec {' '.join(SAVER)}", options=("--pids-limit", "30"))
    container.ready("forked")
    assert container.read("forked").endswith("EAGAIN")
    container.kill("USR2")
    why = "cannot be started: Resource temporarily unavailable"
    wait_until(lambda: f"SIGUSR2 hook sh {why}" in container.output, f"the hook to fail: {container.output}")
    assert container.runs()
    assert container.stop() == 0, container.output
    assert container.output.count(why) == 3
    assert container.lines("told") == ["SIGTERM"]
    assert container.has("saved")
    assert container.lines("log") == ["stopped", "exit"]


# Memory.


def test_the_hooks_of_a_failure_run_when_the_program_was_killed_for_its_memory(start: Start) -> None:
    container = start([note("failed", f"echo $SMENTRY_EXIT_CODE >>{STATE}/log; "), note("exit")], "sh", "-c", EATER,
                      options=MEMORY)  # fmt: skip
    assert container.end() == 137, container.output
    assert container.lines("log") == ["137", "failed", "exit"]


def test_a_hook_that_was_killed_for_its_memory_keeps_nobody_from_saving(start: Start) -> None:
    eaters = [f'{{on: {event}, name: eater, run: "{EATER}", timeout: 20s}}' for event in AROUND]
    container = start([*eaters, *map(note, AROUND)], *SAVER, options=MEMORY)
    container.ready()
    assert container.stop() == 0, container.output
    assert container.lines("told") == ["SIGTERM"]
    assert container.has("saved")
    assert container.lines("log") == list(AROUND)
    assert container.output.count("died of SIGKILL") == 3, container.output


# A reader that does not read.


def test_a_client_that_does_not_read_holds_no_stop_up(engine: Engine, tmp_path: Path) -> None:
    """The engine hands the container's stderr to the client that is attached, and waits for it, even with the end."""
    file = tmp_path / "smentry.yaml"
    hooks = [*map(note, AROUND), *(f"{{on: {event}, run: 'yes', timeout: 1s}}" for event in AROUND)]
    file.write_text("linger: 1s\nhooks:\n" + "".join(f"  - {hook}\n" for hook in hooks), encoding="utf-8")
    flood = f"yes >&2 & exec {' '.join(SAVER)}"
    words, name, state = engine.command(
        "-vv", "sh", "-c", flood, options=("--volume", f"{file}:/etc/smentry.yaml:ro", "--log-driver", "none")
    )
    with subprocess.Popen(
        ["docker", "run", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as client:
        try:
            container = Container(name, state)
            wait_until((state / "ready").exists, "the program")
            init = int(container.inspect("{{.State.Pid}}"))
            wait_until(lambda: (found := named("yes", init)) and all(map(is_stuck, found)), "the pipe to be full")
            began = time.monotonic()
            container.kill("TERM")
            wait_until(lambda: stat(init)[:1] in ([], ["Z"]), "smentry to end")
            assert time.monotonic() - began < 20
            assert container.lines("told") == ["SIGTERM"]
            assert container.has("saved")
            assert container.lines("log") == list(AROUND)
        finally:
            client.kill()


def named(name: str, top: int) -> list[int]:
    """The processes of that name below another."""
    parents = {pid: int(fields[1]) for pid in pids() if (fields := stat(pid))}
    found = [top]
    for above in found:
        found += [pid for pid, parent in parents.items() if parent == above]
    return [pid for pid in found if status(pid, "Name") == name]


def is_stuck(pid: int) -> bool:
    """Whether a process sleeps because a pipe is full."""
    return "pipe_write" in Path(f"/proc/{pid}/wchan").read_text(encoding="ascii")
