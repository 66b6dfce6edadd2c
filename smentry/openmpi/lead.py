"""The program of the first host: it waits until ssh lets it in on the others, runs mpirun, and tells them how it ended.

    python3 -I lead.py HOST[,HOST…] mpirun …

It has no handler for a stop signal, and takes no part in a stop: who asked for the signal are the ranks below mpirun.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # with -I, where smentry may not be installed

from smentry.openmpi import handover

LIMIT = 15 * 60.0
"""Seconds until all hosts must let this one in."""
SAY_AGAIN = 60.0
PAUSE = 1.0
TELL = 20.0
"""Seconds that a host may take to be told how mpirun ended."""
_TOGETHER = 32
"""Hosts that are spoken to at once."""
_SSH = ("sh", "-c", 'trap "" TERM INT QUIT; exec "$0" "$@"', "ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
"""Ignored, these signals stay so: otherwise ssh has a handler, and a stop would have it told in place of this program."""
_FINAL = (
    "Permission denied",
    "Host key verification failed",
    "REMOTE HOST IDENTIFICATION HAS CHANGED",
    "Bad configuration",
)
"""What ssh says where it does not help to try again."""


class Door:
    """Trying a host until it lets one in: `why` it has not yet, empty once it has; `final`, where it never will."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.why = "not tried yet"
        self.final = False

    def knock(self, until: float, given_up: threading.Event) -> None:
        """Try until it lets one in, or never will, or `until` (time.monotonic(), seconds)."""
        while self.why and not self.final and not given_up.is_set() and time.monotonic() < until:
            tried = _ssh(self.host, "true", 30.0)
            self.why = "" if tried is None else tried
            self.final = any(sign in self.why for sign in _FINAL)
            if self.why and not self.final:
                given_up.wait(PAUSE)


def main(words: list[str]) -> int:
    """Run mpirun with its other words for HOST,…; the exit code is mpirun's."""
    handover.leave_interrupts()
    hosts = words[0].split(",")
    why = _wait(hosts)
    if why:
        handover.say(why)
        return 1
    code = subprocess.call(words[1:])
    if code < 0:
        code = 128 - code
    _ignore()
    _tell(hosts, code)
    return code


def _ignore() -> None:
    """Go on though a stop tells who is left when the ranks have gone: it is for seconds."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


def _wait(hosts: list[str]) -> str:
    """Wait until all hosts let one in; why they do not, empty where they do."""
    until = time.monotonic() + LIMIT
    given_up = threading.Event()
    doors = [Door(host) for host in hosts]
    with ThreadPoolExecutor(_TOGETHER) as pool:
        trials = [pool.submit(door.knock, until, given_up) for door in doors]
        said = time.monotonic()
        while not all(trial.done() for trial in trials):
            given_up.wait(0.05)
            if any(door.final for door in doors):
                given_up.set()
            elif time.monotonic() - said >= SAY_AGAIN:
                said = time.monotonic()
                missing = [door for door in doors if door.why]
                names = ", ".join([door.host for door in missing[:8]])
                handover.say(f"waiting for sshd on {names}: {missing[0].why}")
    closed = [door for door in doors if door.final] or [door for door in doors if door.why]
    if not closed:
        return ""
    names = ", ".join([door.host for door in closed[:8]])
    what = (
        "the image's keys do not let mpirun in"
        if closed[0].final
        else f"no sshd has let mpirun in for {LIMIT / 60:g} minutes"
    )
    return f"{what} on {names}: {closed[0].why}"


def _tell(hosts: list[str], code: int) -> None:
    """Tell the hosts that mpirun has ended, and how. One that is not reached finds out itself, later."""
    command = shlex.join([sys.executable, "-I", handover.__file__, handover.ENDED, str(code)])
    with ThreadPoolExecutor(_TOGETHER) as pool:
        for host, why in zip(hosts, pool.map(lambda host: _ssh(host, command, TELL), hosts)):
            if why is not None:
                handover.say(f"{host} could not be told that mpirun has ended: {why}")


def _ssh(host: str, command: str, limit: float) -> str | None:
    """Run a command on a host; what went wrong, None where nothing did."""
    try:
        ran = subprocess.run(
            [*_SSH, host, command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"ssh has not ended for {limit:g} s"
    if ran.returncode == 0:
        return None
    said = ran.stderr.decode("utf-8", "replace").strip().splitlines()
    return said[-1] if said else f"ssh has ended with exit code {ran.returncode}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
