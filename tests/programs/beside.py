"""`beside.py NAME [SAVE [CODE]]`: writes to `log` what happens to it, `NAME told SIGTERM` and `NAME ended`; SAVE (0.2) seconds
lie between the two, then it exits CODE (0). `ready.NAME` is written when it is ready. With SAVE `never` it does not end.
"""

import signal
import sys
import time

import state

name, save, code = (*sys.argv[1:], *("0.2", "0")[len(sys.argv) - 2 :])


def told(number: int, _frame: object) -> None:
    state.add("log", f"{name} told {signal.Signals(number).name}")
    if save == "never":
        return
    until = time.monotonic() + float(save)
    while time.monotonic() < until:
        time.sleep(0.01)
    state.add("log", f"{name} ended")
    sys.exit(int(code))


for stop in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1):
    signal.signal(stop, told)
state.ready(f"ready.{name}")
while True:
    time.sleep(0.05)  # not pause(): a signal just before it would wait for the next one
