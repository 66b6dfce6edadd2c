#!/bin/bash
set -e
echo "starting"
python /app/train.py \
  --data /opt/ml/input/data/training
