"""A program that makes $ORPHANS (100) orphans, one after another, which end at once; then it ends."""

import os

import state

for _ in range(int(os.environ.get("ORPHANS", "100"))):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    os.read(reader, 1)  # end of file: the orphan is gone too
    os.close(reader)
state.ready()
