#!/bin/bash
# Came out of a bucket: without the executable bit, in a directory that cannot be written to.
mkdir -p /opt/ml/model
trap 'stopped=yes' TERM
epoch=0
until [ "$stopped" ] || [ "$epoch" = "${EPOCHS:-600}" ]; do
    epoch=$((epoch + 1))
    echo "epoch $epoch with arguments: $*"
    sleep 1
done
echo "$epoch epochs" > /opt/ml/model/result.txt
echo "saved after epoch $epoch"
