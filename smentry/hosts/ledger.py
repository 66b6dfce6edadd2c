"""Who of a job's hosts is there, has ended, has failed or is missed, and which failure came first. Pure; it sends nothing.

All times are seconds on this host's own monotonic clock: a host says how long ago something was, for clocks differ.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SUCCEEDED, STOPPED, FAILED, UNWATCHED = "succeeded", "stopped", "failed", "unwatched"
ENDS = (SUCCEEDED, STOPPED, FAILED, UNWATCHED)
"""How a host takes its leave: its program ended well, was stopped, or failed; or nobody watches it any more."""

_NEVER = float("inf")


class Statement:
    """A failure of `host` at `at`: `text` is one line that says what failed and why.

    `derived`: it mostly follows from what happened on another host, as a connection that was closed. `lost`: the host has said
    nothing itself, and others say that it has gone.
    """

    __slots__ = ("at", "derived", "host", "lost", "text")

    def __init__(self, host: str, at: float, text: str, *, derived: bool = False, lost: bool = False) -> None:
        self.host = host
        self.at = at
        self.text = text
        self.derived = derived
        self.lost = lost

    def __str__(self) -> str:
        return f"{self.host} {self.text}" if self.lost else f"{self.host} failed: {self.text}"


class Peer:
    """How it stands with another host. `seen`: it has been heard of; `heard` is when last; `links` are the connections to it.
    `end` is how it took its leave, empty while it has not."""

    __slots__ = ("end", "heard", "links", "seen")

    def __init__(self) -> None:
        self.seen = False
        self.heard = -_NEVER
        self.links = 0
        self.end = ""


class Ledger:
    """What is known on host `own` of the `others`; who was silent for `bound` seconds is missed."""

    def __init__(self, own: str, others: Iterable[str], bound: float) -> None:
        self.own = own
        self.bound = bound
        self.peers = {host: Peer() for host in others}
        self.statements: dict[str, Statement] = {}

    def heard(self, host: str, now: float) -> None:
        """Something came from a host."""
        peer = self.peers[host]
        peer.seen = True
        peer.heard = now

    def linked(self, host: str, now: float) -> None:
        """There is one more connection to a host, which has said its name."""
        self.heard(host, now)
        self.peers[host].links += 1

    def unlinked(self, host: str) -> None:
        """A connection to a host is lost."""
        self.peers[host].links -= 1

    def leaves(self, host: str, end: str) -> None:
        """A host takes its leave: it is not missed any more. The first word counts, but any says more than `unwatched`."""
        peer = self.peers[host]
        if peer.end in ("", UNWATCHED):
            peer.end = end

    def failed(self, statement: Statement) -> bool:
        """A failure was heard of; whether it is news. What a host says itself counts over what others say of it."""
        known = self.statements.get(statement.host)
        if known is not None and (not known.lost or statement.lost):
            return False
        if statement.host != self.own and statement.host not in self.peers:
            return False
        self.statements[statement.host] = statement
        return True

    def slept(self, seconds: float) -> None:
        """This process did not run for so long: nobody was silent meanwhile, for nobody listened."""
        for peer in self.peers.values():
            peer.heard += seconds

    def missing(self, now: float) -> list[Statement]:
        """The hosts that were there, took no leave, and have been silent for the bound."""
        return [
            self._lost(host, peer, now)
            for host, peer in self.peers.items()
            if self._is_expected(host, peer) and now - peer.heard >= self.bound
        ]

    def unlinked_hosts(self, now: float) -> list[Statement]:
        """The hosts that were there, took no leave, and to which no connection is left: for who cannot wait any longer."""
        return [
            self._lost(host, peer, now)
            for host, peer in self.peers.items()
            if self._is_expected(host, peer) and not peer.links
        ]

    def _is_expected(self, host: str, peer: Peer) -> bool:
        return peer.seen and not peer.end and host not in self.statements

    def _lost(self, host: str, peer: Peer, now: float) -> Statement:
        silent = max(0.0, now - peer.heard)
        broken = "its connection broke, and " if not peer.links else ""
        text = f"was lost: {broken}nothing has been heard of it for {silent:.0f} s (killed, or its machine or network failed)"
        return Statement(host, peer.heard, text, lost=True)

    @property
    def first(self) -> Statement | None:
        """The failure that came first: the earliest that does not follow from another one, else the earliest."""
        return min(
            self.statements.values(),
            key=lambda statement: (statement.derived, statement.at, statement.host),
            default=None,
        )

    @property
    def is_complete(self) -> bool:
        """Whether there is nobody left of whom a failure may still be heard."""
        return all(peer.end or host in self.statements for host, peer in self.peers.items())
