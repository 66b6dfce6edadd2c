#!/bin/bash
set -e
cd /app && torchrun --nproc_per_node 8 train.py 2>&1 | tee /opt/ml/output/data/log.txt
