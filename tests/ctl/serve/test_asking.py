"""Requests to real sockets that answer, do not, or do so too slowly."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from running import LIMIT

from smentry.ctl.serve.asking import Request, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Server = Callable[[Callable[[socket.socket], None]], int]


@pytest.fixture
def server() -> Iterator[Server]:
    """Serve one connection with a function; its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    threads = []

    def serve(answer: Callable[[socket.socket], None]) -> int:
        def run() -> None:
            connection, _ = listening.accept()
            with connection:
                answer(connection)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        return int(listening.getsockname()[1])

    yield serve
    for thread in threads:
        thread.join(LIMIT)
    listening.close()


def test_an_answer_is_status_type_and_body(server: Server) -> None:
    asked = []

    def answer(connection: socket.socket) -> None:
        asked.append(connection.recv(1 << 16))
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        )

    port = server(answer)
    got = ask(
        port, "POST", "/invocations", limit=LIMIT, body=b"", headers={"Content-Type": "text/csv", "Accept": "a/b"}
    )
    assert (got.status, got.body, got.content_type, got.error, got.late) == (200, b"ab", "text/csv", "", False)
    assert b"POST /invocations HTTP/1.1\r\n" in asked[0]
    assert b"Content-Type: text/csv\r\n" in asked[0]
    assert b"Accept: a/b\r\n" in asked[0]
    assert b"Content-Length: 0\r\n" in asked[0]


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert ask(port, "GET", "/ping", limit=LIMIT).error == "nobody listens"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_half_an_answer_is_none(said: bytes, server: Server) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(said)

    got = ask(server(answer), "GET", "/ping", limit=LIMIT)
    assert got.status is None
    assert got.error == "the connection was closed without an answer"
    assert not got.late


@pytest.mark.parametrize("drip", [b"", b"x"])
def test_the_time_is_for_all_of_the_answer(drip: bytes, server: Server) -> None:
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not over.wait(0.05):
            try:
                connection.sendall(drip)
            except OSError:
                return

    began = time.monotonic()
    got = ask(server(answer), "GET", "/ping", limit=0.5)
    over.set()
    assert (got.status, got.late, got.error) == (None, True, "no answer within 0.5 s")
    assert time.monotonic() - began < LIMIT / 2


def test_a_request_says_when_it_is_on_its_way_and_what_came_of_it(server: Server) -> None:
    let = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        let.wait(LIMIT)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    request = Request(server(answer), b"body", {}, LIMIT)
    assert request.sent.wait(LIMIT)
    assert request.answer is None
    let.set()
    assert request.result().status == 204
