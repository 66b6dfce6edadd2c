"""The small training with a loader of $WORKERS worker processes, made by $METHOD, until it is asked to stop in mid-epoch.

Rank n writes `ready-n` in step $READY_AT, and `saved-n` when everything is saved, which takes $SAVE_SECONDS.
"""

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

from smentry.training import GracefulStop

METHOD = os.environ.get("METHOD", "fork")
STATE = Path(os.environ["STATE"])


def note(name: str, value: object) -> None:
    path = STATE / f"{name}-{os.environ.get('RANK', '0')}"
    path.with_suffix(".new").write_text(json.dumps(value))
    path.with_suffix(".new").rename(path)


def in_step(state) -> None:
    if state.step == int(os.environ["READY_AT"]):
        note("ready", os.getpid())


def before_save(state, stop) -> None:
    found = {"step": state.step, "batch": state.batch, "reason": stop.reason, "left": stop.seconds_left}
    time.sleep(float(os.environ["SAVE_SECONDS"]))
    note("saving", found)


def main() -> None:
    stop = GracefulStop()
    import torch.distributed as dist
    from training import Job

    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    job = Job(
        STATE / "checkpoints",
        stop=stop,
        workers=int(os.environ["WORKERS"]),
        method=METHOD,
        persistent="PERSISTENT" in os.environ,
        samples=20000,
        seconds=0.002,
        in_step=in_step,
        before_save=before_save,
    )
    note("saved", job.run())
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    if METHOD == "forkserver":
        multiprocessing.set_forkserver_preload(["torch"])
    main()
    sys.exit(0)
