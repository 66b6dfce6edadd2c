"""A program that forks until the kernel says no, or $FORKS (1000) times; then `forked` is how often, and why."""

import errno
import os
import signal

import state

count = 0
reason = "all"
try:
    while count < int(os.environ.get("FORKS", "1000")):
        if os.fork() == 0:
            signal.pause()
        count += 1
except OSError as error:
    reason = errno.errorcode[error.errno or 0]
state.note("forked", f"{count} {reason}")
state.ready()
signal.pause()
