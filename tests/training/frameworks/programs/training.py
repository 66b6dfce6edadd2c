"""A small training: a network with dropout, data that is different each time it is read, a loader that shuffles."""

import hashlib
import os
import random
import signal
import time

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torch.utils.data.distributed import DistributedSampler

from smentry.training.pytorch import AgreedStop, TrainingState


class Numbers(Dataset):
    """Numbers, with noise from the generators of whichever process reads them."""

    def __init__(self, samples: int, noise: bool, seconds: float) -> None:
        self.samples, self.noise, self.seconds = samples, noise, seconds

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(self.seconds)
        noise = [torch.rand(()).item(), random.random()] if self.noise else [0.5, 0.5]
        return torch.tensor([index / self.samples, *noise])


class Job:
    """The training; with `stop_at` it is asked to stop in that step."""

    def __init__(
        self,
        directory,
        *,
        stop=None,
        stop_at: int = 0,
        workers: int = 0,
        persistent: bool = False,
        generator: bool = False,
        replacement: bool = False,
        method: str = "fork",
        epochs: int = 3,
        samples: int = 24,
        noise: bool = True,
        seconds: float = 0.0,
        in_step=None,
        before_save=None,
    ) -> None:
        self.directory, self.stop_at, self.epochs = directory, stop_at, epochs
        self.stop, self.in_step, self.before_save = stop, in_step, before_save
        torch.manual_seed(1)
        random.seed(2)
        ranks = dist.get_world_size() if dist.is_initialized() else 1
        self.model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
        self.wrapped = torch.nn.parallel.DistributedDataParallel(self.model) if ranks > 1 else self.model
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 5)
        data = Numbers(samples, noise, seconds)
        self.sampler = None
        if replacement:
            sampler = RandomSampler(data, replacement=True, num_samples=samples // ranks)
        elif ranks > 1 and not generator:
            sampler = self.sampler = DistributedSampler(data)
        else:
            sampler = None
            if ranks > 1:  # each rank has half of the data
                data = torch.utils.data.Subset(data, range(dist.get_rank(), samples, ranks))
        self.loader = DataLoader(
            data,
            batch_size=4 // ranks,
            sampler=sampler,
            shuffle=sampler is None,
            generator=torch.Generator().manual_seed(3) if generator else None,
            num_workers=workers,
            persistent_workers=persistent,
            multiprocessing_context=method if workers else None,
        )
        torch.manual_seed(4 + (dist.get_rank() if dist.is_initialized() else 0))
        self.loss = 0.0
        self.state = None

    def run(self) -> dict:
        with AgreedStop(self.stop) as stop:
            parts = {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler}
            state = self.state = TrainingState(self.directory, stop, **parts)
            state.load()
            while state.epoch < self.epochs and not stop.requested:
                if self.sampler is not None:
                    self.sampler.set_epoch(state.epoch)
                for batch in state.steps(self.loader):
                    self.optimizer.zero_grad()
                    loss = (self.wrapped(batch) - batch.sum(1, keepdim=True)).square().mean()
                    loss.backward()
                    self.optimizer.step()
                    self.scheduler.step()
                    self.loss = loss.item()
                    if state.step == self.stop_at:
                        os.kill(os.getpid(), signal.SIGTERM)
                    if self.in_step:
                        self.in_step(state)
                if self.before_save:
                    self.before_save(state, stop)
                state.save()
        return self.outcome()

    def outcome(self) -> dict:
        numbers = b"".join(each.detach().numpy().tobytes() for each in self.model.parameters())
        return {"step": self.state.step, "loss": self.loss, "parameters": hashlib.sha256(numbers).hexdigest()}
