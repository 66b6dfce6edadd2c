"""Trains a small network on all hosts of a job, from where the last run ended; a stop ends it on all at the same step."""

# ruff: noqa: E402
from __future__ import annotations

import os
import socket
import sys

from smentry.training import GracefulStop, report_failure

stop = GracefulStop()  # before `import torch`, which takes seconds

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from smentry.training.pytorch import AgreedStop, TrainingState

BASE = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")
EPOCHS = int(os.environ.get("EPOCHS", "6"))
PAUSE = float(os.environ.get("PAUSE", "0"))
GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if GPU else torch.device("cpu")


def train(agreed: AgreedStop) -> None:
    # The gradients of three ranks and more are not always summed in the same order: this keeps that out of the digits shown.
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    points = torch.rand(2048, 4)
    data = TensorDataset(points, points.sin().sum(dim=1, keepdim=True))
    sampler = DistributedSampler(data, seed=0)
    loader = DataLoader(data, batch_size=8, sampler=sampler)
    network = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1)).to(DEVICE)
    model = DistributedDataParallel(network)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    state = TrainingState(os.path.join(BASE, "checkpoints"), agreed, model=network, optimizer=optimizer)
    if state.load():
        say(f"goes on after step {state.step}")
    while state.epoch < EPOCHS and not agreed.requested:
        sampler.set_epoch(state.epoch)
        for inputs, expected in state.steps(loader):
            stop.wait(PAUSE)  # a step takes its time
            optimizer.zero_grad()
            nn.functional.mse_loss(model(inputs.to(DEVICE)), expected.to(DEVICE)).backward()
            optimizer.step()
        state.save()
        say(f"saved after step {state.step}")

    if agreed.requested:
        say(f"{agreed.reason}: {agreed.seconds_left:.0f} s to spare")
        return
    with torch.no_grad():
        loss = nn.functional.mse_loss(model(data.tensors[0].to(DEVICE)), data.tensors[1].to(DEVICE))
    say(f"loss {loss.item():.9f} after step {state.step}")
    if dist.get_rank() == 0:
        os.makedirs(os.path.join(BASE, "model"), exist_ok=True)
        torch.save(network.state_dict(), os.path.join(BASE, "model", "model.pt"))


def say(what: str) -> None:
    # In one piece: ranks write to the same pipe, and print() writes the end of the line separately.
    sys.stdout.write(f"rank {dist.get_rank()} of {dist.get_world_size()} on {socket.gethostname()}: {what}\n")
    sys.stdout.flush()


try:
    if GPU:
        torch.cuda.set_device(DEVICE)
    dist.init_process_group("nccl" if GPU else "gloo")
    with AgreedStop(stop) as agreed:
        ranks = torch.tensor([1.0, float(dist.get_rank())], device=DEVICE)
        dist.all_reduce(ranks)
        say(f"{ranks[0]:.0f} ranks, the sum of their numbers is {ranks[1]:.0f}")
        train(agreed)
    dist.destroy_process_group()
except Exception as error:
    report_failure(error)
    raise
