"""Sharing one job among forked children that say how far they are. It does not know what the job is.

Only in a process of its own, without threads: what a child does (memory, umask) is lost, files and descriptors are shared.
"""

from __future__ import annotations

import os
import pickle
import select

from smentry.pid1 import linux, signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Send = Callable[[Any], None]


class LostError(Exception):
    """A child has ended without having done its job; the text says how."""


class LateError(Exception):
    """The time is up."""


def work(job: Callable[[Send], None], children: int, heard: Send, left: Callable[[], float]) -> None:
    """Run `job(send)` in that many children until all have returned, and `heard` here for all that they send.

    `left` gives the seconds that are left: when there are none a child is given up even where the kernel keeps it
    waiting. Raises what a job or `heard` raised, LostError or LateError, when all children are dead. Where the kernel
    allows no child at all, the job is done here.
    """
    crew: dict[int, int] = {}  # the read end of a child's pipe → its pid, 0 once it is reaped
    said: dict[int, bytes] = {}
    poll = select.poll()
    try:
        for _ in range(children):
            reading, writing = os.pipe()
            try:
                pid = os.fork()
            except OSError:  # fork(2): EAGAIN at the limit of processes
                os.close(reading)
                os.close(writing)
                break
            if pid == 0:
                _child(job, writing)
            os.close(writing)
            crew[reading] = pid
            said[reading] = b""
            poll.register(reading, select.POLLIN)
        if not crew:
            job(lambda message: _checked(message, heard, left))
        while said:
            seconds = left()
            if seconds <= 0:
                raise LateError
            for reading, _ in poll.poll(None if seconds == float("inf") else seconds * 1000 + 1):
                data = os.read(reading, 65536)
                said[reading] = _messages(said[reading] + data, heard)
                if not data:
                    poll.unregister(reading)
                    del said[reading]
                    status = os.waitpid(crew[reading], 0)[1]
                    crew[reading] = 0
                    if status:
                        how = f"died of {signals.name(status & 0x7F)}" if status & 0x7F else "failed"
                        raise LostError(f"one of its processes {how}")
    finally:
        for reading, pid in crew.items():
            os.close(reading)
            if pid:
                os.kill(pid, signals.KILL)
        for pid in crew.values():
            if pid:
                os.waitpid(pid, 0)


def _child(job: Callable[[Send], None], writing: int) -> None:
    """Do the job as a child; does not return."""

    def send(message: object) -> None:
        data = pickle.dumps(message)
        data = len(data).to_bytes(4, "little") + data
        while data:
            data = data[os.write(writing, data) :]

    code = 1
    try:
        try:
            linux.signal_on_parent_death(signals.KILL)
            job(send)
        except Exception as error:
            send(error)
        code = 0
    finally:
        os._exit(code)


def _messages(data: bytes, heard: Send) -> bytes:
    """Take the whole messages out of `data`, raise one that is an exception, and return the rest."""
    while len(data) >= 4:
        end = 4 + int.from_bytes(data[:4], "little")
        if len(data) < end:
            break
        message = pickle.loads(data[4:end])
        data = data[end:]
        if isinstance(message, Exception):
            raise message
        heard(message)
    return data


def _checked(message: object, heard: Send, left: Callable[[], float]) -> None:
    heard(message)
    if left() <= 0:
        raise LateError
