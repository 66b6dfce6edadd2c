"""Pipe channels: a FIFO per epoch, and the process that feeds them while a job runs. What the data is, the feeder knows."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import smentry
from smentry.ctl.data import recordio
from smentry.ctl.data.channels import FILE_MODE
from smentry.ctl.data.storage import Object
from smentry.ctl.request.job import GZIP, RECORDIO
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from smentry.ctl.data.channels import Entry
    from smentry.ctl.request.job import Channel


_FEEDER = """\
import sys
sys.path.insert(0, sys.argv[1])
import smentry
del sys.path[0]
from smentry.ctl.data.feeder import main
main()
"""
"""This smentry, wherever it was imported from, with the path of any other program."""


@dataclass(frozen=True)
class Feed:
    """A Pipe channel on a host."""

    channel: Channel
    entries: tuple[Entry, ...]
    """All of the channel's; which of them the host gets may differ from epoch to epoch."""
    place: int
    """The host's place among those that get the channel."""
    count: int
    """How many hosts get it."""
    directory: Path
    """input/data of the host."""

    def name(self, epoch: int) -> str:
        """The name of an epoch's FIFO; the first is 0."""
        return f"{self.channel.name}_{epoch}"

    def path(self, epoch: int) -> Path:
        """The FIFO of an epoch."""
        return self.directory / self.name(epoch)

    def make(self) -> None:
        """Make the first FIFO; the feeder makes the others."""
        os.mkfifo(self.path(0))
        self.path(0).chmod(FILE_MODE)

    def check(self) -> None:
        """Raise RefusedError where an object cannot be streamed as the channel wants it."""
        if self.channel.record_wrapper != RECORDIO or self.channel.compression == GZIP:
            return
        for part in (part for entry in self.entries for part in entry.parts if isinstance(part, Object)):
            if part.size > recordio.LONGEST:
                raise RefusedError(
                    f"channel {self.channel.name}: {part.uri}: a RecordIO record holds up to {recordio.LONGEST} bytes, "
                    f"the object has {part.size}"
                )


@contextlib.contextmanager
def feeding(feeds: Sequence[Feed], failed: Callable[[str], None]) -> Iterator[None]:
    """Feed the FIFOs until the block ends, whoever still reads them.

    `failed` is called, from a thread, with a line for each channel whose data could not be had: its reader then waits for more,
    where an end would look like all of the data, and the job has to be ended as Failed.
    """
    if not feeds:
        yield
        return
    # A process: it is ended whatever it waits for. A session of its own: ^C stops the job, which reads on meanwhile.
    # In "/", so that no module of the user's directory stands in for one of the library.
    feeder = subprocess.Popen(
        [sys.executable, "-c", _FEEDER, str(Path(smentry.__file__).resolve().parents[1])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
    )
    ending = threading.Event()
    listener = threading.Thread(target=_listen, args=(feeder, ending, failed), name="feeder", daemon=True)
    try:
        listener.start()
        assert feeder.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already: the listener says so
            pickle.dump(list(feeds), feeder.stdin)
            feeder.stdin.flush()
        yield
    finally:
        ending.set()
        feeder.kill()
        feeder.wait()
        listener.join()
        for stream in (feeder.stdin, feeder.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def _listen(feeder: subprocess.Popen[bytes], ending: threading.Event, failed: Callable[[str], None]) -> None:
    assert feeder.stdout is not None
    for line in feeder.stdout:
        failed(line.decode(errors="replace").rstrip("\n"))
    if not ending.is_set():
        failed("what feeds the Pipe channels has ended")
