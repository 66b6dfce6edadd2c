#!/bin/sh
trap "" SIGTERM
exec python3 /app/train.py
