set -e
exec python3 train.py
