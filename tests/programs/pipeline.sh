# The program's output goes through a pipeline; the log must be whole.
python3 "${PROGRAMS:-$(dirname "$0")}/saver.py" "$@" | tee "$STATE/log"
echo done > "$STATE/next"
