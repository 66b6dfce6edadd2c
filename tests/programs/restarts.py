"""A program that executes itself anew: twice at its start, and at each SIGHUP; it saves as saver.py does.

`restarted` gets a line each time.
"""

import os
import signal
import sys

import state


def restart(*_: object) -> None:
    state.add("restarted", str(os.getpid()))
    os.execv(sys.executable, [sys.executable, *sys.argv])


if int(os.environ.setdefault("RESTARTS", "2")):
    os.environ["RESTARTS"] = str(int(os.environ["RESTARTS"]) - 1)
    restart()
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])  # blocked while its own handler runs
signal.signal(signal.SIGHUP, restart)
import saver  # noqa: F401, E402
