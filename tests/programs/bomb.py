"""A fork bomb that ignores every request to stop: breeders in sessions of their own, each of which replaces whoever of its
children ends. `ready` is written when all $FORKS (2000) are there.
"""

import os
import signal
import time
from pathlib import Path

import state

FORKS = int(os.environ.get("FORKS", "2000"))
BREEDERS = 8

for stop in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
    signal.signal(stop, signal.SIG_IGN)


def breed() -> None:
    os.setsid()
    children = 0
    while True:
        if os.fork() == 0:
            while True:
                signal.pause()
        children += 1
        if children == FORKS // BREEDERS:
            state.add("bred", str(os.getpid()))
        if children >= FORKS // BREEDERS:
            os.wait()


for _ in range(BREEDERS):
    if os.fork() == 0:
        breed()
bred = Path(state.DIRECTORY) / "bred"
while not bred.exists() or len(bred.read_text().splitlines()) < BREEDERS:
    time.sleep(0.01)
state.ready()
while True:
    signal.pause()
