"""A program beside a detached daemon (own session, orphaned) that flushes for $SAVE_SECONDS when told.

The program itself has no handler. The daemon writes `daemon` when it is ready, and `flushed` at its end. With
$PROGRAM_EXITS the program ends by itself as soon as the daemon is ready.
"""

import os
import signal
import time

import state


def flush(number: int, _frame: object) -> None:
    state.add("told", signal.Signals(number).name)
    until = time.monotonic() + state.SECONDS
    while time.monotonic() < until:
        time.sleep(0.01)
    state.note("flushed", signal.Signals(number).name)
    os._exit(0)


reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    for stop in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(stop, flush)
    state.ready("daemon")
    os.write(writer, b".")
    while True:
        time.sleep(0.05)
os.wait()
os.read(reader, 1)
state.ready()
if not os.environ.get("PROGRAM_EXITS"):
    while True:
        time.sleep(1)
