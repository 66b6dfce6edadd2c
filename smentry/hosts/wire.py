"""What hosts say to each other: a JSON object on a line. It knows texts, and neither sockets nor what follows from them.

Whatever comes may have been sent by anybody: it is read with bounds on everything, and what is wrong is refused as a whole.
"""

from __future__ import annotations

import json

from smentry.hosts.ledger import ENDS, Statement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

LONGEST = 8192
"""Bytes of the longest line."""
TEXT = 400
"""Characters of the longest reason: it shares the failure file's first line with other things."""
_AGO = 366 * 86400.0
_VERSION = 1


class Message:
    """`kind` is hello, beat, failed, over or heard. A hello names its `host`; `over` says how (`end`), and why; `statement` is
    that of `failed`, or why it is `over`, None where there is none."""

    __slots__ = ("end", "host", "kind", "statement")

    def __init__(self, kind: str, *, host: str = "", end: str = "", statement: Statement | None = None) -> None:
        self.kind = kind
        self.host = host
        self.end = end
        self.statement = statement


def hello(job: str, host: str) -> bytes:
    """The first line of either side."""
    return _line({"smentry": _VERSION, "is": "hello", "job": job, "host": host})


def beat() -> bytes:
    """A sign of life."""
    return _line({"is": "beat"})


def heard() -> bytes:
    """The answer to `failed` and `over`."""
    return _line({"is": "heard"})


def failed(statement: Statement, now: float) -> bytes:
    """A failure of the sender's own."""
    return _line({"is": "failed", "failure": _failure(statement, now)})


def over(end: str, because: Statement | None, now: float) -> bytes:
    """The sender takes its leave: `end` is one of ledger.ENDS, `because` another host's failure."""
    return _line({"is": "over", "end": end, "failure": None if because is None else _failure(because, now)})


def read(line: bytes, now: float, *, job: str, hosts: Collection[str]) -> Message:
    """The message of a line. `job` is the name that a hello must have, `hosts` those who are known. Raises ValueError."""
    if not line.endswith(b"\n"):
        raise ValueError("a line without an end")
    try:
        said = json.loads(line)
    except RecursionError:
        raise ValueError("too many brackets") from None
    if not isinstance(said, dict):
        raise ValueError("expected an object")
    kind = said.get("is")
    if kind == "hello":
        if said.get("smentry") != _VERSION:
            raise ValueError(f"expected a hello of version {_VERSION}, got {str(said.get('smentry'))[:20]!r}")
        if said.get("job") != job:
            raise ValueError(f"it belongs to the job {str(said.get('job'))[:100]!r}")
        return Message(kind, host=_host(said.get("host"), hosts))
    if kind in ("beat", "heard"):
        return Message(kind)
    if kind == "failed":
        return Message(kind, statement=_statement(said.get("failure"), now, hosts))
    if kind == "over":
        end, failure = said.get("end"), said.get("failure")
        if end not in ENDS:
            raise ValueError("expected how it ended")
        return Message(kind, end=end, statement=None if failure is None else _statement(failure, now, hosts))
    raise ValueError(f"expected a message, got {str(kind)[:20]!r}")


def _line(said: dict[str, Any]) -> bytes:
    return json.dumps(said).encode() + b"\n"


def _failure(statement: Statement, now: float) -> dict[str, Any]:
    return {
        "host": statement.host,
        "ago": max(0.0, now - statement.at),
        "text": statement.text[:TEXT],
        "derived": statement.derived,
        "lost": statement.lost,
    }


def _statement(said: object, now: float, hosts: Collection[str]) -> Statement:
    if not isinstance(said, dict):
        raise ValueError("expected a failure")
    ago, text = said.get("ago"), said.get("text")
    # NaN and Infinity are numbers to Python's reader of JSON; neither is in the range.
    if isinstance(ago, bool) or not isinstance(ago, (int, float)) or not 0 <= ago <= _AGO:
        raise ValueError("expected how long ago it was, in seconds")
    if not isinstance(text, str) or not text:
        raise ValueError("expected a text")
    shown = "".join([c if c.isprintable() else " " for c in text[:TEXT]])
    host = _host(said.get("host"), hosts)
    return Statement(host, now - ago, shown, derived=said.get("derived") is True, lost=said.get("lost") is True)


def _host(name: object, hosts: Collection[str]) -> str:
    if not isinstance(name, str) or name not in hosts:
        raise ValueError(f"no host of this job: {str(name)[:100]!r}")
    return name
