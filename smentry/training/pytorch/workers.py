"""The worker processes of a data loader, kept through a signal that goes to their whole group. It knows nothing of ranks.

torchrun signals the process group of each rank (`os.killpg`, torch 2.13), and so does ^C at a terminal. A worker that dies of
it fails the rank in the middle of a step: its loader raises "DataLoader worker (pid …) is killed by signal: Terminated".
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from torch.utils.data import DataLoader

if TYPE_CHECKING:
    from collections.abc import Callable

    Loader = TypeVar("Loader")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def keep_workers(loader: Loader) -> Loader:
    """Let each worker of a DataLoader be in a process group of its own, whichever way it is started; the loader itself.

    `worker_init_fn` of it is called afterwards. What is no DataLoader, or has no workers, is left as it is.
    """
    if isinstance(loader, DataLoader) and loader.num_workers > 0 and not isinstance(loader.worker_init_fn, _Apart):
        loader.worker_init_fn = _Apart(loader.worker_init_fn)
    return loader


def begin(loader: Any) -> Iterator[Any]:
    """An iterator over it, whose workers are kept from their first moment on: until they are apart, signals wait.

    Those of a fork server are kept as soon as they are apart: the server's other children would inherit what is blocked.
    """
    keep_workers(loader)
    if not isinstance(getattr(loader, "worker_init_fn", None), _Apart):
        return iter(loader)
    _start_servers((loader.multiprocessing_context or multiprocessing).get_start_method())
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        return iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_servers(method: str) -> None:
    """Start what multiprocessing starts once and for others too, before signals are blocked."""
    if method == "forkserver":
        from multiprocessing import forkserver

        forkserver.ensure_running()
    if method != "fork":
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # which unblocks them


class _Apart:
    """A `worker_init_fn`; a class, so that it can be sent to a worker that is spawned."""

    def __init__(self, then: Callable[[int], object] | None) -> None:
        self.then = then

    def __call__(self, number: int) -> None:
        try:
            os.setpgid(0, 0)
        except OSError:
            pass  # a leader of a session is apart already
        blocked = set(_SIGNALS) & signal.pthread_sigmask(signal.SIG_BLOCK, ())
        for each in blocked & signal.sigpending():
            signal.sigwait([each])  # it came before
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        if self.then is not None:
            self.then(number)
