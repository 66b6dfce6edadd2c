"""Write what it was started with to the file $DUMP: arguments, working directory and environment."""

import json
import os
import sys

with open(os.environ["DUMP"], "w") as file:
    environment = {os.fsdecode(name): os.fsdecode(value) for name, value in os.environb.items()}
    json.dump({"argv": sys.argv, "directory": os.getcwd(), "environment": environment}, file)
