"""Channels out of S3, from a server that speaks it, which these tests start."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from smentry.ctl.data import pipes
from smentry.ctl.data import tree as trees
from smentry.ctl.data.channels import Entry
from smentry.ctl.data.storage import Object, Storage
from smentry.ctl.request.job import FASTFILE, GZIP, MANIFEST, PIPE, Channel, Host, Job
from smentry.errors import RefusedError
from tests.ctl.data.test_pipes import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

OBJECTS = {
    "data/": b"",
    "data/train/a.csv": b"1\n",
    "data/train/sub/ü #?.csv": b"2\n",
    "data/training/b": b"3\n",
    "m.json": json.dumps([{"prefix": "s3://jobs/data/train/"}, "sub/ü #?.csv"]).encode(),
    "gone.json": json.dumps([{"prefix": "s3://jobs/"}, "gone"]).encode(),
    "plain/x": b"4\n",
    **{f"many/{number:04}": b"" for number in range(1001)},
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a server with the bucket `jobs`."""
    boto3 = pytest.importorskip("boto3", reason="the extra ctl is not installed")
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    running = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    url = f"http://{host}:{port}"
    # What another file's server was given is in the same memory.
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST"), timeout=30).close()
    session = boto3.session.Session("a", "b", region_name="us-east-1")
    client = session.client("s3", endpoint_url=url)
    client.create_bucket(Bucket="jobs")
    for key, body in OBJECTS.items():
        client.put_object(Bucket="jobs", Key=key, Body=body)
    yield url
    running.stop()


@pytest.fixture(autouse=True)
def account(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    given = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_ENDPOINT_URL": server,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)


def lay_out(tmp_path: Path, uri: str, stored: Storage | None = None, **more: Any) -> list[trees.HostTree]:
    job = Job("j", "i", (Host("algo-1"), Host("algo-2")), channels=(Channel("c", uri, **more),))
    return trees.lay_out(job, stored or Storage(), tmp_path / "out")


def contents(directory: Path) -> dict[str, bytes]:
    return {str(each.relative_to(directory)): each.read_bytes() for each in directory.rglob("*") if each.is_file()}


def test_a_prefix_is_fetched_for_every_host(tmp_path: Path) -> None:
    for host in lay_out(tmp_path, "s3://jobs/data/train"):
        found = host.base / "input/data/c"
        assert contents(found) == {"a.csv": b"1\n", "sub/ü #?.csv": b"2\n", "training/b": b"3\n"}
        assert {oct(each.stat().st_mode) for each in found.rglob("*") if each.is_file()} == {"0o100644"}


def test_a_prefix_with_more_objects_than_a_page(tmp_path: Path) -> None:
    assert [each.key for each in Storage().objects("s3://jobs/many")] == [f"many/{number:04}" for number in range(1001)]


def test_a_manifest(tmp_path: Path) -> None:
    first, _ = lay_out(tmp_path, "s3://jobs/m.json", kind=MANIFEST)
    assert contents(first.base / "input/data/c") == {"sub/ü #?.csv": b"2\n"}


def test_fastfile_is_fetched_once(tmp_path: Path) -> None:
    first, second = lay_out(tmp_path, "s3://jobs/plain/", mode=FASTFILE)
    assert first.mounts[1] == second.mounts[1]
    assert contents(first.mounts[1].source) == {"x": b"4\n"}


def test_a_pipe_streams_the_objects(tmp_path: Path) -> None:
    first, _ = lay_out(tmp_path, "s3://jobs/data", mode=PIPE)
    said: list[str] = []
    with pipes.feeding(first.feeds, said.append):
        for epoch in range(2):
            command = ["cat", first.feeds[0].path(epoch)]
            assert subprocess.run(command, capture_output=True, check=True, timeout=60).stdout == b"1\n2\n3\n"
    assert not said


def test_what_s3_has_and_is_no_gzip_is_said_by_its_name(tmp_path: Path) -> None:
    first, _ = lay_out(tmp_path, "s3://jobs/plain/x", mode=PIPE, compression=GZIP)
    said: list[str] = []
    with pipes.feeding(first.feeds, said.append):
        reader = os.open(first.feeds[0].path(0), os.O_RDONLY)
        wait_for(lambda: said, "the feeder's word")
        os.close(reader)
    assert said == ["channel c: s3://jobs/plain/x: Not a gzipped file (b'4\\n')"]


def test_directories_stand_for_what_is_mapped_and_s3_for_the_rest(tmp_path: Path) -> None:
    (tmp_path / "local").write_text("local")
    stored = Storage([("s3://jobs/data/train/a.csv", tmp_path / "local")])
    assert [each.path for each in stored.objects("s3://jobs/data/train/a.csv")] == [tmp_path / "local"]
    assert [each.key for each in stored.objects("s3://jobs/plain")] == ["plain/x"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://jobs/nothing", "s3://jobs/nothing: expected objects under it, found none"),
        ("s3://jobs/data/train/sub/u", "expected objects under it, found none"),
        ("s3://nowhere/x", r"s3://nowhere/x: S3 says .*NoSuchBucket.*: there is no such bucket"),
        ("s3://No_Such!/x", "s3://No_Such!/x: no such name of a bucket"),
        ("s3://jobs/\ud800", "no such name of a bucket or an object"),
    ],
)
def test_what_is_not_there_is_one_line(uri: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=message) as refused:
        lay_out(tmp_path, uri)
    assert "\n" not in refused.value.message


