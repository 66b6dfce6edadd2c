"""Takes batches from a data loader with four workers, stops in mid-epoch, and saves how far it came."""

import os
import sys
import time

from smentry.training import GracefulStop, latest_checkpoint, save_checkpoint

STATE = os.environ["STATE"]
AFTER = int(os.environ["AFTER"])
"""After how many batches it says that it may be stopped."""

with GracefulStop() as stop:
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Slow(Dataset):
        def __len__(self) -> int:
            return 1_000_000

        def __getitem__(self, index: int) -> torch.Tensor:
            time.sleep(0.01)
            return torch.tensor([float(index)], dtype=torch.float64)

    loader = DataLoader(Slow(), batch_size=8, num_workers=4, shuffle=False)
    total, step = torch.zeros(1, dtype=torch.float64), 0
    steps = stop.steps(loader)
    for batch in steps:
        total += batch.sum()
        step += 1
        if step == AFTER:
            open(os.path.join(STATE, "ready"), "x").close()

    path = save_checkpoint(
        os.path.join(STATE, "checkpoints"), lambda path: torch.save({"step": step, "total": total}, path), step=step
    )
    assert path == latest_checkpoint(os.path.join(STATE, "checkpoints"))
    saved = torch.load(path, weights_only=True)
    numbers = step * 8
    assert saved["step"] == step
    assert saved["total"].item() == numbers * (numbers - 1) / 2, "a batch is missing"
    assert not steps.complete
    print(f"{stop.reason}: saved after batch {step}, {stop.seconds_left:.0f} s to spare", flush=True)
    sys.exit(0 if stop.requested else 1)
