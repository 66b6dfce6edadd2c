"""What the first host runs on another one through ssh: it hands its words to the program that waits there (receive), and knows
no meaning of them.

    mpirun -mca orte_launch_agent "python3 -I …/handover.py" …

It stands in the place of orted, which so runs below the container's PID 1 with the container's environment, and not below sshd
with that of an ssh session.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

NAME = "\0smentry-mpirun"
"""An abstract socket (unix(7)): it belongs to the container's network namespace, and goes with who listens."""
ENDED = "--smentry-ended"
"""The first of two words that are none of orted's: the second is the exit code of mpirun."""
TAKEN = b"taken"

_PATIENCE = 60.0
"""Seconds that somebody may take to listen, and then to answer: sshd is up before it."""
_PAUSE = 0.2


def main(words: list[str]) -> int:
    """Hand the words over; an exit code, at any but 0 of which mpirun gives the host up."""
    until = time.monotonic() + _PATIENCE
    connection = _connected(until)
    try:
        connection.sendall(b"".join([word.encode("utf-8", "surrogateescape") + b"\0" for word in words]))
        connection.shutdown(socket.SHUT_WR)
        if connection.recv(len(TAKEN)) == TAKEN:
            return 0
        why = "it was refused"
    except OSError as error:
        why = error.strerror or str(error)
    finally:
        connection.close()
    say(f"mpirun's ranks cannot be started on {socket.gethostname()}: nobody waits there for mpirun: {why}")
    return 1


def _connected(until: float) -> socket.socket:
    """A connection, or a socket without one when it is too late."""
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_PATIENCE)
        try:
            connection.connect(NAME)
        except OSError:
            if time.monotonic() < until:
                connection.close()
                time.sleep(_PAUSE)
                continue
        return connection


def leave_interrupts() -> None:
    """Take back Python's own handler for SIGINT: who has a handler would be told in the place of the ranks, and end."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def say(line: str) -> None:
    """Write a line to stderr; where nobody reads that any more, go on without."""
    try:
        os.write(2, f"{line}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        pass


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
