#!/bin/bash
python3 train.py | tee log
exit "${PIPESTATUS[0]}"
