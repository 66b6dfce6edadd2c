#!/bin/sh
# There is no `exec` before python3: smentry tells train.py itself, and the last lines run after it has saved.
cd "$(dirname "$0")" || exit 1
python3 train.py
status=$?
mkdir -p /opt/ml/output/data
echo "train.py ended with $status" > /opt/ml/output/data/summary.txt
echo "custom_entrypoint.sh: wrote the summary"
exit "$status"
