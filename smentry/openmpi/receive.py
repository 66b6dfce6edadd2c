"""The program of a host that mpirun on another one starts ranks on: sshd, then mpirun's daemon orted, then the end of the job.

    python3 -I receive.py MASTER

It has no handler for a stop signal, and takes no part in a stop: who asked for the signal are the ranks below orted.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # with -I, where smentry may not be installed

from smentry.openmpi import handover

FIRST = 45 * 60.0
"""Seconds until mpirun must have come: until all hosts have an address, and then until all of them let the first one in."""
LAST = 30.0
"""Seconds from orted's end until the first host must have said how mpirun ended."""
_MOST = 1 << 20
"""Bytes of the words that are taken."""
_NOT_FOUND = 127


def main(words: list[str]) -> int:
    """Run orted for mpirun on the host MASTER; the exit code is mpirun's."""
    handover.leave_interrupts()
    master = words[0]
    orted = shutil.which("orted") or shutil.which("prted")
    sshd = shutil.which("sshd", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if orted is None:
        return _failed("mpirun needs Open MPI in the image of every host: orted is not on PATH", _NOT_FOUND)
    if sshd is None:
        return _failed(
            "mpirun over several hosts needs sshd (openssh-server) in the image, and a key for ssh", _NOT_FOUND
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(handover.NAME)
    except OSError as error:
        return _failed(
            f"cannot wait for mpirun on {master}: {error.strerror}: does another job run in this container?", 1
        )
    listener.listen(8)
    door = _open(sshd)
    try:
        return _serve(listener, door, orted, master)
    finally:
        door.terminate()
        door.wait()


def _open(sshd: str) -> subprocess.Popen[bytes]:
    """Start sshd, by its whole path as it wants it, and make its directory, which a boot would have made."""
    try:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    except OSError:
        pass  # where it is needed, sshd says so itself
    # At its usual level it would say of each connection who it was, and of its own end, as the last thing this host says.
    return subprocess.Popen([sshd, "-D", "-e", "-o", "LogLevel=ERROR"], stdin=subprocess.DEVNULL)


def _serve(listener: socket.socket, door: subprocess.Popen[bytes], orted: str, master: str) -> int:
    words = _words(listener, FIRST, door)
    if words is None and door.poll() is not None:
        return _failed(f"sshd has ended with exit code {door.returncode}, so mpirun on {master} cannot come here", 1)
    if words is None:
        return _failed(f"mpirun on {master} has not come for {FIRST / 60:g} minutes", 1)
    if words[:1] != [handover.ENDED]:
        # As a daemon it would leave this process, and its end would not be known.
        daemon = subprocess.Popen([orted, *[word for word in words if word != "--daemonize"]], stdin=subprocess.DEVNULL)
        own = daemon.wait()
        # A stop tells who is left when the ranks have gone: it is for seconds.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        words = _words(listener, LAST, door)
        if words is None or words[:1] != [handover.ENDED]:
            how = f"with exit code {own}" if own else "here"
            return _failed(f"{master} has not said how mpirun ended; its daemon ended {how}", own if own > 0 else 1)
    code = int(words[1]) if words[1:] and words[1].isdigit() and int(words[1]) < 256 else 1
    return _failed(f"mpirun on {master} has ended with exit code {code}: see there", code) if code else 0


def _words(listener: socket.socket, limit: float, door: subprocess.Popen[bytes]) -> list[str] | None:
    """The words that come next, None where none do within `limit` seconds or sshd ends before."""
    until = time.monotonic() + limit
    while time.monotonic() < until:
        listener.settimeout(1.0)
        try:
            connection, _ = listener.accept()
        except socket.timeout:  # TimeoutError only from Python 3.10 on
            if door.poll() is not None:
                return None
            continue
        with connection:
            connection.settimeout(10.0)
            try:
                words = _read(connection)
                if words is not None:
                    connection.sendall(handover.TAKEN)
                    return words
            except OSError:
                continue  # it has gone away
    return None


def _read(connection: socket.socket) -> list[str] | None:
    """What was sent; None where it is nothing, not for us, or too long."""
    # SO_PEERCRED (unix(7)): struct ucred, pid, uid and gid
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    data = b""
    while len(data) <= _MOST:
        part = connection.recv(65536)
        if not part:
            words = data.decode("utf-8", "surrogateescape").split("\0")
            return (words[:-1] or None) if uid in (0, os.getuid()) else None
        data += part
    return None


def _failed(why: str, code: int) -> int:
    handover.say(why)
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
