"""The helper program that starts one host as a process: in namespaces of its own, or as a child that it keeps the descendants of.

It knows system calls and one host; neither engines nor jobs. It is a program because a process with threads cannot do this to
itself: unshare(2) with CLONE_NEWUSER needs a single thread. `main` gets a socket's descriptor as its argument, reads one line of
JSON there (`Spec`), and answers `{"pid": N}`, or `{"error": "…"}` and ends. From then on each byte that comes is a
signal for the host's PID 1. When that has ended, everything it left is killed, `{"code": N}` is the answer, and the helper ends.
So it does when the socket is closed: nothing of the host outlives who has started it, even one that was killed.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import sys
import time

from smentry.errors import NOT_EXECUTABLE, NOT_FOUND
from smentry.pid1 import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn, TypedDict

    class Spec(TypedDict):
        """A host: what is executed, and what it then sees."""

        namespaces: bool
        name: str
        """The host name."""
        words: list[str]
        """Looked for on the environment's PATH; nothing is executed where there are none."""
        environment: dict[str, str]
        mounts: list[tuple[str, str, bool]]
        """Source, target, whether read-only; in their order. Only with namespaces."""


_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000  # <linux/sched.h>
_NAMESPACES = _NEWNS | _NEWUTS | _NEWIPC | _NEWPID

# <linux/mount.h>
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT = 1, 2, 4, 8, 32
_NOATIME, _NODIRATIME, _BIND, _REC, _PRIVATE, _RELATIME = 1 << 10, 1 << 11, 1 << 12, 1 << 14, 1 << 18, 1 << 21

_KEPT = (
    (os.ST_NOSUID, _NOSUID),
    (os.ST_NODEV, _NODEV),
    (os.ST_NOEXEC, _NOEXEC),
    (os.ST_NOATIME, _NOATIME),
    (os.ST_NODIRATIME, _NODIRATIME),
    (os.ST_RELATIME, _RELATIME),
)
"""Flags that a remount must repeat: without rights outside the user namespace they are locked (mount_namespaces(7))."""

SWEEP = 10.0
"""Seconds after which what cannot be killed (another user's process, one in an endless system call) is left."""


class ProgramError(OSError):
    """The program cannot be executed; `filename` is the word it was asked for by."""


def main() -> None:
    """Start the host that the socket `sys.argv[1]` tells of, and stay until it has ended."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    spec: Spec = json.loads(channel.makefile("rb").readline())
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    try:
        if spec["namespaces"]:
            enter()
        else:
            linux.become_subreaper()
        pid = _start(spec)
    except ProgramError as error:
        code = NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE
        _answer(channel, error=error.strerror, program=error.filename, code=code)
        return
    except OSError as error:
        _answer(channel, error=f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror))
        return
    _answer(channel, pid=pid)
    code = _follow(pid, channel, woken)
    if not spec["namespaces"]:
        _sweep(woken)
    _answer(channel, code=code)


def _answer(channel: socket.socket, **values: object) -> None:
    try:
        channel.sendall(json.dumps(values).encode() + b"\n")
    except OSError:
        pass  # nobody is there any more


def _follow(pid: int, channel: socket.socket, woken: int) -> int:
    """Send the signals that are asked for, until the host's PID 1 has ended; its code, 128 + N after signal N."""
    asking: list[int | socket.socket] = [channel, woken]
    while True:
        ready, _, _ = select.select(asking, [], [])
        if woken in ready and any(number != signal.SIGCHLD for number in os.read(woken, 512)):
            os.kill(pid, signal.SIGKILL)
        for reaped, status in _reaped():
            if reaped == pid:
                return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
        if channel in ready:
            numbers = _received(channel)
            for number in numbers or (signal.SIGKILL,):
                os.kill(pid, number)
            if not numbers:
                asking = [woken]


def _received(channel: socket.socket) -> bytes:
    """The signals that are asked for; none where nobody is there any more."""
    try:
        return channel.recv(512)
    except OSError:
        return b""


