#!/bin/bash
set -u
forward() {
  kill -TERM "$child"
}
trap forward SIGTERM
python /app/train.py &
child=$!
wait "$child"
wait "$child"
code=$?
aws s3 cp /tmp/log "s3://bucket/logs/" || true
exit "$code"
