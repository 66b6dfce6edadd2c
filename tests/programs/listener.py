"""A program that writes each signal it gets to `signals`; it ends with SIGTERM, or a line `end` on stdin.

With SIGWINCH it adds the size of its terminal: `SIGWINCH 50x132`.
"""

import os
import signal
import sys
import time

import state


def heard(number: int, _frame: object) -> None:
    line = name(number)
    if number == signal.SIGWINCH and os.isatty(0):
        size = os.get_terminal_size(0)
        line = f"{line} {size.lines}x{size.columns}"
    os.write(1, f"{line}\n".encode())  # print may be what is interrupted, and cannot be entered twice
    state.add("signals", line)
    if number == signal.SIGTERM:
        sys.exit(0)


def name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if number > signal.SIGRTMIN else "SIGSTKFLT"


for number in signal.valid_signals():
    if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD):
        signal.signal(number, heard)
state.ready()
print("listening", flush=True)
if os.environ.get("READ"):
    for text in sys.stdin:
        print(f"read {text.strip()}", flush=True)
        if text.strip() == "end":
            sys.exit(0)
while True:
    time.sleep(0.05)  # not pause(): a signal just before it would wait for the next one
