"""Requests to real sockets that answer, do not, or do so too slowly."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from running import LIMIT

from smentry.ctl.serve.asking import MOST, Request, ask

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
    ("said", "error"),
    [
        (b"", "the connection was closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "the connection was closed without an answer"),
        (b"no HTTP at all\r\n\r\n", "what came is no answer in HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x0a", "what came is no answer in HTTP"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            "the connection was closed without an answer",
        ),
    ],
)
def test_half_an_answer_is_none(said: bytes, error: str, server: Server) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(said)

    got = ask(server(answer), "GET", "/ping", limit=LIMIT)
    assert got.status is None
    assert got.error == error
    assert not got.late


@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_the_time_is_for_all_of_the_answer(begin: bytes, drip: bytes, server: Server) -> None:
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(begin)
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


def test_of_an_answer_without_an_end_only_so_much_is_kept(server: Server) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(bytes(1 << 20))

    got = ask(server(answer), "GET", "/ping", limit=LIMIT)
    assert (got.status, got.error) == (200, "")
    assert MOST < len(got.body) < MOST + (1 << 20)


def test_who_answers_before_all_of_the_request_is_there_is_heard(server: Server) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 10)
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")

    got = ask(server(answer), "POST", "/invocations", limit=LIMIT, body=bytes(32 << 20))
    assert got.status == 413


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
