"""The watch of a host as a process: connections to the other hosts, and what is said and heard on them. What it means, the
ledger knows; who started the watch, and what becomes of its answer, it does not know.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time

from smentry.hosts import wire
from smentry.hosts.ledger import FAILED, STOPPED, SUCCEEDED, UNWATCHED, Ledger, Statement
from smentry.hosts.roster import PORT, STOP_THE_JOB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from smentry.hosts.roster import Roster
    from smentry.hosts.wire import Message

_BEATS = 6
"""So many signs of life in the time after which their absence means something."""
_LONGEST_BEAT = 5.0
_HELLO, _CONNECT = 10.0, 10.0
"""Seconds that a hello, and a connection, may take."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0
"""Seconds between two attempts to connect, doubled each time up to the longest."""
_FAREWELL = 2.0
"""Seconds that the others have to confirm a last word."""
_CANCELS = 5
"""So often a task is cancelled: before Python 3.12 asyncio.wait_for forgets it where what it waited for comes just then."""
_GONE = (OSError, EOFError, ValueError, asyncio.TimeoutError)  # UnicodeError, of a host's name, is a ValueError


class End:
    """How the host's own program ended: `end` is one of ledger.ENDS, `at` when (time.monotonic()); of a failure also the
    reason, and whether that is `derived`."""

    __slots__ = ("at", "derived", "end", "text")

    def __init__(self, end: str, at: float, text: str = "", *, derived: bool = False) -> None:
        self.end = end
        self.at = at
        self.text = text
        self.derived = derived


class Answer:
    """What came of it. `first`: another host's failure that came first, None where there is none. `left`: the hosts that had
    taken their leave without a failure. `code` is the exit code of the watch."""

    __slots__ = ("code", "first", "left")

    def __init__(self, code: int, first: Statement | None, left: list[tuple[str, str]]) -> None:
        self.code = code
        self.first = first
        self.left = left


class _Link:
    """A connection to a host; `confirmed`: it has heard the last word."""

    def __init__(self, host: str, writer: asyncio.StreamWriter) -> None:
        self.host = host
        self.writer = writer
        self.confirmed = False

    def say(self, line: bytes) -> None:
        if not self.writer.is_closing():
            self.writer.write(line)


