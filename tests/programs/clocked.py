"""Training that writes a checkpoint file every 0.2 s to $CHECKPOINTS, each with the time of the clock that it sees itself."""

import itertools
import os
import select
import time

import state

top = os.environ.get("CHECKPOINTS", os.path.join(state.DIRECTORY, "checkpoints"))
os.makedirs(top, exist_ok=True)
for step in itertools.count(1):
    path = f"{top}/step-{step}"
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{step} {time.time()}")
    now = time.time()
    os.utime(path, (now, now))
    if step == 1:
        state.ready()
    select.select([], [], [], 0.2)  # libfaketime breaks time.sleep
