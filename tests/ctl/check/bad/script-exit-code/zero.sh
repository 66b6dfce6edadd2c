#!/bin/sh
accelerate launch train.py
exit 0
