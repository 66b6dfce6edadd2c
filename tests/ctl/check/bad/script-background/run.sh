#!/bin/bash
set -e
cd /app
CUDA_VISIBLE_DEVICES=0 nohup python3 -u train.py > /opt/ml/output/log.txt 2>&1 &
echo "started as $!"
