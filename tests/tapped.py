"""Starting smentry so that it listens to its program's stderr, and asking it what it saw. It knows no expectations."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from running import surroundings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def job(directory: Path) -> Path:
    """A base directory in which a training job is laid out."""
    base = directory / "ml"
    (base / "input/config").mkdir(parents=True, exist_ok=True)
    return base


def is_full(writer: int) -> bool:
    """Whether a pipe takes nothing more."""
    poll = select.poll()
    poll.register(writer, select.POLLOUT)
    return not poll.poll(0)


class Tapped:
    """Starts `smentry OPTIONS -- COMMAND` where a job is laid out, quiet unless the options say otherwise."""

    def __init__(self, directory: Path) -> None:
        self._base = job(directory)
        self._started: list[subprocess.Popen[bytes]] = []

    def __call__(self, command: Sequence[str], *options: str, env: Mapping[str, str] | None = None, **more: Any) -> Any:
        """`more` is for Popen, as `env` is, beside what smentry needs."""
        quiet = () if "-v" in options else ("-q",)
        environment = {**surroundings(), "SAGEMAKER_BASE_DIR": str(self._base), **(env or {})}
        words = [sys.executable, "-m", "smentry", *quiet, *options, "--", *command]
        process = subprocess.Popen(words, env=environment, **{"stdin": subprocess.DEVNULL, **more})
        self._started.append(process)
        return process

    def close(self) -> None:
        """Kill what is left."""
        for process in self._started:
            process.kill()
            with process:
                pass


# In an interpreter of its own, as smentry begins: with every signal blocked, and no other thread.
SUPERVISE = """
import _signal, json, os, sys
mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
from smentry.pid1.companions import Companion
from smentry.pid1.hooks import Hook
from smentry.pid1.process import Program
from smentry.pid1.state import Plan
from smentry.pid1.stderr import Log
from smentry.pid1.supervisor import supervise
given = json.loads(sys.argv[1])
hooks = [Hook(**hook) for hook in given.get("hooks", ())]
companions = [Companion(**companion) for companion in given.get("companions", ())]
plan = Plan(hooks=hooks, companions=companions, linger=1.0, **given.get("plan", {}))
program = Program(given["argv"], dict(os.environ), path=given.get("path", "/usr/bin/env"), label=given.get("label", "program"))
program.argv = ["env", *program.argv]
report = supervise(program, plan, log=Log(-1), mask=mask, evidence=True, tap=given.get("tap", True))
def plain(value):
    if isinstance(value, bytes): return value.decode("latin-1")
    if isinstance(value, list): return [plain(item) for item in value]
    return {n: plain(getattr(value, n)) for n in value.__slots__} if hasattr(value, "__slots__") else value
with open(given["to"], "w") as file: json.dump(plain(report), file)
os._exit(report.code)
"""


def supervising(directory: Path, argv: Sequence[str], *, stderr: Any = subprocess.DEVNULL, **given: Any) -> Any:
    """A process that supervises a command and writes its report, which `reported` reads."""
    given = {"argv": list(argv), "to": str(directory / "report.json"), **given}
    return subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, json.dumps(given)],
        env=surroundings(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        cwd=directory,
    )


def reported(directory: Path) -> dict[str, Any]:
    """What was reported, with bytes as text of the same length."""
    found: dict[str, Any] = json.loads((directory / "report.json").read_text())
    return found


def supervised(directory: Path, argv: Sequence[str], **given: Any) -> dict[str, Any]:
    """The report of a command that ends by itself."""
    with supervising(directory, argv, **given) as process:
        process.wait(60)
    return reported(directory)


def python(code: str, *arguments: str) -> list[str]:
    """The command that runs some Python."""
    return [sys.executable, "-c", code, *arguments]


def read_until(descriptor: int, wanted: bytes) -> bytes:
    """Read from a pipe until this is in what was read; fails at its end."""
    data = b""
    while wanted not in data:
        chunk = os.read(descriptor, 65536)
        assert chunk, f"ended before {wanted!r}: {data!r}"
        data += chunk
    return data
