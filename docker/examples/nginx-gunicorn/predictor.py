"""The model as a WSGI application: /ping says whether it can predict, /invocations takes one x a line."""

import json
import os
import time

MODEL = os.path.join(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"), "model", "model.json")
SECONDS = float(os.environ.get("PREDICT_SECONDS", "0"))  # as if the model were a large one

with open(MODEL, encoding="utf-8") as file:
    model = json.load(file)


def app(environ, start_response):
    status, text = answer(environ)
    start_response(status, [("Content-Type", "text/csv"), ("Content-Length", str(len(text)))])
    return [text.encode()]


def answer(environ):
    request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
    if request == "GET /ping":
        return "200 OK", ""
    if request != "POST /invocations":
        return "404 Not Found", ""
    try:
        numbers = [float(line) for line in environ["wsgi.input"].read().split()]
    except ValueError as error:
        return "400 Bad Request", f"{error}: expected one number a line\n"
    print(f"to predict: {len(numbers)}", flush=True)
    time.sleep(SECONDS)
    return "200 OK", "".join(f"{model['slope'] * x + model['intercept']:.2f}\n" for x in numbers)
