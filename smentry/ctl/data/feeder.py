"""What the process does that pipes.feeding starts: it feeds FIFOs. It knows nothing of who reads them.

It reads a pickled list of Feeds from stdin, and ends when stdin does. A channel whose data cannot be had is a line on stdout.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import itertools
import os
import pickle
import stat
import sys
import threading

from smentry.ctl.data import recordio, sharing
from smentry.ctl.data.channels import FILE_MODE
from smentry.ctl.data.storage import Object, Storage
from smentry.ctl.request.job import GZIP, RECORDIO
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from smentry.ctl.data.pipes import Feed

_SET_SIZE = 1031  # F_SETPIPE_SZ, fcntl(2); in the module fcntl since Python 3.10
_SIZE = 1 << 20
"""Bytes: as large as a pipe may be without privileges (proc(5), pipe-max-size), and what is read at a time."""


def main() -> None:
    """Feed, a thread for each FIFO, until nobody wants it any more."""
    os.umask(0o022)
    for each in pickle.load(sys.stdin.buffer):
        # Held: a job may put a link to any place of this machine where the directory was.
        directory = os.open(each.directory, os.O_RDONLY | os.O_DIRECTORY)
        threading.Thread(target=_feed, args=(each, directory), name=each.channel.name, daemon=True).start()
    sys.stdin.buffer.read()
    os._exit(0)  # threads wait in the kernel for readers that will not come


def _feed(feed: Feed, directory: int) -> None:
    """Epoch after epoch, as somebody reads them."""
    storage = Storage()
    for epoch in itertools.count():
        writing = _opened(feed.name(epoch), directory)
        if writing is None:
            return
        with contextlib.suppress(OSError):  # before the reader can have seen the end of this one
            os.mkfifo(feed.name(epoch + 1), FILE_MODE, dir_fd=directory)
        with contextlib.suppress(OSError):
            fcntl.fcntl(writing, _SET_SIZE, _SIZE)
        try:
            with contextlib.suppress(BrokenPipeError):  # who reads has had enough of this epoch
                for entry in sharing.portion(feed.channel, feed.entries, feed.place, feed.count, epoch):
                    for part in entry.parts:
                        _stream(feed, part, storage, writing)
        except RefusedError as refused:
            _say(f"channel {feed.channel.name}: {refused.message}")
            return  # the FIFO stays open: an end would look like all of the data
        with contextlib.suppress(OSError):
            os.unlink(feed.name(epoch), dir_fd=directory)  # who opened it now would wait for ever
        os.close(writing)


def _opened(name: str, directory: int) -> int | None:
    """The FIFO, open for writing once somebody reads it (fifo(7)); None where the job has something else there, or nothing."""
    try:
        writing = os.open(name, os.O_WRONLY | os.O_NOFOLLOW, dir_fd=directory)
    except OSError:
        return None
    if stat.S_ISFIFO(os.fstat(writing).st_mode):
        return writing
    os.close(writing)
    return None


def _stream(feed: Feed, part: Object | str, storage: Storage, writing: int) -> None:
    """Write a part into the FIFO. Raises BrokenPipeError where nobody reads any more, and RefusedError."""
    wrapped = feed.channel.record_wrapper == RECORDIO
    if isinstance(part, str):
        data = part.encode("utf-8", "surrogatepass")
        _write(writing, recordio.record(data) if wrapped else data)
        return
    try:
        with contextlib.closing(storage.open(part)) as stored:
            zipped = feed.channel.compression == GZIP
            reading: BinaryIO | gzip.GzipFile = gzip.GzipFile(fileobj=stored) if zipped else stored
            if wrapped:
                _write(writing, recordio.record(reading.read()))
                return
            if part.path is not None and not zipped:
                _by_kernel(stored.fileno(), writing)
            while piece := reading.read(_SIZE):
                _write(writing, piece)
    except (BrokenPipeError, RefusedError):
        raise
    except Exception as error:  # of botocore, zlib, the file system
        raise RefusedError(f"{part.uri}: {error}") from None


def _by_kernel(reading: int, writing: int) -> None:
    """Let the kernel move as much as it can, which may be nothing (sendfile(2)); the offset of `reading` is moved."""
    try:
        while os.sendfile(writing, reading, None, _SIZE):
            pass
    except BrokenPipeError:
        raise
    except OSError:
        return


def _write(writing: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(writing, rest) :]


def _say(text: str) -> None:
    os.write(sys.stdout.fileno(), f"{' '.join(text.split())}\n".encode("utf-8", "replace"))
