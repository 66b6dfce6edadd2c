#!/usr/bin/env bash
# Hands SIGTERM on, and waits until the model has been saved.
forward() {
    trap '' TERM   # once is enough
    kill -TERM "$pid"
}
trap forward TERM INT
trap 'kill -TERM "$logger"; sleep 5; kill -9 "$logger"' EXIT
tail -F /var/log/gpu.log & logger=$!
python3 train.py --name "it's & that" &
pid=$!
wait "$pid"
wait "$pid"
