"""A program that has no handler but blocks SIGTERM and waits: by sigwait(2), $SIGNALFD: by signalfd(2)."""

import ctypes
import os
import signal
import time

import state

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
if os.environ.get("SIGNALFD"):
    wanted = (ctypes.c_ulong * 16)(1 << (signal.SIGTERM - 1))
    descriptor = ctypes.CDLL(None).signalfd(-1, wanted, 0)
    state.ready()
    number = int.from_bytes(os.read(descriptor, 128)[:4], "little")
else:
    state.ready()
    number = signal.sigwait([signal.SIGTERM])
state.add("told", signal.Signals(number).name)
time.sleep(state.SECONDS)
state.note("saved", signal.Signals(number).name)
