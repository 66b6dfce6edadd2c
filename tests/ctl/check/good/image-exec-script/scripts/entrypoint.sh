#!/usr/bin/env bash
# Prepares, and becomes the training.
set -euo pipefail
export NCCL_DEBUG=WARN
python -c 'import torch; print(torch.__version__)'
python prepare.py --out /tmp/prepared
exec torchrun --nproc_per_node="${SM_NUM_GPUS:-1}" train.py "$@"
