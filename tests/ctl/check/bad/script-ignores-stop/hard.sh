#!/bin/bash
python3 train.py &
pid=$!
trap 'kill -9 $pid' INT TERM
wait $pid
