#!/bin/sh
# What the platform runs. There is no `exec` before python3: the lines after it are wanted, also after a stop.
base=${SAGEMAKER_BASE_DIR:-/opt/ml}

python3 "$(dirname "$0")/train.py"
status=$?

mkdir -p "$base/output/data"
{
    echo "train.py ended with $status"
    ls -l "$base/model"
} > "$base/output/data/summary.txt"
echo "custom_entrypoint.sh: wrote the summary, train.py ended with $status"
exit "$status"
