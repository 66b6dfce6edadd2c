"""Everything below smentry at once: found, killed and reaped in the simplest ways there are. It decides nothing."""

from __future__ import annotations

import os

from smentry.pid1 import linux, signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def below() -> list[int]:
    """Every process below this one (proc(5), /proc/PID/task/TID/children)."""
    found: list[int] = []
    pending = [os.getpid()]
    while pending:
        pid = pending.pop()
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                    children = [int(child) for child in file.read().split()]
                found += children
                pending += children
        except OSError:
            pass  # gone meanwhile, or a kernel without CONFIG_PROC_CHILDREN
    return found or list(linux.descendants(os.getpid()))


def kill(group: int, send: Callable[[int, int], None]) -> None:
    """SIGKILL all there is by `send`, so that even what forks all the time gets no child out of it.

    `group` is the program's process group, 0 once its number may be another's.
    """
    if os.getpid() == 1:
        # kill(2): -1 spares the caller, if it is PID 1 of a namespace, and nothing else. One atomic sweep.
        send(-1, signals.KILL)
        return
    if group:
        send(-group, signals.KILL)
    for pid in below():
        send(pid, signals.KILL)


def any_left() -> bool:
    """Reap what has ended; whether there are children left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True
