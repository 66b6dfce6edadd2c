# A custom_entrypoint.sh without `exec`, and with something left to do after the program.
python3 "${PROGRAMS:-$(dirname "$0")}/saver.py" "$@"
echo "$?" > "$STATE/next"
