#!/bin/sh
exec python /app/train.py
