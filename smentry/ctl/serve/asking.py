"""One HTTP request to the container and what came back. It knows neither limits nor what an answer should be."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, IncompleteRead
from socket import timeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_PIECE = 1 << 16


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

    `sent` is set as soon as all of the request is on its way.
    """
    began = time.monotonic()
    until = began + limit
    connection = HTTPConnection("127.0.0.1", port, timeout=limit)
    try:
        connection.request(method, path, body, dict(headers or {}))
        if sent is not None:
            sent.set()
        socket = connection.sock
        response = connection.getresponse()
        expected, came = response.length, bytearray()  # None: as long as it is
        while expected is None or len(came) < expected:
            socket.settimeout(max(until - time.monotonic(), 0.001))
            piece = response.read1(_PIECE)
            if not piece:
                break
            came += piece
        if expected is not None and len(came) < expected:
            raise IncompleteRead(bytes(came), expected - len(came))
        taken = time.monotonic() - began
        kind = response.headers.get("Content-Type", "")
        return Answer(began, taken, response.status, body=bytes(came), content_type=kind)
    except (TimeoutError, timeout):  # they are one from Python 3.10
        return Answer(began, time.monotonic() - began, error=f"no answer within {limit:g} s", late=True)
    except (OSError, HTTPException) as error:
        return Answer(began, time.monotonic() - began, error=_reason(error))
    finally:
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


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens"
    if isinstance(error, (ConnectionResetError, BrokenPipeError, HTTPException)):
        return "the connection was closed without an answer"
    return str(error) or type(error).__name__
