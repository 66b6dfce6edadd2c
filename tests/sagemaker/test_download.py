"""Code from S3, fetched from a server that speaks it, which these tests start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest
from container import Tree

from tests.sagemaker.submitted import DIRECTORY, SOURCES, archive, directory, ran, train

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that speaks S3, with the bucket `jobs` and some objects in it; its URL."""
    pytest.importorskip("boto3", reason="the extra s3 is not installed")
    server = pytest.importorskip("moto.server", reason="moto is not installed")
    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    url = f"http://{host}:{port}"
    # What another file's server was given is in the same memory.
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST"), timeout=30).close()
    code = "import boto3, os, sys; s3 = boto3.client('s3', endpoint_url=sys.argv[1])\n"
    code += "s3.create_bucket(Bucket='jobs', CreateBucketConfiguration={'LocationConstraint': 'eu-west-1'})\n"
    code += "for path in sys.argv[2:]: s3.upload_file(path, 'jobs', 'job 1/ü?#/' + os.path.basename(path))\n"
    paths = [
        archive(tmp_path_factory.mktemp("s3") / "sourcedir.tar.gz", SOURCES),
        directory(tmp_path_factory.mktemp("t"), SOURCES) / "run.sh",
    ]
    environment = {**os.environ, **ACCOUNT, "AWS_DEFAULT_REGION": "eu-west-1"}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, url, *map(str, paths)], env=environment, check=True, timeout=60
    )
    yield url
    running.stop()


KEY = "s3://jobs/job 1/ü?#/sourcedir.tar.gz"


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "S3_ENDPOINT_URL"])
def test_an_object_of_s3_is_fetched(variable: str, s3: str, tree: Tree) -> None:
    result = train(tree, KEY, **ACCOUNT, **{variable: s3})
    assert ran(result, tree)
    assert f"code: fetching {KEY}" in result.lines


def test_the_name_of_a_host_is_no_obstacle(s3: str, tree: Tree) -> None:
    assert ran(train(tree, KEY, **ACCOUNT, AWS_ENDPOINT_URL=s3.replace("127.0.0.1", "localhost")), tree)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            "s3://jobs/nowhere.tar.gz",
            "S3 says Not Found (404): there is no such object, or the job's role may not see it",
        ),
        ("s3://no-such-bucket-at-all/x.tar.gz", "(404)"),
        ("s3://jobs/job 1/ü?#/run.sh", "is no tar archive: it begins with"),
    ],
)
def test_what_s3_does_not_have_is_one_line(key: str, message: str, s3: str, tree: Tree) -> None:
    result = train(tree, key, **ACCOUNT, AWS_ENDPOINT_URL=s3)
    assert result.code == 1
    (line,) = [line for line in result.lines if line.startswith("code: SAGEMAKER_SUBMIT_DIRECTORY")]
    assert line.startswith(f"code: SAGEMAKER_SUBMIT_DIRECTORY: {key}: ")
    assert message in line
    assert os.listdir(tree.base / "code") == []


def test_without_credentials_it_is_one_line(s3: str, tree: Tree) -> None:
    result = train(tree, KEY, AWS_ENDPOINT_URL=s3, AWS_EC2_METADATA_DISABLED="true", HOME="/nonexistent")
    assert result.code == 1
    assert f"code: SAGEMAKER_SUBMIT_DIRECTORY: {KEY}: Unable to locate credentials" in result.lines


def test_the_password_of_an_endpoint_is_not_shown(tree: Tree) -> None:
    pytest.importorskip("boto3", reason="the extra s3 is not installed")
    result = train(tree, KEY, **ACCOUNT, AWS_ENDPOINT_URL="http://me:hunter2password@127.0.0.1:1")
    assert result.code == 1
    assert 'Could not connect to the endpoint URL: "http://me:***@127.0.0.1:1/' in result.err
    assert "hunter2" not in result.err + (tree.failure or "")


def test_without_boto3_it_says_what_to_install(tree: Tree) -> None:
    driver = (
        "import sys; sys.modules['boto3'] = None; sys.argv[0] = 'smentry'; from smentry.__main__ import main; main()"
    )
    environment = {**tree.environment, DIRECTORY: KEY, "SAGEMAKER_PROGRAM": "train.py"}
    process = subprocess.run(
        [sys.executable, "-c", driver, "train"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 1
    assert (
        f"code: SAGEMAKER_SUBMIT_DIRECTORY: {KEY}: boto3 is not installed beside smentry: pip install 'smentry[s3]'"
        in process.stderr
    )


def test_a_stop_while_a_server_does_not_answer_ends_the_job_and_the_next_start_fetches_all(tree: Tree) -> None:
    pytest.importorskip("boto3", reason="the extra s3 is not installed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        variables = {**ACCOUNT, DIRECTORY: KEY, "SAGEMAKER_PROGRAM": "train.py", "AWS_ENDPOINT_URL": url}
        with subprocess.Popen(
            [sys.executable, "-m", "smentry", "train"],
            env={**tree.environment, **variables},
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            server.settimeout(60)
            connection, _ = server.accept()
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=30)
        connection.close()
    assert process.returncode == 128 + signal.SIGTERM, err
    assert os.listdir(tree.base / "code") in ([], [".smentry-code"])
    assert ran(train(tree, archive(tree.other / "s.tar.gz", SOURCES)), tree)
