"""A small model that Lightning's Trainer trains: three epochs of 13 batches, three to a step, with a schedule and validation.

It is of $LIGHTNING, `lightning.pytorch` by default. Its argument is JSON: `directory` (checkpoints), `result` (a file for
what it comes to), settings, and what is to happen: `stop_at`: training step at which SIGTERM comes, on rank `stop_rank`; or
`wait_at`: one at which it writes the file `ready` in $STATE and waits for SIGTERM; `kill_at`: one after which the next
checkpoint is half written at SIGKILL.
"""

import hashlib
import importlib
import json
import os
import random
import signal
import sys

from smentry.training import GracefulStop

if __name__ == "__main__":
    STOP = GracefulStop()  # before the imports that take long

import torch
from fsspec.implementations.local import LocalFileOpener
from torch import nn

PACKAGE = importlib.import_module(os.environ.get("LIGHTNING", "lightning.pytorch"))

from smentry.training.lightning import SaveOnStop  # noqa: E402


class Data(torch.utils.data.Dataset):
    """With `noise` what it gives is different each time: it is drawn from the random numbers of a loader's worker."""

    def __init__(self, batches, noise=0.0):
        self.size = batches * 4 * int(os.environ.get("WORLD_SIZE", "1"))
        self.noise = noise

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        made = torch.Generator().manual_seed(index)
        return torch.randn(8, generator=made) + self.noise * torch.randn(8), self.noise * random.random() + torch.randn(
            1, generator=made
        )


class Model(PACKAGE.LightningModule):
    def __init__(self, happen):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
        self.passes = self.validated = 0
        self.losses = []
        self.happen = happen

    def training_step(self, batch, batch_idx):
        self.passes += 1
        self.happen(self.passes)
        loss = nn.functional.mse_loss(self.layers(batch[0]), batch[1])
        self.losses.append((self.current_epoch, batch_idx, float(loss.detach())))
        return loss

    def validation_step(self, batch, batch_idx):
        self.validated += 1

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.05)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.7)]


def kill_in_save():
    """SIGKILL in the middle of the next checkpoint that is written."""
    commit = LocalFileOpener.commit

    def half(self):
        commit(self)
        os.truncate(self.path, os.path.getsize(self.path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    LocalFileOpener.commit = half


def main(asked, stop=None):
    stop = stop or GracefulStop()
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    hosts = size if asked.get("hosts") else 1

    def happen(passes):
        if passes == asked.get("stop_at") and asked.get("stop_rank", rank) == rank:
            os.kill(os.getpid(), signal.SIGTERM)
        if passes == asked.get("kill_at"):
            kill_in_save()
        if passes == asked.get("wait_at"):
            with open(os.path.join(os.environ["STATE"], "ready"), "w"):
                pass
            assert stop.wait(60)

    PACKAGE.seed_everything(7 + rank, verbose=False)
    model = Model(happen)
    saver = SaveOnStop(stop, asked["directory"], every=asked.get("every"))
    callbacks = [saver]
    if "checkpoints" in asked:
        ours = {"dirpath": asked["checkpoints"], "filename": "{step}", "every_n_train_steps": 1, "save_top_k": -1}
        callbacks.append(PACKAGE.callbacks.ModelCheckpoint(**ours))
    trainer = PACKAGE.Trainer(
        max_epochs=3,
        min_epochs=2,
        accumulate_grad_batches=3,
        accelerator="cpu",
        devices=size // hosts,
        num_nodes=hosts,
        strategy="ddp" if size > 1 else "auto",
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=len(callbacks) > 1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if asked.get("join"):
        torch.distributed.init_process_group("gloo")
    latest = asked.get("from") or saver.latest_checkpoint()
    workers = {"num_workers": asked.get("workers", 2), "persistent_workers": asked.get("persistent", False)}
    loader = torch.utils.data.DataLoader(Data(13, asked.get("noise", 0.1)), batch_size=4, shuffle=True, **workers)
    validation = torch.utils.data.DataLoader(Data(2), batch_size=4)
    trainer.fit(model, loader, validation, ckpt_path=latest)
    weights = b"".join(value.detach().numpy().tobytes() for value in model.state_dict().values())
    result = {
        "from": latest and os.path.basename(os.path.dirname(latest)),
        "step": trainer.global_step,
        "epoch": trainer.current_epoch,
        "losses": model.losses,
        "validated": model.validated,
        "stopped": stop.requested,
        "handled": signal.getsignal(signal.SIGTERM) == stop._handle,
        "weights": hashlib.sha256(weights).hexdigest(),
    }
    with open(f"{asked['result']}.{rank}", "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), STOP)
