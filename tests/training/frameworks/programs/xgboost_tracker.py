"""XGBoost's tracker, through which workers find each other: writes its address to a file, and waits for them."""

import json
import os
import sys

from xgboost.tracker import RabitTracker

tracker = RabitTracker(n_workers=int(sys.argv[1]), host_ip="127.0.0.1", sortby="task")
tracker.start()
found = tracker.worker_args()
with open(sys.argv[2] + ".new", "w") as file:
    json.dump([found["dmlc_tracker_uri"], found["dmlc_tracker_port"]], file)
os.rename(sys.argv[2] + ".new", sys.argv[2])
tracker.wait_for(120)
