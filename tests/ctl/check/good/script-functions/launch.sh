#!/bin/bash
main() {
    ( cd /app && python3 train.py )
    echo "trained"
}

function report { echo "report: $1" | tee -a /tmp/report; }

values=(--epochs 30 --name "a (b) & c")
while read -r line; do echo "$line"; done < <(ls /opt/ml/input/data)
report "$(printf '%s' "${values[@]}")"
main "${values[@]}"
