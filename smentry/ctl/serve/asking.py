"""One HTTP request to the container and what came back. It knows neither limits nor what an answer should be."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, IncompleteRead
from socket import SHUT_RDWR, socket, timeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_PIECE = 1 << 16
MOST = 64 << 20
"""Bytes of an answer that are waited for: far more than the platform takes, and little enough to be kept."""


@dataclass(frozen=True)
class Answer:
    """What came of a request."""

    at: float
    """When the request was made: seconds on the monotonic clock."""
    seconds: float
    """From then to the last byte of the answer, or until it was given up."""
    status: int | None = None
    """None: there was no answer, or not all of it."""
    error: str = ""
    """Why there was none."""
    late: bool = False
    """Whether it was given up because the time was over."""
    body: bytes = b""
    content_type: str = ""


def ask(
    port: int,
    method: str,
    path: str,
    *,
    limit: float,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    sent: threading.Event | None = None,
) -> Answer:
    """Make a request to 127.0.0.1, on a connection of its own, as the platform does; wait for `limit` seconds at most.

    Of an answer that is larger than MOST the body is as long as that, and a little more. `sent` is set as soon as all of the
    request is on its way.
    """
    began = time.monotonic()
    until = began + limit
    connection = HTTPConnection("127.0.0.1", port, timeout=limit)
    over: threading.Timer | None = None
    try:
        connection.connect()
        # The limit of a socket begins anew with each byte that comes.
        over = threading.Timer(max(until - time.monotonic(), 0), _shut, [connection.sock])
        over.daemon = True
        over.start()
        try:
            connection.request(method, path, body, dict(headers or {}))
        except (BrokenPipeError, ConnectionResetError):
            pass  # a server may have answered that this is too large, and hung up
        if sent is not None:
            sent.set()
        response = connection.getresponse()
        expected, came = response.length, bytearray()  # None: as long as it is
        while expected is None or len(came) < expected:
            piece = response.read1(_PIECE)
            if not piece:
                break
            came += piece
            if len(came) > MOST:
                expected = len(came)
        if time.monotonic() >= until:
            raise TimeoutError
        if expected is not None and len(came) < expected:
            raise IncompleteRead(bytes(came), expected - len(came))
        taken = time.monotonic() - began
        kind = response.headers.get("Content-Type", "")
        return Answer(began, taken, response.status, body=bytes(came), content_type=kind)
    except (OSError, HTTPException) as error:
        now = time.monotonic()
        if now >= until or isinstance(error, timeout):
            return Answer(began, now - began, error=f"no answer within {limit:g} s", late=True)
        return Answer(began, now - began, error=_reason(error))
    finally:
        if over is not None:
            over.cancel()
        connection.close()


class Request(threading.Thread):
    """A request that is on its way. `answer` is None until something has come of it."""

    def __init__(self, port: int, body: bytes, headers: Mapping[str, str], limit: float) -> None:
        super().__init__(name="request", daemon=True)
        self.sent = threading.Event()
        self.answer: Answer | None = None
        self._port, self._body, self._headers, self._limit = port, body, headers, limit
        self.start()

    def run(self) -> None:
        """Ask, and keep what comes."""
        self.answer = ask(
            self._port,
            "POST",
            "/invocations",
            limit=self._limit,
            body=self._body,
            headers=self._headers,
            sent=self.sent,
        )
        self.sent.set()

    def result(self) -> Answer:
        """What came of it; waits."""
        self.join()
        assert self.answer is not None
        return self.answer


def _shut(connection: socket) -> None:
    try:
        connection.shutdown(SHUT_RDWR)
    except OSError:
        pass  # it is closed already


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens"
    if isinstance(error, (ConnectionResetError, BrokenPipeError, IncompleteRead)):
        return "the connection was closed without an answer"
    if isinstance(error, HTTPException):
        return "what came is no answer in HTTP"
    return str(error) or type(error).__name__
