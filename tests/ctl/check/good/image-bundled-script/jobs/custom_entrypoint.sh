#!/bin/sh
set -e
exec python /mydir/train.py
