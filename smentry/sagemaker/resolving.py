"""Waiting until every host of a job has an address. It runs in a child process; what the hosts are for it does not know."""

from __future__ import annotations

import socket
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FIRST, LONGEST = 0.1, 2.0
"""Seconds between two looks, doubled each time up to the longest. Names appear within a minute of the cluster's start, a query
costs nearly nothing, and a second that is slept too long is a second of every machine: the training toolkit sleeps up to 30."""
SAY_AGAIN = 60.0
"""Seconds between two lines about whom is still waited for."""
_SHOWN = 8


class _Hosts:
    """The hosts without an address yet, with what was said of each last; each is asked for by a thread of its own."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.changed = threading.Condition()
        self.missing = dict.fromkeys(hosts, "no answer yet")
        self._asked: set[str] = set()

    def ask(self) -> None:
        """Ask for every host that is missing and is not being asked for: a name server may not answer for long, or never."""
        with self.changed:
            new = [host for host in self.missing if host not in self._asked]
            self._asked.update(new)
        for host in new:
            try:
                threading.Thread(target=self._resolve, args=(host,), daemon=True).start()
            except RuntimeError:  # no more threads now: when others have ended
                self._asked.discard(host)

    def _resolve(self, host: str) -> None:
        why = ""
        try:
            socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or str(error)
        with self.changed:
            self._asked.discard(host)
            if why:
                self.missing[host] = why
            else:
                del self.missing[host]
            self.changed.notify()

    def wait(self, until: float) -> bool:
        """Wait until nobody is missing, or until `until`; whether nobody is."""
        with self.changed:
            return self.changed.wait_for(lambda: not self.missing, max(0.0, until - time.monotonic()))

    def __str__(self) -> str:
        with self.changed:
            names = sorted(self.missing)
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return ", ".join(names[:_SHOWN]) + more


def wait(hosts: Sequence[str], limit: float, say: Callable[[str], None]) -> int:
    """Wait until all hosts have an address, `limit` seconds at the longest; return an exit code, having said who has none."""
    began = time.monotonic()
    found = _Hosts(hosts)
    pause, said = FIRST, -SAY_AGAIN
    while True:
        found.ask()
        now = time.monotonic()
        if found.wait(min(now + pause, began + limit)):
            say(f"all {len(hosts)} hosts have an address, after {time.monotonic() - began:.1f} s")
            return 0
        now = time.monotonic()
        if now >= began + limit:
            why = next(iter(found.missing.values()))
            say(
                f"no address after {limit:g} s for {found} of the {len(hosts)} hosts of the job ({why}):"
                " is each of them up? --wait-hosts gives them longer, or 0 for no wait"
            )
            return 1
        if pause > FIRST and now - said >= SAY_AGAIN:
            say(f"waiting for {found}: no address yet, {limit - (now - began):.0f} s left")
            said = now
        pause = min(pause * 2, LONGEST)
