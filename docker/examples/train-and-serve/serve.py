"""Serves the model as the platform wants it: /ping and /invocations on port 8080, until SIGTERM comes."""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = os.path.join(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"), "model", "model.json")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(200 if self.path == "/ping" else 404, "")

    def do_POST(self) -> None:
        x = float(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(200, str(model["slope"] * x + model["intercept"]))

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


with open(MODEL, encoding="utf-8") as file:
    model = json.load(file)
server = ThreadingHTTPServer(("", 8080), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("serving on port 8080", flush=True)
server.serve_forever()
server.server_close()  # waits for the requests that are being answered
print("every request is answered", flush=True)
