"""A rank that says who it is and what all ranks' numbers sum up to; `sums.py SAVED` then saves at a stop, in seconds."""

import json
import os
import signal
import sys
import time

import torch
import torch.distributed

told = []
signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
torch.distributed.init_process_group("gloo")
numbers = torch.tensor([torch.distributed.get_rank() + 1])
torch.distributed.all_reduce(numbers)
names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
said = {"sum": int(numbers), "flags": sys.flags.optimize, **{name: os.environ[name] for name in names}}
# In one piece: a line and its end are two writes of print, and several ranks write.
sys.stdout.write(f"{json.dumps(said)}\n")
sys.stdout.flush()
if len(sys.argv) > 1:
    while not told:
        time.sleep(0.05)
    time.sleep(3)
    with open(f"{sys.argv[1]}-{os.environ['RANK']}", "w") as file:
        file.write("saved")
torch.distributed.destroy_process_group()
