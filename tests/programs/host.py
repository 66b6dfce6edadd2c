"""A program on one of several hosts: waits for the file `go`, then does what its argument says."""

import os
import signal
import sys
import time

STATE = os.environ["STATE"]
GLOO = "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.1]:43211"


def hang() -> None:
    """As in a collective whose other end does not answer."""
    reader, _ = os.pipe()
    os.read(reader, 1)


def save(number: int, frame: object) -> None:
    open(os.path.join(STATE, "saved"), "w").close()
    sys.exit(0)


what = sys.argv[1] if len(sys.argv) > 1 else "hang"
if what == "save":
    signal.signal(signal.SIGTERM, save)
open(os.path.join(STATE, "ready"), "w").close()
if what in ("hang", "save"):
    hang()
while not os.path.exists(os.path.join(STATE, "go")):
    time.sleep(0.02)
if what == "fail":
    raise ValueError("bad batch")
if what == "derived":
    raise RuntimeError(GLOO)
if what == "hung-up":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