def test_an_object_of_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"channel c: s3://jobs/gone: S3 says Not Found \(404\): there is no such"):
        lay_out(tmp_path, "s3://jobs/gone.json", kind=MANIFEST)


def test_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(
        RefusedError, match=r"s3://jobs/data: no AWS credentials found; set AWS_PROFILE .* --s3 s3://jobs"
    ):
        lay_out(tmp_path, "s3://jobs/data")


def test_a_profile_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(RefusedError, match=r"S3: The config profile \(nobody\) could not be found"):
        lay_out(tmp_path, "s3://jobs/data")


FETCH = """
import signal, sys
from pathlib import Path
from smentry.ctl.data import channels
from smentry.ctl.data.storage import Object, Storage
signal.signal(signal.SIGINT, signal.default_int_handler)
wanted = [channels.Entry((Object("s3://jobs/x", "x", 1),), "x")]
channels.fill(Path(sys.argv[1]), wanted, Storage())
"""


def test_who_interrupts_does_not_wait_for_a_server_that_says_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        environment = {**os.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        command = [sys.executable, "-c", FETCH, str(tmp_path / "c")]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as fetching:
            try:
                connection, _ = silent.accept()
                with connection:
                    assert connection.recv(1)
                    fetching.send_signal(signal.SIGINT)
                    _, said = fetching.communicate(timeout=20)
            finally:
                fetching.kill()
    assert said.endswith("KeyboardInterrupt\n")


class BreaksOff(BaseHTTPRequestHandler):
    """Says that an object has 10 bytes, and sends 3."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(b"123")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def breaking_off(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), BreaksOff) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        yield
        server.shutdown()


@pytest.mark.usefixtures("breaking_off")
def test_an_object_that_breaks_off_is_not_taken_for_all_of_it(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"^channel c: s3://jobs/m: cannot be read: .*\b3 (bytes )?read"):
        lay_out(tmp_path, "s3://jobs/m", kind=MANIFEST)
    (tmp_path / "data").mkdir()
    entry = Entry((Object("s3://jobs/x", "x", 10),))
    feed = pipes.Feed(Channel("c", "s3://jobs/x", PIPE), (entry,), 0, 1, tmp_path / "data")
    feed.make()
    said: list[str] = []
    with pipes.feeding([feed], said.append):
        reader = os.open(feed.path(0), os.O_RDONLY)
        wait_for(lambda: said, "the feeder's word")
        os.close(reader)
    assert len(said) == 1
    assert re.match(r"channel c: s3://jobs/x: .*\b3 (bytes )?read", said[0])


def test_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(RefusedError, match="s3://jobs/data: Could not connect to the endpoint URL"):
        lay_out(tmp_path, "s3://jobs/data")
