"""Requirements from a repository of AWS CodeArtifact, with a server that is both: the service, and the index it names."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from container import Tree

from tests.sagemaker import packages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

pytest.importorskip("boto3", reason="the extra s3 is not installed")

ARN = "arn:aws:codeartifact:eu-west-1:123456789012:repository/team/shared"
TOKEN = "t0ken-of-twelve-hours"
ACCOUNT = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_EC2_METADATA_DISABLED": "true"}


class Handler(BaseHTTPRequestHandler):
    """Answers for domain `team` of that account, and its index to whoever has the token."""

    wheel: Path

    def do_POST(self) -> None:
        right = self.path == "/v1/authorization-token?domain=team&domain-owner=123456789012"
        self.answer(json.dumps({"authorizationToken": TOKEN}).encode() if right else b"")

    def do_GET(self) -> None:
        name = self.wheel.name
        if (
            self.path.startswith("/v1/repository/endpoint?")
            and "repository=shared" in self.path
            and "format=pypi" in self.path
        ):
            where = f"http://{self.headers['Host']}/pypi/shared/"
            self.answer(json.dumps({"repositoryEndpoint": where}).encode())
        elif self.headers["Authorization"] != "Basic " + base64.b64encode(f"aws:{TOKEN}".encode()).decode():
            self.send_response(401)
            self.end_headers()
        elif self.path == "/pypi/shared/simple/needed/":
            self.answer(f'<a href="/{name}">{name}</a>'.encode(), "text/html")
        else:
            self.answer(self.wheel.read_bytes() if self.path == f"/{name}" else b"")

    def answer(self, data: bytes, kind: str = "application/json") -> None:
        self.send_response(200 if data else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """A tree with requirements, a Python of its own, and the server that both clients are sent to."""
    handler = type("_", (Handler,), {"wheel": packages.wheel(tmp_path / "wheels", "needed", "VALUE = 7\n")})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tree = Tree(tmp_path)
    offline = packages.offline(tmp_path / "nothing")
    tree.environment.update(
        {name: offline[name] for name in ("PIP_CONFIG_FILE", "PIP_NO_CACHE_DIR")},
        **ACCOUNT,
        SMENTRY_PYTHON=str(packages.python(tmp_path / "venv")),
        AWS_ENDPOINT_URL_CODEARTIFACT=f"http://127.0.0.1:{server.server_port}",
    )
    tree.put("code/train.py", "import needed; print('needed', needed.VALUE)\n")
    tree.put("code/requirements.txt", "needed\n")
    yield tree
    server.shutdown()
    server.server_close()


def test_requirements_come_from_there_and_the_token_is_not_shown(tree: Tree) -> None:
    result = tree.run("train", CA_REPOSITORY_ARN=ARN)
    assert (result.code, result.out) == (0, "needed 7\n"), result.err
    assert f"requirements: packages come from {ARN}" in result.lines
    assert TOKEN not in result.err


@pytest.mark.parametrize(
    "arn", ["x", "arn:aws:s3:eu-west-1:1:repository/team/shared", "arn:aws:codeartifact:eu-west-1:1:team"]
)
def test_what_is_no_such_name_is_refused(arn: str, tree: Tree) -> None:
    result = tree.run("train", CA_REPOSITORY_ARN=arn)
    assert result.code == 1
    expected = "expected arn:aws:codeartifact:REGION:ACCOUNT:repository/DOMAIN/REPOSITORY"
    assert f"requirements: CA_REPOSITORY_ARN: {arn}: {expected}" in result.lines


def test_a_repository_that_is_not_there_is_one_line(tree: Tree) -> None:
    result = tree.run("train", CA_REPOSITORY_ARN=ARN.replace("team", "other"))
    assert result.code == 1
    (line,) = [line for line in result.lines if line.startswith("requirements: CA_REPOSITORY_ARN")]
    assert "404" in line
