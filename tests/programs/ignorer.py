"""A program that ignores every request to stop, and its child, which does so too."""

import os
import signal

import state

for stop in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
    signal.signal(stop, signal.SIG_IGN)
os.fork()
state.add("ignoring", str(os.getpid()))
with open(os.path.join(state.DIRECTORY, "ignoring"), encoding="utf-8") as file:
    if len(file.readlines()) == 2:
        state.ready()
while True:
    signal.pause()
