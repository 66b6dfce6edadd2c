#!/bin/sh
kill -USR1 "$SMENTRY_PID"
