"""Training that never heard of SIGTERM: every $INTERVAL (1) seconds a checkpoint of $SIZE (3) MB in $CHECKPOINTS/step-N.

It is written the careless way: the directory is made first, then one file after another, in pieces, in two thirds of the
time until the next. Each file says which step and how many files there are, and the digest of the rest; the last, `done`,
is empty. Of older ones the last $KEEP (6) are kept.
"""

import hashlib
import json
import os
import shutil
import time

import state

FILES = 4
PIECES = 4


def save(directory: str, step: int, size: int, pause: float) -> None:
    os.mkdir(directory)
    for number in range(FILES):
        data = os.urandom(size // FILES)
        head = {"step": step, "files": FILES, "digest": hashlib.sha256(data).hexdigest()}
        data = json.dumps(head).encode() + b"\n" + data
        with open(f"{directory}/shard-{number}", "wb", buffering=0) as file:
            for piece in range(PIECES):
                file.write(data[len(data) * piece // PIECES : len(data) * (piece + 1) // PIECES])
                time.sleep(pause)
    open(f"{directory}/done", "w").close()


def train() -> None:
    top = os.environ.get("CHECKPOINTS", "/opt/ml/checkpoints")
    interval = float(os.environ.get("INTERVAL", "1"))
    size = int(float(os.environ.get("SIZE", "3")) * 1e6)
    keep = int(os.environ.get("KEEP", "6"))
    os.makedirs(top, exist_ok=True)
    step = 0
    while True:
        due = time.monotonic() + interval
        step += 1
        save(f"{top}/step-{step}", step, size, interval * 2 / 3 / FILES / PIECES)
        if step == 1:
            state.ready()
        shutil.rmtree(f"{top}/step-{step - keep}", ignore_errors=True)
        time.sleep(max(0.0, due - time.monotonic()))


train()
