"""^C and its like while smentryctl runs: an exception wherever it is; one that the interpreter threw away is asked for before a
verb and a job begin, and when a verb has ended. What is done about it, others know."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Interrupt(KeyboardInterrupt):
    """An interrupt. No KeyboardInterrupt itself: CPython ends by SIGINT, whoever catches that, where it has gone through an
    exec(), with which dataclasses are made (Python/pythonrun.c)."""


_heard: list[int] = []  # and not yet taken by anybody


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """In this block SIGINT, SIGTERM and SIGHUP raise Interrupt, where they would end the process; SIGTERM and SIGHUP too, so that
    containers and directories are removed."""
    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    taken = {number: handler for number, handler in before.items() if handler in usual}
    _heard.clear()
    for number in taken:
        signal.signal(number, _raise)
    try:
        yield
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)


def check() -> None:
    """Raise Interrupt where one has come, and nobody has caught it: what is raised in a destructor, as libraries have them, the
    interpreter throws away."""
    if _heard:
        raise Interrupt


def _raise(number: int, frame: object) -> None:
    _heard.append(number)
    raise Interrupt
