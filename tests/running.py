"""Starting smentry on a real program, watching it and clearing up after it. It knows processes, and no expectations.

Everything a run starts inherits $STATE, the directory where the programs of `tests/programs` write what they did; so
whatever of a run is alive, wherever it was reparented to, is found by its environment.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import smentry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROGRAMS = Path(__file__).parent / "programs"
SMENTRY = (sys.executable, "-m", "smentry")
LIMIT = 30.0
"""Seconds after which a condition counts as never coming true. Wide, for machines that are busy."""

_STARTING = threading.BoundedSemaphore(4)  # more starts at a time would only make each other late
_ENVIRONMENT = dict(os.environ)  # once: pytest changes it all the time, while other threads would go through it


def wait_until(condition: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    """Wait until `condition()` is true; fails with `what` was waited for after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {limit:g} s for {what}")
        time.sleep(0.01)


def program(name: str) -> list[str]:
    """The command of one of the programs in `tests/programs`."""
    return [sys.executable, str(PROGRAMS / name)]


@functools.cache
def namespace() -> tuple[str, ...]:
    """The command before a command that makes it PID 1 of a new PID namespace; empty where that is not allowed."""
    rights = () if os.geteuid() == 0 else ("-U", "-r")
    command = ("unshare", *rights, "-p", "-f", "--mount-proc", "--kill-child")
    if shutil.which("unshare") is None:
        return ()
    tried = subprocess.run([*command, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return command if tried.returncode == 0 else ()


def _modes() -> tuple[Any, ...]:
    return (pytest.param("subreaper", marks=pytest.mark.slow) if namespace() else "subreaper", "init")


MODES = _modes()
"""As an ordinary process that makes itself a subreaper, and as PID 1 of a PID namespace of its own: the second is what
smentry is for, so where there are namespaces the quick tests are left with it."""


class Run:
    """smentry (or another init) with a program."""

    def __init__(self, process: subprocess.Popen[bytes], pid: int, state: Path) -> None:
        self._process = process
        self._stopped: float | None = None
        self.pid = pid
        self.state = state
        self.seconds = 0.0

    def send(self, *signals: int) -> None:
        """Send signals; the time from the first one on is counted in `seconds`."""
        if self._stopped is None:
            self._stopped = time.monotonic()
        for number in signals:
            os.kill(self.pid, number)

    def wait_for(self, name: str, limit: float = LIMIT) -> None:
        """Wait until the program has written the file `name` in its state directory."""

        def there() -> bool:
            found = self.has(name)
            if not found and self._process.poll() is not None and not self.has(name):
                pytest.fail(f"ended with {self._process.returncode} before {name!r} was there; stderr:\n{self.stderr}")
            return found

        wait_until(there, f"{name!r} of {self._process.args!r}; stderr:\n{self.stderr}", limit)

    def stop(self, *signals: int) -> int:
        """Send stop signals (TERM), and return the exit code."""
        self.send(*(signals or (signal.SIGTERM,)))
        return self.end()

    def end(self, limit: float = LIMIT) -> int:
        """Wait for the end; returns the exit code. What is alive then of all it started is in `left`."""
        try:
            code = self._process.wait(limit)
        except subprocess.TimeoutExpired:
            pytest.fail(f"has not ended {limit:g} s later; stderr:\n{self.stderr}")
        if self._stopped is not None:
            self.seconds = time.monotonic() - self._stopped
        self.left = self.alive()
        return code

    def has(self, name: str) -> bool:
        """Whether the program has written the file `name`."""
        return (self.state / name).exists()

    def read(self, name: str) -> str:
        """What the program has written to `name`; empty where there is no such file."""
        path = self.state / name
        return path.read_text(encoding="utf-8").strip() if path.exists() else ""

    def lines(self, name: str) -> list[str]:
        """The lines the program has written to `name`."""
        return self.read(name).splitlines()

    @property
    def facts(self) -> dict[str, Any]:
        """What the program wrote to `ready`: as what, and where, it runs."""
        found: dict[str, Any] = json.loads(self.read("ready"))
        return found

    @property
    def has_ended(self) -> bool:
        """Whether it has ended already."""
        return self._process.poll() is not None

    @property
    def stderr(self) -> str:
        """All that was written to stderr so far."""
        return (self.state / "stderr").read_text(encoding="utf-8", errors="replace")

    @property
    def stdout(self) -> str:
        """All that was written to stdout so far."""
        return (self.state / "stdout").read_text(encoding="utf-8", errors="replace")

    def alive(self) -> dict[int, str]:
        """Every process of this run but the one that started it: pid → name."""
        return {pid: name for pid, name in marked(self.state).items() if pid != self._process.pid}

    def children(self) -> dict[int, str]:
        """smentry's children: pid → state letter."""
        found = {}
        for pid in pids():
            fields = stat(pid)
            if fields and int(fields[1]) == self.pid:
                found[pid] = fields[0]
        return found

    def close(self) -> None:
        """Kill all that is left."""
        for _ in range(20):
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            left = marked(self.state)
            if not left:
                return
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


class Starter:
    """Starts runs, and closes them all at the end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._runs: list[Run] = []

    def __call__(
        self,
        command: Sequence[str],
        *options: str,
        mode: str = "subreaper",
        init: Sequence[str] = SMENTRY,
        before: Sequence[str] = (),
        separator: Sequence[str] = ("--",),
        save: float = 0.5,
        preexec: Callable[[], None] | None = None,
        config: str = "",
        **environment: str,
    ) -> Run:
        """Start `smentry OPTIONS -- COMMAND`, and return once it blocks its signals, so that none can be lost.

        `init` is started in the place of smentry, by the command `before` it; `save` is how long programs save. `config` is
        the text of a configuration file, in which $STATE is the directory where the programs write.
        """
        state = Path(tempfile.mkdtemp(dir=self.directory))
        if config:
            (state / "smentry.yaml").write_text(config.replace("$STATE", str(state)), encoding="utf-8")
            options = ("--config", str(state / "smentry.yaml"), *options)
        around = [*before]
        if mode == "init":
            if not namespace():
                pytest.skip("no PID namespace: neither root nor user namespaces for ordinary users")
            around += namespace()
        with _STARTING, open(state / "stdout", "wb") as out, open(state / "stderr", "wb") as err:
            process = subprocess.Popen(
                [*around, *init, *options, *separator, *command],
                env={**surroundings(), "STATE": str(state), "SAVE_SECONDS": str(save), **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                preexec_fn=preexec,
                start_new_session=True,
            )
            run = Run(process, process.pid, state)
            self._runs.append(run)
            if mode == "init":
                wait_until(lambda: _first_child(process.pid) or process.poll() is not None, "the namespace's PID 1")
                run.pid = _first_child(process.pid)
            if not before:
                wait_until(
                    lambda: process.poll() is not None or takes_signals(run.pid),
                    f"{init[-1]} to block its signals; stderr:\n{run.stderr}",
                )
        return run

    def close(self) -> None:
        """Kill everything that was started and is left."""
        for run in self._runs:
            run.close()


def surroundings() -> dict[str, str]:
    """The environment for smentry: it finds itself, and none of the settings for an init that the tests are run with."""
    out = ("SMENTRY_", "TINI_", "PYTHONDONTWRITEBYTECODE")  # the last makes each start of smentry compile it anew
    kept = {name: value for name, value in _ENVIRONMENT.items() if not name.startswith(out)}
    return {**kept, "PYTHONPATH": str(Path(smentry.__file__).parent.parent), "PROGRAMS": str(PROGRAMS)}


def pids() -> list[int]:
    """Every process of the machine."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on (proc(5)); empty when it has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()


def status(pid: int | str, key: str) -> str:
    """One value of /proc/PID/status (proc(5)); empty when it has gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(key + ":")), "")


def takes_signals(pid: int) -> bool:
    """Whether an init is so far that no signal is lost any more: it blocks them, or waits for them by sigwaitinfo(2),
    which does not show as blocked."""
    blocked = int(status(pid, "SigBlk") or "0", 16)
    try:
        return blocked & 0x4200 == 0x4200 or "sigtimedwait" in Path(f"/proc/{pid}/wchan").read_text(encoding="ascii")
    except OSError:
        return False


def marked(state: Path) -> dict[int, str]:
    """Every process whose environment has this state directory, zombies left out: pid → name."""
    wanted = f"STATE={state}".encode()
    found = {}
    for pid in pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0"):
            found[pid] = status(pid, "Name")
    return found


def _first_child(pid: int) -> int:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return int(children[0]) if children else 0
