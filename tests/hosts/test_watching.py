"""The watch alone, in a thread: what it does when it breaks, and where it listens."""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from running import LIMIT, wait_until

from smentry.hosts import watching, wire
from smentry.hosts.roster import PORT, Roster
from smentry.hosts.watching import End, Watch

from .cluster import addresses

if TYPE_CHECKING:
    from collections.abc import Callable


class Alone:
    """A watch of `own` in a thread of its own, of one other host; `said` is what it says."""

    def __init__(self, own: str, other: str, ended: Callable[[bytes], End | None]) -> None:
        self.said: list[str] = []
        self.error: BaseException | None = None
        self.answered = False
        reader, self.news = os.pipe()
        watch = Watch(Roster(own, [other], 30.0, "job"), reader, ended, 1.0, lambda _, text: self.said.append(text))

        def run() -> None:
            try:
                watch.run()
                self.answered = True
            except BaseException as error:
                self.error = error
            finally:
                os.close(reader)

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def ends_within(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def end(self) -> None:
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()
        os.close(self.news)


def test_a_watch_that_breaks_takes_leave_so_that_nobody_misses_its_host() -> None:
    own, other = addresses(2)

    def ended(data: bytes) -> End | None:
        raise RuntimeError("broken")

    with socket.create_server((other, PORT)) as server:
        server.settimeout(LIMIT)
        watch = Alone(own, other, ended)
        first, _ = server.accept()
        with first:
            first.sendall(wire.hello("job", other))
            os.write(watch.news, b"x")
            leave, _ = server.accept()
            with leave, leave.makefile("rb") as lines:
                leave.settimeout(LIMIT)
                said = [wire.read(lines.readline(), 0.0, job="job", hosts=(own, other)) for _ in range(2)]
                leave.sendall(wire.hello("job", other))
        watch.end()
    assert [message.kind for message in said] == ["hello", "over"]
    assert (said[0].host, said[1].end) == (own, "unwatched")
    assert "broken" in str(watch.error)


def test_it_listens_on_the_address_that_is_its_name() -> None:
    watch = Alone("::1", "no-such-host.invalid", lambda _: End("succeeded", 0.0))
    try:
        with _connect("::1") as connection, connection.makefile("rb") as lines:
            assert wire.read(lines.readline(), 0.0, job="job", hosts=("::1",)).host == "::1"
    finally:
        os.write(watch.news, b"x")
        watch.end()
    assert watch.answered


def test_a_watch_that_reaches_itself_by_the_name_of_another_host_says_nothing_of_it() -> None:
    own, other = addresses(2)
    watch = Alone(own, other, lambda _: End("succeeded", 0.0))
    try:
        with _connect(own) as connection, connection.makefile("rb") as lines:
            connection.sendall(wire.hello("job", own))
            assert wire.read(lines.readline(), 0.0, job="job", hosts=(own,)).host == own
            assert lines.readline() == b""
        assert not [line for line in watch.said if "not understood" in line]
    finally:
        os.write(watch.news, b"x")
        watch.end()


def test_who_may_know_its_name_already_hears_its_last_word() -> None:
    own, other = addresses(2)
    with socket.create_server((other, PORT)) as server:
        server.settimeout(LIMIT)
        watch = Alone(own, other, lambda _: End("succeeded", 0.0))
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as lines:
            connection.settimeout(LIMIT)
            assert lines.readline() == wire.hello("job", own)
            os.write(watch.news, b"x")
            assert not watch.ends_within(0.2)
            connection.sendall(wire.hello("job", other))
            assert wire.read(lines.readline(), 0.0, job="job", hosts=(own, other)).end == "succeeded"
            connection.sendall(wire.heard())
            watch.end()


@pytest.mark.parametrize("end", ["succeeded", "failed"])
def test_a_last_word_waits_for_a_connection_that_has_just_broken(end: str) -> None:
    own, other = addresses(2)
    with socket.create_server((other, PORT)) as server:
        server.settimeout(LIMIT)
        watch = Alone(own, other, lambda _: End(end, 0.0, "why"))
        connection, _ = server.accept()
        with connection:
            connection.sendall(wire.hello("job", other))
            wait_until(lambda: f"{other} is there" in watch.said, "the host to be known")
        os.write(watch.news, b"x")
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as lines:
            connection.settimeout(LIMIT)
            connection.sendall(wire.hello("job", other))
            assert lines.readline() == wire.hello("job", own)
            message = wire.read(lines.readline(), 0.0, job="job", hosts=(own, other))
            assert (message.kind, message.end) in (("failed", ""), ("over", end))
            assert (message.statement is not None) == (end == "failed")
            connection.sendall(wire.heard() * 2)
            watch.end()


def test_without_a_thread_for_a_name_it_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def submit(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
    watch = Alone(*addresses(1), "no-such-host.invalid", lambda _: End("succeeded", 0.0))
    try:
        wait_until(lambda: len([text for text in watch.said if "can't start" in text]) >= 2, f"two tries: {watch.said}")
    finally:
        os.write(watch.news, b"x")
        watch.end()
    assert watch.answered


# Not tried for real here, as it would take the port from every other test; containers have names.
@pytest.mark.parametrize(("own", "address"), [("algo-1", None), ("10.0.0.1", "10.0.0.1"), ("fe80::1", "fe80::1")])
def test_it_listens_everywhere_where_its_name_is_no_address(own: str, address: str | None) -> None:
    assert watching.address(own) == address


def _connect(address: str) -> socket.socket:
    import time

    until = time.monotonic() + LIMIT
    while True:
        try:
            return socket.create_connection((address, PORT), LIMIT)
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        except OSError as error:
            pytest.skip(f"no {address} here: {error}")
