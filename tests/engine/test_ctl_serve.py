"""`smentryctl serve` on the examples, and on servers that do what the platform does not want."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from running import LIMIT, wait_until

from .containers import PLAIN, ROOT, build, docker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = ROOT / "docker/examples"
CLASSIC, COMPANION, BOTH = "bring-your-own", "nginx-gunicorn", "train-and-serve"
ODD = "smentry-test-ctl-serve"
SERVER = '''
"""A server that its variables make a bad one."""
import os, signal, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def seconds(name):
    return float(os.environ.get(name, "0"))

class Handler(BaseHTTPRequestHandler):
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        time.sleep(seconds("PING_SECONDS"))
        self.answer(int(os.environ.get("PING", "200")), b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        print("asked with", self.headers["Content-Type"], self.headers["Accept"], flush=True)
        if "CRASH" in os.environ:
            os._exit(7)
        time.sleep(seconds("PREDICT_SECONDS"))
        self.answer(int(os.environ.get("STATUS", "200")), body[::-1])

print(sys.argv[1:], sorted(os.listdir("/opt/ml/model")) if os.path.exists("/opt/ml/model") else None, flush=True)
if "WRITE" in os.environ:
    open("/opt/ml/model/cache", "w")
if "IGNORE" in os.environ:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
ThreadingHTTPServer(("0.0.0.0", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
'''


def image_of(example: str) -> str:
    return f"{ODD}-{example}"


@pytest.fixture(scope="module", autouse=True)
def images(image: str, base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The examples, and the bad server."""
    for example in (CLASSIC, COMPANION, BOTH):
        build(image_of(example), EXAMPLES / example / "Dockerfile", EXAMPLES / example, SMENTRY_IMAGE=PLAIN)
    directory = tmp_path_factory.mktemp("odd")
    (directory / "server.py").write_text(SERVER, encoding="utf-8")
    text = f'FROM {base}\nCOPY server.py /server.py\nENTRYPOINT ["python3", "/server.py"]\n'
    (directory / "Dockerfile").write_text(text, encoding="utf-8")
    build(ODD, directory / "Dockerfile", directory)
    yield
    docker("rmi", "--force", ODD, *map(image_of, (CLASSIC, COMPANION, BOTH)), check=False)


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    path = tmp_path / "points.csv"
    path.write_text("0.5\n1\n", encoding="utf-8")
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model.tar.gz, as training leaves it."""
    path = tmp_path / "model.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo("./model.json")
        data = b'{"slope": 3.0, "intercept": -1.0}'
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return path


def command(*words: object, **variables: object) -> list[str]:
    """`smentryctl serve …`, with variables of the container."""
    given = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    return [sys.executable, "-m", "smentry.ctl", "serve", *map(str, words), *given]


def serve(*words: object, **variables: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words, **variables),
        capture_output=True,
        text=True,
        timeout=3 * LIMIT,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def seen(*words: object, **variables: object) -> dict[str, Any]:
    """The report as JSON."""
    ran = serve("--json", *words, **variables)
    assert ran.stdout, ran.stderr
    report: dict[str, Any] = json.loads(ran.stdout)
    assert ran.returncode == (1 if report["findings"] else 0), ran.stderr
    return {**report, "log": ran.stderr}


def left_over() -> str:
    return docker("ps", "--all", "--quiet", "--filter", "label=smentryctl", "--filter", f"ancestor={ODD}").stdout


@pytest.mark.parametrize("example", [CLASSIC, COMPANION])
def test_a_good_endpoint_answers_what_was_in_flight(example: str, model: Path, request_file: Path) -> None:
    # One request only: gunicorn's other worker answers the pings.
    ran = serve(image_of(example), "--model", model, "--request", request_file, PREDICT_SECONDS=4)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    *_, ping, answers, stop, verdict = ran.stdout.splitlines()
    assert re.fullmatch(r"/ping +200 after \d+\.\d s; (\d+) of \1 pings 200 within 2 s, slowest .*", ping)
    assert re.fullmatch(r"/invocations +200 in ([4-9]|\d\d)\.\d+ s.*, 10 bytes of text/csv: 0\.50 2\.00", answers)
    assert re.fullmatch(r"SIGTERM +exit code 0 after [\d.]+ s of 30 s; 1 in flight, answered", stop)
    assert verdict == "as the platform wants it"
    assert "server | to predict: 2\n" in ran.stdout


def test_an_image_for_both_verbs_serves_a_directory_too(tmp_path: Path) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "model.json").write_text('{"slope": 3.0, "intercept": -1.0}', encoding="utf-8")
    (tmp_path / "x").write_text("0.5", encoding="utf-8")
    ran = serve(image_of(BOTH), "--model", directory, "--request", tmp_path / "x")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"\n/invocations  200 in .*, 3 bytes: 0.5\n", ran.stdout)
    assert re.search(r"\nSIGTERM       exit code 0 after ", ran.stdout)


def test_the_container_sees_what_hosting_gives_it(model: Path, request_file: Path) -> None:
    report = seen(ODD, "--model", model, "--request", request_file, "--accept", "text/plain", "--port", 8123, WRITE=1)
    assert "['serve'] ['model.json']" in report["log"]
    assert "Read-only file system: '/opt/ml/model/cache'" in report["log"]
    (finding,) = report["findings"]
    assert re.fullmatch(
        "the container ended with exit code 1, .* s after its start, before /ping answered 200: .*", finding
    )
    report = seen(ODD, "--request", request_file, "--accept", "text/plain", "--port", 8123)
    assert "['serve'] None" in report["log"]
    assert "asked with text/csv text/plain" in report["log"]
    assert report["invocations"][0]["bytes"] == 6


def test_a_server_that_answers_nobody_when_it_is_told_to_stop(request_file: Path) -> None:
    report = seen(ODD, "--request", request_file, "--concurrent", 3, PREDICT_SECONDS=4)
    assert [answer["status"] for answer in report["invocations"]] == [200] * 3
    assert [answer["status"] for answer in report["stop"]["in_flight"]] == [None] * 3
    (finding,) = report["findings"]
    assert finding.startswith("3 of 3 requests in flight at SIGTERM got no answer")
    assert report["exit_code"] == 0


def test_a_server_that_answers_with_an_error(request_file: Path) -> None:
    ran = serve(ODD, "--request", request_file, STATUS=500)
    assert ran.returncode == 1
    assert "\nfinding: /invocations answered 500: 1 5.0: the caller gets a ModelError\n" in ran.stdout


def test_a_ping_that_is_too_slow_or_not_200_is_none() -> None:
    # Long enough for a busy machine to start the server: what is said is of the last ping.
    report = seen(ODD, "--startup-limit", "10s", PING_SECONDS=2.5)
    assert report["findings"] == [
        "/ping did not answer 200 within 10 s of the start (last: no answer within 2 s), and the platform gives up then: "
        "each ping must be answered within 2 s"
    ]
    (finding,) = seen(ODD, "--startup-limit", "10s", PING=503)["findings"]
    assert "(last: 503)" in finding


def test_a_server_that_crashes_at_a_request(request_file: Path) -> None:
    report = seen(ODD, "--request", request_file, CRASH=1)
    assert report["stop"] is None
    assert report["exit_code"] == 7
    assert any("the connection was closed without an answer" in finding for finding in report["findings"])
    assert any("ended by itself with exit code 7" in finding for finding in report["findings"])


def test_a_server_that_ignores_sigterm_is_killed() -> None:
    report = seen(ODD, "--stop-timeout", "3s", IGNORE=1)
    assert report["stop"]["killed"]
    assert 3 <= report["stop"]["seconds"] < LIMIT
    assert report["exit_code"] == 137
    assert report["findings"] == [
        "the container did not end within 3 s of SIGTERM and was killed: PID 1 must handle SIGTERM, or pass it on"
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_interrupted_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            command(ODD, PING=503), stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": str(tmp_path)}
        )
        wait_until(lambda: "GET /ping" in (tmp_path / "log").read_text(encoding="utf-8"), "the server")
        assert left_over()
        process.send_signal(number)
        assert process.wait(LIMIT) == 130
    assert not left_over()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_an_image_without_the_program_is_an_endpoint_that_fails(base: str) -> None:
    ran = serve(base)
    assert ran.returncode == 1
    assert "smentryctl: server cannot be started: 'serve' is not in the image" in ran.stderr
    assert "\nfinding: the container ended with exit code 127, " in ran.stdout


def test_what_cannot_be_started_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_text("not one", encoding="utf-8")
    ran = serve(ODD, "--model", tmp_path / "model.tar.gz")
    assert ran.returncode == 2
    assert ran.stderr == f"smentryctl: --model {tmp_path}/model.tar.gz is no tar archive: it begins with b'not one'\n"
    ran = serve(ODD, "--request", tmp_path / "none")
    assert ran.returncode == 2
    assert ran.stderr == f"smentryctl: --request {tmp_path}/none cannot be read: no such file or directory\n"
