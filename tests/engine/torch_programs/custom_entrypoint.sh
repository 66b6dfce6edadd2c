#!/bin/sh
# No `exec`: the line after it is wanted, also after a stop.
python3 "$(dirname "$0")/loader.py"
status=$?
echo "loader.py ended with $status" >"$STATE/ended"
exit "$status"
