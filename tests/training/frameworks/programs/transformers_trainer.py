"""A small model that transformers' Trainer trains: three epochs of 13 batches, three to a step, the last step of an epoch one.

Its argument is JSON: `directory` (checkpoints), `result` (a file for what it comes to), `arguments` (for the Trainer), and
what is to happen: `stop_at`: forward pass at which SIGTERM comes, on rank `stop_rank`; or `wait_at`: one at which it
writes the file `ready` in $STATE and waits for SIGTERM; `kill_at`: step in whose checkpoint the optimizer is half written at
SIGKILL; `anew`: it does not go on from a checkpoint.
"""

import hashlib
import json
import os
import signal
import sys

from smentry.training import GracefulStop

if __name__ == "__main__":
    STOP = GracefulStop()  # before the imports that take long

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

from smentry.training.transformers import SaveOnStop


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 52 * int(os.environ.get("WORLD_SIZE", "1"))

    def __getitem__(self, index):
        made = torch.Generator().manual_seed(index)
        return {"x": torch.randn(8, generator=made), "labels": torch.randn(1, generator=made)}


class Model(nn.Module):
    def __init__(self, happen):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
        self.passes = 0
        self.happen = happen

    def forward(self, x, labels):
        if self.training:
            self.passes += 1
            self.happen(self.passes)
        found = self.layers(x)
        return {"loss": nn.functional.mse_loss(found, labels), "logits": found}


class Saves(TrainerCallback):
    def __init__(self, saves):
        self.saves = saves

    def on_save(self, args, state, control, **_):
        self.saves.append(state.global_step)


def kill_in_save(step):
    """SIGKILL in the middle of what is written of the optimizer in the checkpoint of this step."""
    save = torch.save

    def half(found, path, *more, **others):
        save(found, path, *more, **others)
        if str(path).endswith(f"checkpoint-{step}/optimizer.pt"):
            os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = half


def main(asked, stop=None):
    stop = stop or GracefulStop()
    rank = int(os.environ.get("RANK", "0"))

    def happen(passes):
        if passes == asked.get("stop_at") and asked.get("stop_rank", rank) == rank:
            os.kill(os.getpid(), signal.SIGTERM)
        if passes == asked.get("wait_at"):
            with open(os.path.join(os.environ["STATE"], "ready"), "w"):
                pass
            assert stop.wait(60)

    set_seed(7)
    model = Model(happen)
    if "kill_at" in asked:
        kill_in_save(asked["kill_at"])
    args = TrainingArguments(
        output_dir=asked["directory"],
        num_train_epochs=3,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=3,
        learning_rate=0.05,
        warmup_steps=2,
        logging_steps=1,
        save_steps=4,
        save_total_limit=2,
        save_on_each_node=asked.get("hosts", False),
        dataloader_num_workers=2,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        seed=7,
        **{"save_strategy": "steps", **asked.get("arguments", {})},
    )
    saver = SaveOnStop(stop)
    saves = []
    trainer = Trainer(model, args, train_dataset=Data(), eval_dataset=Data(), callbacks=[saver, Saves(saves)])
    latest = None if asked.get("anew") else saver.latest_checkpoint(args.output_dir)
    trainer.train(resume_from_checkpoint=latest)
    weights = b"".join(value.detach().numpy().tobytes() for value in model.state_dict().values())
    result = {
        "from": latest and os.path.basename(latest),
        "step": trainer.state.global_step,
        "passes": model.passes,
        "stopped": stop.requested,
        "weights": hashlib.sha256(weights).hexdigest(),
        "evaluated": [entry["step"] for entry in trainer.state.log_history if "eval_loss" in entry],
        "saved": saves,
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
    }
    with open(f"{asked['result']}.{rank}", "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), STOP)
