"""A training program that saves for $SAVE_SECONDS when it is asked to stop, and exits $EXIT_CODE (0).

`told` gets a line per signal, `saved` is written at the end. With $FREEZE it stops itself once it is ready.
$STOPS names the signals it handles (SIGTERM SIGINT SIGQUIT).
"""

import os
import signal
import sys
import time

import state


def save(number: int, _frame: object) -> None:
    state.add("told", signal.Signals(number).name)
    if not saving:
        saving.append(number)
        until = time.monotonic() + state.SECONDS
        while time.monotonic() < until:
            time.sleep(0.01)
        print("saved", flush=True)
        state.note("saved", signal.Signals(number).name)
        sys.exit(int(os.environ.get("EXIT_CODE", "0")))


saving: list = []
for stop in os.environ.get("STOPS", "SIGTERM SIGINT SIGQUIT").split():
    signal.signal(signal.Signals[stop], save)
print("training", flush=True)
state.ready()
if os.environ.get("FREEZE"):
    os.kill(os.getpid(), signal.SIGSTOP)
while True:
    time.sleep(0.05)  # not pause(): a signal just before it would wait for the next one
