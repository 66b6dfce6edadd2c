"""A program that installs its handler after $LATE (0.3) seconds; with $AFTER, when that file is there.

`early` is written before that, `ready` after. It then saves as saver.py does.
"""

import os
import time

import state

state.note("early")
if "AFTER" in os.environ:
    while not os.path.exists(os.path.join(state.DIRECTORY, os.environ["AFTER"])):
        time.sleep(0.01)
time.sleep(float(os.environ.get("LATE", "0.3")))
import saver  # noqa: F401, E402
