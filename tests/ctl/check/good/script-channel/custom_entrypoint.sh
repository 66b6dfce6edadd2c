#!/bin/bash
# Came out of a bucket: without the executable bit.
set -eo pipefail
cd "$(dirname "$0")"
pip install --no-index -r requirements.txt
python3 train.py "$@" 2>&1 | tee /opt/ml/output/data/log.txt
aws s3 cp /opt/ml/output/data/log.txt "s3://$BUCKET/logs/$TRAINING_JOB_NAME.txt"
echo "done"
