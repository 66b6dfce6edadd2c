"""Starting a program as a child with everything handed down as it was. It knows fork and exec, and not what for."""

from __future__ import annotations

import errno
import os
import select

from smentry.pid1 import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import NoReturn


PATIENCE = 1000
"""Milliseconds that an exec may take before somebody asks whether it is still wanted."""
_NO_STREAMS: Mapping[int, int] = {}


class Identity:
    """A user to run as: `uid`, `gid` and the supplementary `groups`."""

    __slots__ = ("gid", "groups", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int]) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups


class Program:
    """What to start: the file `path` with `argv` and `environment`, in `directory`, as `identity`; `label` names it.

    `settle` is for what is known only once the start hooks have run: it returns the program to start instead, with the same
    environment and identity, or raises StartError.
    """

    __slots__ = ("argv", "directory", "environment", "identity", "label", "path", "settle")

    def __init__(
        self,
        argv: list[str],
        environment: dict[str, str],
        directory: str | None = None,
        identity: Identity | None = None,
        label: str = "",
        path: str = "",
        settle: Callable[[], Program] | None = None,
    ) -> None:
        self.settle = settle
        self.argv = argv
        self.environment = environment
        self.directory = directory
        self.identity = identity
        self.label = label or argv[0].rpartition("/")[2]
        self.path = path or argv[0]


class StartError(Exception):
    """The program could not be started; `code` is the exit code that says so, the text is for the user."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def start(
    program: Program,
    *,
    mask: Iterable[int],
    ignore_children: bool,
    terminal: bool,
    unwanted: Callable[[], int] = lambda: 0,
    streams: Mapping[int, int] = _NO_STREAMS,
) -> int:
    """Start a program in a process group of its own, and return its pid once it has been executed.

    `mask` and `ignore_children` are for signals.hand_down. With `terminal` its group becomes the foreground group of
    the terminal on stdin. `unwanted` is asked while a file system keeps the kernel from executing the program: the
    signal that makes it needless, or 0. `streams` says which of smentry's descriptors takes the place of one of the program's.
    Raises StartError.
    """
    try:
        reader, writer = os.pipe2(os.O_CLOEXEC)
    except OSError as error:
        raise StartError(1, f"cannot start {program.label}: no pipe for it ({error.strerror})") from None
    try:
        pid = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        reason = "the limit of processes or memory is reached" if error.errno == errno.EAGAIN else "no memory"
        raise StartError(1, f"cannot fork to start {program.label}: {error.strerror} ({reason})") from None
    if pid == 0:
        _become(program, mask, ignore_children, terminal, streams, writer)
    os.close(writer)
    report = b""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while True:
        if not poll.poll(PATIENCE):
            signal = unwanted()
            if signal:
                os.kill(pid, signals.KILL)
                os.close(reader)
                text = f"{signals.name(signal)} came, and the file system of {program.path} has not answered yet: not started"
                raise StartError(128 + signal, text)
            continue
        chunk = os.read(reader, 4096)
        if not chunk:
            break
        report += chunk
    os.close(reader)
    if report:
        os.waitpid(pid, 0)
        step, _, number = report.decode().partition(":")
        raise _explain(program, step, int(number))
    return pid


def _become(
    program: Program,
    mask: Iterable[int],
    ignore_children: bool,
    terminal: bool,
    streams: Mapping[int, int],
    report: int,
) -> NoReturn:
    """In the child: turn into the program. The pipe closes by itself at exec, or carries what went wrong."""
    step = "group"
    try:
        os.setpgid(0, 0)
        for descriptor, source in streams.items():
            os.dup2(source, descriptor)
        if terminal:
            # Here and not in the parent, so that the program is in the foreground from its first instruction. SIGTTOU,
            # which a background group would get for this, is blocked (tcsetpgrp(3)).
            try:
                os.tcsetpgrp(0, os.getpid())
            except OSError:
                pass  # not our controlling terminal: then nobody types ^C on it either
        step = "directory"
        if program.directory is not None:
            os.chdir(program.directory)
        step = "user"
        if program.identity is not None:
            os.setgroups(program.identity.groups)
            os.setgid(program.identity.gid)
            os.setuid(program.identity.uid)
        step = "signals"
        signals.hand_down(mask, ignore_children=ignore_children)
        step = "exec"
        try:
            os.execve(program.path, program.argv, program.environment)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            # exec(3): what the kernel does not recognise is a script for the shell.
            os.execve("/bin/sh", ["sh", program.path, *program.argv[1:]], program.environment)
    except OSError as error:
        os.write(report, f"{step}:{error.errno}".encode())
    except BaseException:  # nothing may ever return into the parent's code in a second process
        os.write(report, f"{step}:{errno.EINVAL}".encode())
    os._exit(126)


def _explain(program: Program, step: str, number: int) -> StartError:
    what = os.strerror(number)
    if step == "directory":
        return StartError(126, f"cannot start {program.label} in {program.directory}: {what}")
    if step == "user" and program.identity is not None:
        return StartError(126, f"cannot become user {program.identity.uid}: {what}; smentry must be root for --user")
    if step != "exec":
        return StartError(1, f"cannot start {program.label}: {what} ({step})")
    if number == errno.ENOENT and os.path.exists(program.path):
        return StartError(127, f"cannot run {program.path}: it exists, but the interpreter or loader it names does not")
    if number == errno.ENOENT:
        return StartError(127, f"cannot run {program.path}: no such file")
    return StartError(126, f"cannot run {program.path}: {what}")
