"""What the hosts use, asked again and again while they run. It knows containers, and nothing of the job."""

from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from smentry.ctl.engine.base import Container, Usage

EVERY = 1.0
"""Seconds between two looks."""


class Watch:
    """Asks the hosts what they use, in threads: an engine takes a second for an answer, and a SIGKILL may not wait for it."""

    def __init__(self) -> None:
        self._watched = threading.Event()
        self._latest: dict[str, tuple[Usage, float | None]] = {}

    def watch(self, containers: Iterable[Container]) -> None:
        """Watch these, and no others any more."""
        self.close()
        self._watched, self._latest = threading.Event(), {}
        for container in containers:
            about = (container, self._watched, self._latest)
            threading.Thread(target=_keep, args=about, name=f"usage of {container.name}", daemon=True).start()

    def close(self) -> None:
        """Watch nothing any more."""
        self._watched.set()

    @property
    def memory(self) -> int | None:
        """Bytes, of all hosts."""
        return sum(usage.memory for usage, _ in self._now()) if self._latest else None

    @property
    def memory_limit(self) -> int | None:
        """Bytes, of the host that has most: without limits of their own all have the machine's."""
        return max((usage.memory_limit for usage, _ in self._now()), default=None)

    @property
    def cpu_percent(self) -> float | None:
        """Of one core, of all hosts."""
        shares = [share for _, share in self._now() if share is not None]
        return 100 * sum(shares) if shares else None

    def _now(self) -> list[tuple[Usage, float | None]]:
        return list(self._latest.values())


def _keep(container: Container, until: threading.Event, latest: dict[str, tuple[Usage, float | None]]) -> None:
    """Keep what a host uses, with its share of a core since the time before, in `latest`."""
    before: tuple[float, float] | None = None
    while not until.wait(EVERY):
        usage = container.usage()
        if usage is None:
            latest.pop(container.name, None)
            return
        now = time.monotonic()
        share = None
        if before is not None:
            share = max(usage.cpu_seconds - before[1], 0.0) / max(now - before[0], 1e-3)
        before = (now, usage.cpu_seconds)
        latest[container.name] = (usage, share)
