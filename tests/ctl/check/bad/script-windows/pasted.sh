#!/bin/sh
set -e
if true; then
    exec python3 train.py
fi
