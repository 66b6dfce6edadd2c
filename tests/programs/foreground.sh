# A script with a trap, which it cannot run before its program in the foreground has ended.
trap 'echo TERM >> "$STATE/trapped"' TERM
python3 "${PROGRAMS:-$(dirname "$0")}/saver.py" "$@"
echo "$?" > "$STATE/next"
