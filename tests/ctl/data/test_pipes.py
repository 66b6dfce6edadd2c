"""FIFOs that a real feeder feeds, and real readers of them."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from smentry.ctl.data import pipes, recordio
from smentry.ctl.data import tree as trees
from smentry.ctl.data.storage import Storage
from smentry.ctl.request.job import AUGMENTED, GZIP, PIPE, RECORDIO, SHARDED, Channel, Host, Job
from smentry.errors import RefusedError
from tests.ctl.data.test_recordio import read as records
from tests.ctl.data.test_storage import tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from smentry.ctl.data.pipes import Feed

LIMIT = 30.0


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"waited too long for {what}"
        time.sleep(0.01)


def lay_out(tmp_path: Path, uri: str, hosts: int = 1, stored: Storage | None = None, **more: Any) -> list[Feed]:
    channel = Channel("c", uri, PIPE, **more)
    job = Job("j", "i", tuple(Host(f"algo-{number + 1}") for number in range(hosts)), channels=(channel,))
    laid = trees.lay_out(job, stored or Storage(), tmp_path / "out")
    return [feed for host in laid for feed in host.feeds]


@contextmanager
def fed(*feeds: Feed) -> Iterator[None]:
    """Feed, and let no reader of the test wait for ever: the test fails where a feeder says something."""
    said: list[str] = []
    with pipes.feeding(feeds, said.append):
        yield
    assert not said


def read(path: Path) -> bytes:
    """All that is in a FIFO, by a process of its own, which is killed where it takes too long."""
    return subprocess.run(["cat", path], check=True, capture_output=True, timeout=LIMIT).stdout


def test_each_epoch_is_a_fifo_with_all_objects_in_order(tmp_path: Path) -> None:
    (feed,) = lay_out(tmp_path, str(tree(tmp_path / "d", "b", "a", "c/d")))
    with fed(feed):
        for epoch in range(3):
            assert read(feed.path(epoch)) == b"abc/d"


def test_the_next_fifo_is_there_when_one_has_been_read_and_the_last_has_gone(tmp_path: Path) -> None:
    (feed,) = lay_out(tmp_path, str(tree(tmp_path / "d", "a")))
    with fed(feed):
        for epoch in range(20):
            with open(feed.path(epoch), "rb") as fifo:
                assert fifo.read() == b"a"
            assert feed.path(epoch + 1).exists()
            assert not feed.path(epoch).exists()


def test_a_reader_that_has_had_enough_ends_its_epoch_only(tmp_path: Path) -> None:
    data = os.urandom(4 << 20)
    tree(tmp_path / "d", "a")
    (tmp_path / "d/a").write_bytes(data)
    (feed,) = lay_out(tmp_path, str(tmp_path / "d"))
    with fed(feed):
        with open(feed.path(0), "rb") as fifo:
            assert fifo.read(10) == data[:10]
        wait_for(lambda: not feed.path(0).exists(), "the end of the epoch")
        assert read(feed.path(1)) == data


@pytest.mark.parametrize("mode", [os.O_RDONLY, os.O_RDWR])
def test_an_end_comes_at_once_whoever_still_reads_or_not(mode: int, tmp_path: Path) -> None:
    (tree(tmp_path / "d", "a") / "a").write_bytes(bytes(8 << 20))
    feeds = lay_out(tmp_path, str(tmp_path / "d"), hosts=2)
    with fed(*feeds):
        reader = os.open(feeds[0].path(0), mode)  # the feeder fills the pipe and waits; nobody opens the other one
        assert os.read(reader, 1)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    os.close(reader)


def test_who_opens_a_fifo_for_reading_and_writing_gets_all_of_it(tmp_path: Path) -> None:
    (feed,) = lay_out(tmp_path, str(tree(tmp_path / "d", "a", "b")))
    with fed(feed):
        reader = os.open(feed.path(0), os.O_RDWR)
        wait_for(lambda: not feed.path(0).exists(), "the end of the epoch")
        assert os.read(reader, 100) == b"ab"
        os.close(reader)
        assert read(feed.path(1)) == b"ab"


def test_two_readers_of_a_fifo_share_it(tmp_path: Path) -> None:
    (tree(tmp_path / "d", "a") / "a").write_bytes(bytes(8 << 20))
    (feed,) = lay_out(tmp_path, str(tmp_path / "d"))
    with fed(feed):
        fifos = [os.open(feed.path(0), os.O_RDONLY) for _ in range(2)]
        readers = [subprocess.Popen(["wc", "-c"], stdin=each, stdout=subprocess.PIPE, text=True) for each in fifos]
        for each in fifos:
            os.close(each)
        counts = [int(each.communicate(timeout=LIMIT)[0]) for each in readers]
    assert sum(counts) == 8 << 20


def test_the_feeder_is_gone_afterwards_and_has_a_session_of_its_own(tmp_path: Path) -> None:
    (feed,) = lay_out(tmp_path, str(tree(tmp_path / "d", "a")))
    before = set(psutil.Process().children())
    with fed(feed):
        (feeder,) = set(psutil.Process().children()) - before
        wait_for(lambda: os.getsid(feeder.pid) == feeder.pid, "its session")
    assert not feeder.is_running()
    assert not {each.name for each in threading.enumerate()} & {"feeder"}


def test_the_feeder_does_not_outlive_its_parent(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, psutil, time\n"
        "from tests.ctl.data.test_pipes import fed, lay_out\n"
        "with fed(*lay_out(pathlib.Path(sys.argv[1]), sys.argv[2])):\n"
        "    print(psutil.Process().children()[0].pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    arguments = [sys.executable, "-c", code, tmp_path, tree(tmp_path / "d", "a")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        feeder = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    wait_for(lambda: not feeder.is_running() or feeder.status() == psutil.STATUS_ZOMBIE, "the feeder's end")


def test_data_that_cannot_be_had_is_said_and_looks_like_no_end(tmp_path: Path) -> None:
    (feed,) = lay_out(tmp_path, str(tree(tmp_path / "d", "a", "b")))
    (tmp_path / "d/b").unlink()
    said: list[str] = []
    with pipes.feeding([feed], said.append):
        reader = os.open(feed.path(0), os.O_RDONLY)
        assert os.read(reader, 100) == b"a"
        wait_for(lambda: said, "the feeder's word")
        os.set_blocking(reader, False)
        with pytest.raises(BlockingIOError):
            os.read(reader, 100)
        os.close(reader)
    assert said == [f"channel c: {tmp_path}/d/b: [Errno 2] No such file or directory: '{tmp_path}/d/b'"]


def test_a_feeder_that_dies_is_said(tmp_path: Path) -> None:
    (feed,) = lay_out(tmp_path, str(tree(tmp_path / "d", "a")))
    before = set(psutil.Process().children())
    said: list[str] = []
    with pipes.feeding([feed], said.append):
        (feeder,) = set(psutil.Process().children()) - before
        feeder.kill()
        wait_for(lambda: said, "the end's being said")
    assert said == ["what feeds the Pipe channels has ended"]


def test_without_pipe_channels_nothing_is_started() -> None:
    before = psutil.Process().children()
    with fed():
        assert psutil.Process().children() == before


def test_shards_of_every_epoch_are_complete_and_shuffled_anew(tmp_path: Path) -> None:
    source = tree(tmp_path / "d", *(f"{number:02}" for number in range(20)))
    feeds = lay_out(tmp_path, str(source), hosts=2, distribution=SHARDED, shuffle_seed=1)
    orders = []
    with fed(*feeds):
        for epoch in range(2):
            parts = [read(feed.path(epoch)).decode() for feed in feeds]
            assert [len(part) for part in parts] == [20, 20]
            orders.append("".join(parts))
    assert len(set(orders)) == 2
    for order in orders:
        assert sorted(order[place : place + 2] for place in range(0, 40, 2)) == [f"{number:02}" for number in range(20)]


def test_a_host_without_a_shard_has_an_empty_epoch(tmp_path: Path) -> None:
    feeds = lay_out(tmp_path, str(tree(tmp_path / "d", "a")), hosts=2, distribution=SHARDED)
    with fed(*feeds):
        assert read(feeds[1].path(0)) == read(feeds[1].path(1)) == b""


def test_gzip_is_decompressed_on_the_way(tmp_path: Path) -> None:
    source = tree(tmp_path / "d", "a.gz", "b.gz")
    data = [os.urandom(1 << 20) * 2, b"second"]
    for name, each in zip(("a.gz", "b.gz"), data):
        (source / name).write_bytes(gzip.compress(each[:10]) + gzip.compress(each[10:]))
    (feed,) = lay_out(tmp_path, str(source), compression=GZIP)
    with fed(feed):
        assert read(feed.path(0)) == b"".join(data)


def test_what_is_no_gzip_is_said(tmp_path: Path) -> None:
    (feed,) = lay_out(tmp_path, str(tree(tmp_path / "d", "a")), compression=GZIP)
    said: list[str] = []
    with pipes.feeding([feed], said.append):
        reader = os.open(feed.path(0), os.O_RDONLY)
        wait_for(lambda: said, "the feeder's word")
        os.close(reader)
    assert said == [f"channel c: {tmp_path}/d/a: Not a gzipped file (b'a')"]


def test_each_object_is_a_record(tmp_path: Path) -> None:
    source = tree(tmp_path / "d", "a", "b")
    (source / "a").write_bytes(b"1" * 300_001)
    (feed,) = lay_out(tmp_path, str(source), record_wrapper=RECORDIO)
    with fed(feed):
        assert records(read(feed.path(0))) == [b"1" * 300_001, b"b"]


@pytest.mark.parametrize("wrapper", [RECORDIO, "None"])
def test_an_augmented_manifest_streams_what_it_refers_to(wrapper: str, tmp_path: Path) -> None:
    source = tree(tmp_path / "d", "1.jpg", "2.jpg")
    lines = [{"image-ref": f"s3://k/{number}.jpg", "note": "-", "cat": number % 2} for number in (1, 2)]
    (source / "m").write_text("\n".join(map(json.dumps, lines)))
    stored = Storage([("s3://k", source)])
    more = {"kind": AUGMENTED, "attributes": ("image-ref", "cat"), "record_wrapper": wrapper}
    (feed,) = lay_out(tmp_path, "s3://k/m", stored=stored, **more)
    with fed(feed):
        stream = read(feed.path(0))
    parts = [b"1.jpg", b"1", b"2.jpg", b"0"]
    assert (records(stream) == parts) if wrapper == RECORDIO else (stream == b"".join(parts))


def test_an_object_that_no_record_holds_is_refused_before_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordio, "LONGEST", 3)
    with pytest.raises(
        RefusedError, match=r"channel c: .*/1234: a RecordIO record holds up to 3 bytes, the object has 4"
    ):
        lay_out(tmp_path, str(tree(tmp_path / "d", "1234")), record_wrapper=RECORDIO)


def test_a_module_in_the_users_directory_is_not_taken_for_one_of_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pickle.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    (feed,) = lay_out(tmp_path, str(tree(tmp_path / "d", "a")))
    with fed(feed):
        assert read(feed.path(0)) == b"a"


def test_a_job_that_removes_its_fifos_is_no_failure(tmp_path: Path) -> None:
    (tree(tmp_path / "d", "a") / "a").write_bytes(bytes(4 << 20))
    (feed,) = lay_out(tmp_path, str(tmp_path / "d"))
    with fed(feed):
        with open(feed.path(0), "rb") as fifo:
            wait_for(feed.path(1).exists, "the next FIFO")
            feed.path(0).unlink()
            assert len(fifo.read()) == 4 << 20
        assert len(read(feed.path(1))) == 4 << 20


def test_a_link_that_a_job_puts_in_the_place_of_a_fifo_is_not_followed(tmp_path: Path) -> None:
    (feed,) = lay_out(tmp_path, str(tree(tmp_path / "d", "a")))
    (tmp_path / "users").write_text("own")
    reader = os.open(feed.path(0), os.O_RDONLY | os.O_NONBLOCK)
    (feed.directory / "c_1").symlink_to(tmp_path / "users")
    before = set(psutil.Process().children())
    with fed(feed):
        wait_for(lambda: not feed.path(0).exists(), "the end of the epoch")
        (feeder,) = set(psutil.Process().children()) - before
        wait_for(lambda: feeder.num_threads() == 1, "the end of the channel")
    os.close(reader)
    assert (tmp_path / "users").read_text() == "own"
    assert feed.path(1).is_symlink()
