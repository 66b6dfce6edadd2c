"""Images of one's own: training in /opt/program, and nginx with gunicorn that answer every request they have accepted."""

from __future__ import annotations

import errno
import json
import re
import threading
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING, NamedTuple

import pytest
from running import LIMIT, wait_until

from .containers import PLAIN, ROOT, Container, build, docker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .containers import Engine

CLASSIC, COMPANION = "bring-your-own", "nginx-gunicorn"
EXAMPLES = ROOT / "docker/examples"
INPUT = EXAMPLES / CLASSIC / "input"
PREDICTION = 4
"""Seconds that a request takes where it is to be in flight."""


class Answer(NamedTuple):
    """What came back: the status, and the body."""

    status: int
    text: str


def image_of(example: str) -> str:
    return f"smentry-test-{example}"


@pytest.fixture(scope="module", autouse=True)
def images(image: str) -> Iterator[None]:
    """Both examples, on the image for the tests."""
    for example in (CLASSIC, COMPANION):
        directory = EXAMPLES / example
        build(image_of(example), directory / "Dockerfile", directory, SMENTRY_IMAGE=PLAIN)
    yield
    docker("rmi", "--force", image_of(CLASSIC), image_of(COMPANION), check=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model directory, as training leaves it."""
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "model.json").write_text('{"slope": 3.0, "intercept": -1.0}', encoding="utf-8")
    return directory


def serve(engine: Engine, model: Path, example: str, **variables: str) -> Container:
    """Start an example's endpoint, and wait until /ping answers."""
    container = engine.start(
        "serve", image=image_of(example), options=["--volume", f"{model}:/opt/ml/model:ro"], environment=variables
    )
    port = int(variables.get("SAGEMAKER_BIND_TO_PORT", "8080"))

    def answers() -> bool:
        assert container.runs(), container.output
        try:
            return ask(container, "GET", "/ping", port=port).status == 200
        except OSError:
            return False

    wait_until(answers, f"/ping of {example}")
    return container


def ask(container: Container, method: str, path: str, body: str = "", port: int = 8080) -> Answer:
    """One request, on a connection of its own. Raises OSError where nobody listens or the connection breaks."""
    address = container.inspect("{{.NetworkSettings.IPAddress}}")
    if not address:
        raise ConnectionRefusedError("the container has ended")
    connection = HTTPConnection(address, port, timeout=LIMIT)
    try:
        connection.request(method, path, body.encode() or None)
        response = connection.getresponse()
        return Answer(response.status, response.read().decode())
    finally:
        connection.close()


class InFlight(threading.Thread):
    """A request that is being worked on."""

    def __init__(self, container: Container) -> None:
        super().__init__(daemon=True)
        self.container = container
        self.got: Answer | OSError | None = None
        self.start()
        wait_until(lambda: "to predict: 2" in container.output, "the request at the predictor")

    def run(self) -> None:
        """Ask, and keep what comes."""
        try:
            self.got = ask(self.container, "POST", "/invocations", "0.5\n1\n")
        except OSError as error:
            self.got = error

    def answer(self) -> Answer | OSError | None:
        """What came of it."""
        self.join(LIMIT)
        return self.got


def test_train_reads_the_job_and_writes_the_model(engine: Engine, tmp_path: Path) -> None:
    written = tmp_path / "written"
    written.mkdir()
    volumes = ["--volume", f"{INPUT}:/opt/ml/input:ro", "--volume", f"{written}:/opt/ml/model"]
    container = engine.start("train", image=image_of(CLASSIC), options=volumes)
    assert container.end() == 0, container.output
    result = json.loads((written / "model.json").read_text(encoding="utf-8"))
    hyperparameters = json.loads((INPUT / "config/hyperparameters.json").read_text(encoding="utf-8"))
    assert result["epochs"] == int(hyperparameters["epochs"])
    assert (result["slope"], result["intercept"]) == (pytest.approx(3, abs=0.2), pytest.approx(-1, abs=0.1))


@pytest.mark.parametrize("example", [CLASSIC, COMPANION])
def test_an_endpoint_answers_on_8080(example: str, engine: Engine, model: Path) -> None:
    container = serve(engine, model, example)
    assert ask(container, "GET", "/ping") == (200, "")
    assert ask(container, "POST", "/invocations", "0.5\n1\n") == (200, "0.50\n2.00\n")
    assert ask(container, "POST", "/invocations", "one").status == 400
    assert ask(container, "GET", "/elsewhere").status == 404


@pytest.mark.parametrize("example", [CLASSIC, COMPANION])
def test_the_port_that_the_platform_names_is_passed_on(example: str, engine: Engine, model: Path) -> None:
    container = serve(engine, model, example, SAGEMAKER_BIND_TO_PORT="8123")
    assert ask(container, "POST", "/invocations", "1", port=8123) == (200, "2.00\n")
    with pytest.raises(ConnectionRefusedError):
        ask(container, "GET", "/ping", port=8080)


@pytest.mark.parametrize("example", [CLASSIC, COMPANION])
def test_a_request_is_answered_while_the_endpoint_is_stopped(example: str, engine: Engine, model: Path) -> None:
    container = serve(engine, model, example, PREDICT_SECONDS=str(PREDICTION))
    request = InFlight(container)
    assert container.stop(30) == 0, container.output
    assert request.answer() == (200, "0.50\n2.00\n"), container.output
    assert container.killed_by_smentry() == 0
    assert " of 30 s: " in container.last_line
    # Longer than nothing was to be done, and shorter than the 30 s after which the platform kills.
    assert container.seconds < 20


@pytest.mark.parametrize("example", [CLASSIC, COMPANION])
def test_who_comes_during_the_stop_is_refused_at_once_and_never_answered_wrongly(
    example: str, engine: Engine, model: Path
) -> None:
    container = serve(engine, model, example, PREDICT_SECONDS=str(PREDICTION))
    address = container.inspect("{{.NetworkSettings.IPAddress}}")
    request = InFlight(container)
    stopper = threading.Thread(target=container.stop, args=(30,), daemon=True)
    stopper.start()
    refused = 0
    statuses = set()
    while request.is_alive():
        connection = HTTPConnection(address, 8080, timeout=LIMIT)
        try:
            began = time.monotonic()
            connection.request("GET", "/ping")
            statuses.add(connection.getresponse().status)
        except OSError as error:
            if error.errno == errno.EHOSTUNREACH:  # the container has gone meanwhile
                break
            if not isinstance(error, (ConnectionRefusedError, ConnectionResetError)):
                raise
            refused += 1
            assert time.monotonic() - began < PREDICTION
            request.join(0.05)  # between two attempts
        finally:
            connection.close()
    stopper.join(LIMIT)
    assert request.answer() == (200, "0.50\n2.00\n"), container.output
    assert refused > 0
    assert statuses <= {200}
    assert container.code == 0


def test_an_endpoint_without_a_request_stops_at_once(engine: Engine, model: Path) -> None:
    for example in (CLASSIC, COMPANION):
        container = serve(engine, model, example)
        assert container.stop(30) == 0, container.output
        assert re.search(r"done in [\d.]+ s of 30 s: ", container.last_line), container.output
        assert container.seconds < 10