class Watch:
    """Watches the `roster` until the host's own program has ended, or another host's failure is a reason to stop it.

    `news` is a descriptor: what comes out of it `ended` is given, until that returns how the program ended; at its end nobody
    is there any more for whom to watch. A host whose failure is perhaps not the first one waits `hold` seconds for others. `say`
    says a line: of level error, warning or debug.
    """

    def __init__(
        self,
        roster: Roster,
        news: int,
        ended: Callable[[bytes], End | None],
        hold: float,
        say: Callable[[str, str], None],
    ) -> None:
        self._roster = roster
        self._news = news
        self._ended = ended
        self._hold = hold
        self._say = say
        self._ledger = Ledger(roster.own, roster.others, roster.bound)
        self._links: set[_Link] = set()
        self._accepted = 0
        self._greeted = 0  # connections on which only this side has said its name: there it may be known already
        # Hosts that there was an attempt to connect to: who watched before was known there.
        self._tried: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refused = 0
        self._last_word: Callable[[float], bytes] | None = None
        self._end: End | None = None
        self._orphaned = False
        self._broken: Exception | None = None
        self._awake = time.monotonic()
        self._since: float | None = None  # when a failure was first heard of

    def run(self) -> Answer:
        """Watch. Where that cannot be gone on with, the others are told, so that they do not miss this host; then it raises."""
        # Not asyncio.run: at its end it waits for a name server that does not answer.
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda _, context: self._say("debug", str(context.get("message"))))
        try:
            return loop.run_until_complete(self._run())
        except BaseException:
            self._part()
            raise
        finally:
            loop.close()

    async def _run(self) -> Answer:
        self._changed = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._news, self._read_news)
        server = await self._listen()
        self._tasks = {loop.create_task(self._dial(host)) for host in self._roster.others}
        self._tasks.add(loop.create_task(self._beat()))
        try:
            return await self._watch()
        finally:
            loop.remove_reader(self._news)
            if server is not None:
                server.close()
            left = self._tasks
            for _ in range(_CANCELS):
                for task in left:
                    task.cancel()
                left = (await asyncio.wait(left, timeout=0.1))[1] if left else left

    # -- what follows ------------------------------------------------------------------------------

    async def _watch(self) -> Answer:
        """Until there is an answer."""
        while not self._orphaned:
            if self._broken is not None:
                raise self._broken
            for task in [task for task in self._tasks if task.done()]:
                self._tasks.discard(task)
                task.result()  # without its signs of life the others would miss this host
            if self._end is not None:
                return await self._after(self._end)
            now = self._now()
            for statement in self._ledger.missing(now):
                self._ledger.failed(statement)
            first = self._ledger.first
            if first is not None:
                self._since = now if self._since is None else self._since
                if not first.derived or now >= self._since + self._hold:
                    return await self._stop(first)
            await self._wait(self._interval if first is None else min(self._interval, self._hold / 4 + 0.01))
        return Answer(0, None, [])

    async def _stop(self, first: Statement) -> Answer:
        """Another host's failure is a reason to stop this one."""
        self._say("error", f"{first}; stopping")
        await self._take_leave(STOPPED, first, 1.0)
        return Answer(STOP_THE_JOB, first, self._left())

    async def _after(self, end: End) -> Answer:
        """The host's own program has ended: say so, and where it failed, hear who failed before."""
        if end.end != FAILED:
            first = None if end.end == SUCCEEDED else self._ledger.first
            await self._take_leave(end.end, first, _FAREWELL)
            return Answer(0, first, self._left())
        own = Statement(self._roster.own, end.at, end.text, derived=end.derived)
        self._ledger.failed(own)
        self._spread(lambda now: wire.failed(own, now))
        until = time.monotonic() + self._hold
        while time.monotonic() < until and not self._orphaned and not self._is_settled():
            await self._wait(until - time.monotonic())
        if own is self._ledger.first and own.derived:
            for statement in self._ledger.unlinked_hosts(time.monotonic()):
                self._ledger.failed(statement)
        first = self._ledger.first
        await self._take_leave(FAILED, first, 0.5)
        return Answer(0, None if first is own else first, self._left())

    def _is_settled(self) -> bool:
        """Whether nothing that is still to come would change which failure was first."""
        peers = self._ledger.peers
        told = all(link.confirmed or peers[link.host].end for link in self._links)
        told = told and all(peer.seen for peer in peers.values())
        first = self._ledger.first
        return told and (self._ledger.is_complete or (first is not None and not first.derived))

    async def _take_leave(self, end: str, because: Statement | None, limit: float) -> None:
        self._spread(lambda now: wire.over(end, because, now))
        until = time.monotonic() + limit
        while time.monotonic() < until and not self._is_said():
            await self._wait(until - time.monotonic())

    def _is_said(self) -> bool:
        """Whether everybody who would miss this host has heard its last word; a connection that just broke may come back."""
        peers = self._ledger.peers
        told = all(link.confirmed or peers[link.host].end for link in self._links)
        told = told and not self._greeted and len(self._tried) == len(peers)
        return told and not self._ledger.unlinked_hosts(time.monotonic())

    def _left(self) -> list[tuple[str, str]]:
        return [(host, peer.end) for host, peer in self._ledger.peers.items() if peer.end in (SUCCEEDED, STOPPED)]

    async def _wait(self, seconds: float) -> None:
        """Until something has changed, or so long."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), max(0.0, seconds))
        self._changed.clear()

    def _read_news(self) -> None:
        try:
            data = os.read(self._news, 1 << 16)
            if data:
                self._end = self._end or self._ended(data)
            else:
                asyncio.get_running_loop().remove_reader(self._news)
                self._orphaned = True
        except Exception as error:  # the loop would only say so
            self._broken = error
        self._changed.set()

    # -- what is said ------------------------------------------------------------------------------

    def _spread(self, word: Callable[[float], bytes]) -> None:
        """Say it to everybody, and to who comes later."""
        self._last_word = word
        for link in self._links:
            link.confirmed = False
            link.say(word(time.monotonic()))

    def _now(self) -> float:
        """The time; where this process did not run for long, nobody is missed for that. It is asked for at every beat."""
        now = time.monotonic()
        if now - self._awake > 2 * self._interval:
            self._ledger.slept(now - self._awake)
        self._awake = now
        return now

    @property
    def _interval(self) -> float:
        return min(_LONGEST_BEAT, self._roster.bound / _BEATS)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            self._now()
            for link in self._links:
                link.say(wire.beat())
            self._changed.set()

    # -- connections -------------------------------------------------------------------------------

    async def _listen(self) -> asyncio.AbstractServer | None:
        try:
            return await asyncio.start_server(self._accept, address(self._roster.own), PORT, limit=wire.LONGEST)
        except OSError as error:
            why = f"port {PORT} is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            self._say(
                "warning", f"cannot listen for the other hosts: {why}; what they say is heard where they can be reached"
            )
            return None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Whoever connects may be anybody; there are never more of them than a few for each host."""
        if self._accepted > 2 * len(self._roster.others) + 16:
            writer.close()
        else:
            self._tasks.add(asyncio.get_running_loop().create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted += 1
        try:
            await self._talk(reader, writer, set(self._roster.others))
        except ValueError as error:
            self._refused += 1
            if self._refused <= 5:
                peer = writer.get_extra_info("peername") or ("somebody",)
                self._say("warning", f"what {peer[0]} says is not understood: {error}")
        except _GONE:
            pass
        finally:
            self._accepted -= 1
            writer.close()

    async def _dial(self, host: str) -> None:
        """Connect to a host, again and again until it has taken its leave."""
        pause = _FIRST_PAUSE
        while not self._ledger.peers[host].end:
            began = time.monotonic()
            try:
                connecting = asyncio.open_connection(host, PORT, limit=wire.LONGEST)
                reader, writer = await asyncio.wait_for(connecting, _CONNECT)
                self._tried.add(host)
                try:
                    await self._talk(reader, writer, {host})
                finally:
                    writer.close()
            except (*_GONE, RuntimeError) as error:  # no thread more for a name, where the program uses up all of them
                self._say("debug", f"{host}: {error or type(error).__name__}")
            self._tried.add(host)
            self._changed.set()
            if time.monotonic() - began > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, expected: set[str]) -> None:
        """Until the connection ends. Raises ValueError where the other side is none of those expected, or talks nonsense."""
        writer.write(wire.hello(self._roster.name, self._roster.own))
        self._greeted += 1
        try:
            message = self._read(await asyncio.wait_for(reader.readline(), _HELLO))
        finally:
            self._greeted -= 1
            self._changed.set()
        if message is None or message.host == self._roster.own:
            return  # itself: where hosts share a network, another one's name may lead here
        if message.kind != "hello" or message.host not in expected:
            raise ValueError("expected a hello of " + " or ".join(sorted(expected)[:3]))
        link = _Link(message.host, writer)
        if not self._ledger.peers[link.host].seen:
            self._say("debug", f"{link.host} is there")
        self._ledger.linked(link.host, time.monotonic())
        self._links.add(link)
        self._changed.set()
        try:
            if self._last_word is not None:
                link.say(self._last_word(time.monotonic()))
            while True:
                message = self._read(await reader.readline())
                if message is None:
                    return
                self._take(link, message)
        finally:
            self._links.discard(link)
            self._ledger.unlinked(link.host)
            self._changed.set()

    def _read(self, line: bytes) -> Message | None:
        known = (*self._roster.others, self._roster.own)
        return wire.read(line, time.monotonic(), job=self._roster.name, hosts=known) if line else None

    def _take(self, link: _Link, message: Message) -> None:
        """What a host has said."""
        self._ledger.heard(link.host, time.monotonic())
        if message.kind == "heard":
            link.confirmed = True
        elif message.kind == "failed" and message.statement is not None:
            if message.statement.host != link.host:
                raise ValueError(f"{link.host} speaks for {message.statement.host}")
            self._ledger.failed(message.statement)
        elif message.kind == "over":
            self._say("debug", f"{link.host} has taken its leave: {message.end}")
            self._ledger.leaves(link.host, message.end)
            if message.statement is not None:
                self._ledger.failed(message.statement)
        if message.kind in ("failed", "over"):
            link.say(wire.heard())
        if message.kind != "beat":
            self._changed.set()

    def _part(self) -> None:
        """Take leave with nothing but a socket."""
        for host in self._roster.others:
            with contextlib.suppress(Exception), socket.create_connection((host, PORT), 1.0) as connection:
                connection.settimeout(1.0)
                hello = wire.hello(self._roster.name, self._roster.own)
                connection.sendall(hello + wire.over(UNWATCHED, None, 0.0))
                connection.recv(wire.LONGEST)  # its hello: closed before it is read, what was sent may be thrown away


def address(host: str) -> str | None:
    """Where to listen: everywhere, as the host's own name may lead to a loopback address; but where it is an address, there."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return host
    return None
