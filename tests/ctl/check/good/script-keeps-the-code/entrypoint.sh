#!/bin/sh
python3 -m trainer.main --epochs "${EPOCHS:-30}"
status=$?
mkdir -p /opt/ml/output/data
nvidia-smi > /opt/ml/output/data/gpus.txt
exit "$status"