def _reaped() -> Iterable[tuple[int, int]]:
    """Pid and wait status of every child that has ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, status


def _sweep(woken: int) -> None:
    """Kill every descendant, as the kernel does with a PID namespace when its PID 1 exits (pid_namespaces(7))."""
    until = time.monotonic() + SWEEP
    while time.monotonic() < until:
        for _ in _reaped():
            pass
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return  # orphans come here, so without a child there is no descendant
        for pid in linux.descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass  # gone, or another user's
        if select.select([woken], [], [], 0.02)[0]:
            os.read(woken, 512)


def _start(spec: Spec) -> int:
    """Fork the host's PID 1; returns when it has executed its program. Raises OSError where that or what goes before failed."""
    reading, writing = os.pipe()  # closed at exec
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            _become(spec, writing)
        except BaseException as error:
            known = error if isinstance(error, OSError) else OSError(0, repr(error))
            said = [isinstance(known, ProgramError), known.errno, known.strerror, known.filename]
            os.write(writing, json.dumps(said).encode())
        finally:
            os._exit(127)
    os.close(writing)
    with open(reading, "rb") as pipe:
        failed = pipe.read()
    if failed:
        os.waitpid(pid, 0)
        program, *said = json.loads(failed)
        raise ProgramError(*said) if program else OSError(*said)
    return pid


def _become(spec: Spec, writing: int) -> NoReturn:
    """Be the host's PID 1. Raises OSError."""
    linux.signal_on_parent_death(signal.SIGKILL)
    watch = select.poll()
    watch.register(writing, select.POLLERR)
    if watch.poll(0):
        os._exit(1)  # the parent died before it could be asked for: poll(2), nobody reads
    os.setsid()
    if spec["namespaces"]:
        _furnish(spec)
    if not spec["words"]:
        os._exit(0)
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    os.chdir("/")
    words = spec["words"]
    try:
        os.execvpe(words[0], words, spec["environment"])
    except OSError as error:
        raise ProgramError(error.errno, error.strerror, words[0]) from None  # execvpe names the last directory of PATH


# -- namespaces ------------------------------------------------------------------------------------


def enter() -> None:
    """Go into new mount, UTS and IPC namespaces; the next child is PID 1 of a new PID namespace (unshare(2)).

    Without the right to it: inside of a new user namespace, as its root, who is the present user outside. Raises OSError.
    """
    if os.geteuid() == 0:
        try:
            _unshare(_NAMESPACES)
        except PermissionError:  # root of a container
            pass
        else:
            return
    enter_user(_NAMESPACES)


def enter_user(others: int = 0) -> None:
    """Become root of a new user namespace, and of `others` made in it (user_namespaces(7)). Raises OSError."""
    user, group = os.geteuid(), os.getegid()
    _unshare(_NEWUSER | others)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        try:
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
        except OSError as error:  # AppArmor: a user namespace is given, and no right in it
            raise OSError(error.errno, error.strerror, name) from None


def _furnish(spec: Spec) -> None:
    """Make the mounts and take the host name. Raises OSError that names the target."""
    _mount("none", "/", "", _REC | _PRIVATE)
    # Before the first mount hides one of them. Not before unshare(2): what is bound must be of the same mount namespace.
    sources = [os.open(source, os.O_PATH) for source, _, _ in spec["mounts"]]
    made: list[str] = []
    for source, (_, target, read_only) in zip(sources, spec["mounts"]):
        _make_point(target, made)
        _mount(f"/proc/self/fd/{source}", target, "", _BIND | _REC)
        if read_only:
            present = os.statvfs(target).f_flag
            kept = sum(flag for shown, flag in _KEPT if present & shown)
            _mount("none", target, "", _BIND | _REMOUNT | _RDONLY | kept)
        made.append(target)
    _mount("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    socket.sethostname(spec["name"])


def _make_point(target: str, made: Iterable[str]) -> None:
    """See that there is something at `target` to mount over, without making anything on the machine's own disk."""
    there = target
    while not os.path.exists(there):
        there = os.path.dirname(there)
    if there == target:
        return
    if not any(f"{there}/".startswith(f"{mount}/") for mount in made):
        _refill(there)
    os.makedirs(target)


def _refill(directory: str) -> None:
    """Put an empty file system over a directory, and everything that is in the directory back into it."""
    if directory == "/":
        raise OSError(0, "the directory above it is not there either", directory)
    hidden = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    entries = list(os.scandir(directory))
    _mount("tmpfs", directory, "tmpfs", _NOSUID | _NODEV, "mode=755")
    for entry in entries:
        if entry.is_symlink():
            os.symlink(os.readlink(entry.name, dir_fd=hidden), entry.path)
            continue
        if entry.is_dir():
            os.mkdir(entry.path)
        else:
            os.mknod(entry.path)
        _mount(f"/proc/self/fd/{hidden}/{entry.name}", entry.path, "", _BIND | _REC)
    os.close(hidden)


def _unshare(flags: int) -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).unshare(ctypes.c_int(flags)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "unshare")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2). Raises OSError with the target as its file name."""
    import ctypes

    texts = [os.fsencode(text) for text in (source, target, kind)]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(*texts, ctypes.c_ulong(flags), os.fsencode(data)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), target)
