"""Everything below smentry at once: found, told, killed and reaped in the simplest ways there are, and the last resort that these
are. It knows no lifecycle.
"""

from __future__ import annotations

import os
import time

from smentry.pid1 import linux, signals
from smentry.pid1.state import FINISHING, KILL, KILLING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from smentry.pid1.state import Plan, State


def below(root: int = 0) -> list[int]:
    """Every process below this one, or below another (proc(5), /proc/PID/task/TID/children)."""
    root = root or os.getpid()
    found: list[int] = []
    pending = [root]
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
    return found or list(linux.descendants(root))


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


def end(plan: Plan, state: State, send: Callable[[int, int], None], began: float) -> None:
    """The last resort, since `began`: tell by `send` everybody who was not told yet, give them their time, kill what is left."""
    deadline = min(began + plan.grace, state.end_at) if state.phase not in (KILLING, FINISHING) else began
    quietly(lambda: _tell(plan, state, send))
    while time.monotonic() < deadline and any_left():
        time.sleep(0.02)
    now = time.monotonic()
    deadline = min(now + plan.reserve * KILL, max(now + plan.reserve / 10, state.give_up_at))
    while time.monotonic() < deadline and any_left():
        # Once the main process has gone, the number of its group may be another's.
        quietly(lambda: kill(state.group if state.main else 0, send))
        time.sleep(0.02)


def _tell(plan: Plan, state: State, send: Callable[[int, int], None]) -> None:
    told = {pid for pid, _ in state.told}
    own = {}  # of companions
    for companion, standing in zip(plan.companions, state.companions):
        if standing.pid:
            own.update(dict.fromkeys((standing.pid, *below(standing.pid)), companion.stop_signal))
    for pid in below():
        if pid not in told:
            send(pid, own.get(pid, state.signal))
        send(pid, signals.CONT)


def quietly(act: Callable[[], object]) -> None:
    """Do it, as far as it goes: the next step of the last resort does not need it."""
    try:
        act()
    except BaseException:
        pass
