"""What a signal does in this process: taking it over and giving it back. It does not know what for."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Union

    Handler = Union[Callable[[int, "FrameType | None"], object], int, None]

_SIGACTION = 512
"""Bytes, more than `struct sigaction` has anywhere (152 on Linux with glibc); what is in them is not looked at."""


class Disposition:
    """What a signal did: `handler`, as Python knows it, or `raw`, a `struct sigaction` of somebody else's."""

    __slots__ = ("handler", "raw")

    def __init__(self, handler: Handler, raw: object = None) -> None:
        self.handler = handler
        self.raw = raw

    @property
    def ignores(self) -> bool:
        """Whether the signal was ignored."""
        return self.raw is None and self.handler == signal.SIG_IGN


def take(number: int, handler: Callable[[int, FrameType | None], object]) -> Disposition:
    """Let a signal call `handler`; what it did before.

    Raises ValueError outside of the main thread, and OSError for a signal that cannot be caught.
    """
    before: Handler = signal.getsignal(number)
    # Python remembers what was set through it. Who else installs handlers: libraries in C, faulthandler.register().
    foreign = before is None or (not callable(before) and _is_caught(number))
    saved = Disposition(before, _sigaction(number) if foreign else None)
    signal.signal(number, handler)
    return saved


def restore(number: int, disposition: Disposition) -> None:
    """Let a signal do what it did. Raises ValueError outside of the main thread.

    Of a handler that Python does not know, `signal.getsignal` says the default afterwards; it is called nevertheless.
    """
    handler = signal.SIG_DFL if disposition.handler is None else disposition.handler
    signal.signal(number, handler)
    if disposition.raw is not None:
        import ctypes

        ctypes.CDLL(None).sigaction(number, disposition.raw, None)


def _sigaction(number: int) -> object:
    """What the kernel has for a signal (sigaction(2)); None where there is no ctypes to ask by."""
    try:
        import ctypes

        raw = ctypes.create_string_buffer(_SIGACTION)
        return raw if ctypes.CDLL(None).sigaction(number, None, raw) == 0 else None
    except (ImportError, OSError, AttributeError):
        return None


def _is_caught(number: int) -> bool:
    """Whether there is a handler, whoever installed it (proc(5), SigCgt)."""
    try:
        with open(f"/proc/{os.getpid()}/status", "rb") as file:
            for line in file:
                if line.startswith(b"SigCgt:"):
                    return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    except OSError:
        pass
    return False
