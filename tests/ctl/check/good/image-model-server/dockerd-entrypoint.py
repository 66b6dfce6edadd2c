import shlex
import subprocess
import sys

if sys.argv[1] == "serve":
    from sagemaker_inference import model_server

    model_server.start_model_server(handler_service="/home/model-server/model_handler.py:handle")
else:
    subprocess.check_call(shlex.split(" ".join(sys.argv[1:])))
