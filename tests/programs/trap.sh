# A script that knows how to stop: it passes SIGTERM on itself and waits.
python3 "${PROGRAMS:-$(dirname "$0")}/saver.py" "$@" &
child=$!
trap 'echo TERM >> "$STATE/trapped"; kill -TERM "$child"' TERM
wait "$child"          # ends with the trap
wait "$child"
echo "$?" > "$STATE/next"
