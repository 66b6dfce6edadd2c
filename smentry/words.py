"""What the end of a program's stderr says, taken apart. It knows neither who reads it nor what for."""

from __future__ import annotations


class Words:
    """What a tail says. Every line is printable, and masked.

    `cause` is one line that names the reason, empty where none was recognised; `near`: it stands at the end, and did not happen
    long before. `last` is the last line that says anything. `lines` tell more: a traceback, else all there is; where there
    is no room for them all, their end counts, or (`first`) their beginning. `own` are the lines of a traceback that
    show where the user's own code was; `earlier` names the exception that led to that of `cause`. `killed`: somebody says that a
    process was killed. `derived`: what `cause` says mostly follows from what happened in another process, or on another host.
    `message` is the exception itself, with all lines of its message, which come after the traceback's.
    """

    __slots__ = ("cause", "derived", "earlier", "first", "killed", "last", "lines", "message", "near", "own")

    def __init__(self) -> None:
        self.cause = ""
        self.derived = False
        self.near = True
        self.last = ""
        self.lines: list[str] = []
        self.message: list[str] = []
        self.first = False
        self.own: list[str] = []
        self.earlier = ""
        self.killed = False
