"""How the feeder streams an object, where the kernel does not do it by itself."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from smentry.ctl.data import feeder
from smentry.ctl.data.pipes import Feed
from smentry.ctl.data.storage import Storage
from smentry.ctl.request.job import PIPE, Channel

NO_KERNEL = Path("/proc/self/environ")
"""A file that the kernel does not copy into a pipe (sendfile(2): EINVAL), as no file at all in Linux 5.10."""


def streamed(path: Path) -> bytes:
    """What comes out of a pipe into which a file is streamed."""
    reading, writing = os.pipe()
    got = bytearray()

    def drain() -> None:
        with open(reading, "rb") as pipe:
            got.extend(pipe.read())

    reader = threading.Thread(target=drain)
    reader.start()
    stored = Storage()
    feed = Feed(Channel("c", str(path), PIPE), (), 0, 1, path.parent)
    feeder._stream(feed, stored.object(str(path)), stored, writing)
    os.close(writing)
    reader.join()
    return bytes(got)


def test_an_object_comes_whole(tmp_path: Path) -> None:
    data = os.urandom(3_000_001)
    (tmp_path / "a").write_bytes(data)
    assert streamed(tmp_path / "a") == data


def test_an_object_comes_whole_where_the_kernel_does_not_copy_it() -> None:
    assert streamed(NO_KERNEL) == NO_KERNEL.read_bytes() != b""
    reading, writing = os.pipe()
    with open(NO_KERNEL, "rb") as file, pytest.raises(OSError, match="Invalid argument"):
        os.sendfile(writing, file.fileno(), None, 1)
    os.close(reading)
    os.close(writing)
