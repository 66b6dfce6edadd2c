"""How hooks are started, heard and killed. It knows processes and pipes; when a hook runs, and what it does, others know."""

from __future__ import annotations

import fcntl
import os
import time

from smentry.pid1 import linux, signals
from smentry.pid1.deed import Deed, say
from smentry.pid1.stderr import OUTPUT, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import NoReturn

    from smentry.pid1.hooks import Hook
    from smentry.pid1.process import Program
    from smentry.pid1.stderr import Log

MARK = "SMENTRY_HOOK"
"""The variable that everything a hook starts inherits, and that no other run of a hook has."""

_CHUNK = 2048
"""Bytes that are read of a hook's output at once: a thousand lines may be in them."""
_DESCRIPTORS = 1024
"""More descriptors than an init has open."""
_TURN = 0.01
"""Seconds that reading hooks' output may take in one turn of the loop, for deadlines come first."""
_LAST_WORDS = 0.05
"""Seconds that reading may take when a hook has ended."""
_KEPT = 10
"""Lines of a hook's output that are remembered."""
_LINE = 3800
"""Bytes of a longest line: a longer one goes on in the next, so that each is one write (stderr._LINE)."""


class _Run:
    """One run of a hook: the pipe it writes to (-1: nobody can any more), its last lines, and the one it has begun."""

    __slots__ = ("begun", "lines", "mark", "name", "pipe")

    def __init__(self, name: str, mark: str, pipe: int) -> None:
        self.name = name
        self.mark = mark
        self.pipe = pipe
        self.lines: list[str] = []
        self.begun = b""


class Runner:
    """The hooks that run, and the pipes on which what they write is heard."""

    def __init__(self, log: Log, program: Program, mask: Iterable[int], *, ignore_children: bool) -> None:
        self._log = log
        self._program = program
        self._mask = frozenset(mask)
        self._ignore_children = ignore_children
        self._count = 0
        self._identity = f"{os.getpid()}.{time.monotonic_ns():x}"  # of this smentry, should one run below another
        self._runs: dict[int, _Run] = {}  # pid → run, of hooks that have not ended
        self._heard: list[_Run] = []  # those whose pipe is open, in the order of their turns

    def start(self, hook: Hook, variables: Mapping[str, str], *, main: int, ended: float | None, seconds: float) -> int:
        """Start a hook in a process group of its own, and return its pid. Raises OSError where that cannot be done.

        `variables` come to those of the program. `main` is the main process, 0 once it has gone; `ended` the Unix time at
        which the program did, None while it runs; `seconds` the hook's time.
        """
        self._count += 1
        mark = f"{hook.name}.{self._count}.{self._identity}"
        environment = {**self._program.environment, **variables, MARK: mark}
        inherited = sum(1 << (number - 1) for number in self._mask)
        deed = Deed(hook, os.getpid(), main, inherited, ended, time.monotonic() + seconds)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            # The descriptions of a pipe's two ends are two: this does not concern the hook. SIGIO says that there is something
            # to read, so that the loop need not ask (fcntl(2), O_ASYNC).
            fcntl.fcntl(reader, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(reader, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
            pid = os.fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            raise
        if pid == 0:
            self._become(deed, environment, writer)
        os.close(writer)
        try:
            os.setpgid(pid, pid)  # the child does so too: whoever is first, a kill of the group finds it
        except OSError:
            pass  # it has been executed, or has ended, and did it
        run = _Run(hook.name, mark, reader)
        self._runs[pid] = run
        self._heard.append(run)
        return pid

    def _become(self, deed: Deed, environment: dict[str, str], writer: int) -> NoReturn:
        """In the child: turn into the hook. What goes wrong is said where the hook's output goes."""
        code = 126
        try:
            os.setpgid(0, 0)
            null = os.open(os.devnull, os.O_RDONLY)
            for descriptor, target in ((null, 0), (writer, 1), (writer, 2)):
                os.dup2(descriptor, target)
            if not deed.hook.run:
                # What exec would close: a copy of the tap's end would keep the program from seeing that nobody reads its stderr.
                os.closerange(3, _DESCRIPTORS)
            deed.prepare()
            identity = self._program.identity
            if identity is not None and not deed.hook.own:
                os.fchown(1, identity.uid, identity.gid)  # or it could not open /dev/stderr
                os.setgroups(identity.groups)
                os.setgid(identity.gid)
                os.setuid(identity.uid)
            signals.hand_down(self._mask, ignore_children=self._ignore_children)
            code = deed.do(environment)
        except BaseException as error:  # nothing may ever return into the parent's code in a second process
            code = 126
            say(f"cannot be run: {getattr(error, 'strerror', None) or repr(error)}")
        finally:
            os._exit(code)

    def hear(self) -> bool:
        """Say what hooks have written; whether there may be more, which nothing else will tell."""
        return self._hear(time.monotonic() + _TURN)

    def _hear(self, until: float) -> bool:
        quiet = 0  # so many in a row had nothing to say
        while quiet < len(self._heard):
            run = self._heard.pop(0)
            spoke = self._read(run)
            if run.pipe >= 0:
                self._heard.append(run)
            quiet = 0 if spoke else quiet + (run.pipe >= 0)
            if time.monotonic() >= until:
                return bool(self._heard)
        return False

    def _read(self, run: _Run) -> bool:
        """Say some of what a hook has written; whether there was something."""
        try:
            data = os.read(run.pipe, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._say_begun(run)
            os.close(run.pipe)
            run.pipe = -1
            return False
        *lines, run.begun = (run.begun + data).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._say(run, line)
        while len(run.begun) > _LINE:
            end = _LINE
            while end > _LINE - 3 and run.begun[end] & 0xC0 == 0x80:  # not within a character (UTF-8)
                end -= 1
            self._say(run, run.begun[:end])
            run.begun = run.begun[end:]
        return True

    def _say(self, run: _Run, line: bytes) -> None:
        data = one_line(line.decode("utf-8", "replace").expandtabs()).encode()
        most = _LINE // 2 if self._log.json else _LINE
        while data:
            text = data[:most].decode("utf-8", "ignore")
            self._log.say(OUTPUT, "output", f"{run.name}: {text}", {"hook": run.name})
            run.lines.append(text)
            data = data[len(text.encode()) :]
        del run.lines[:-_KEPT]

    def _say_begun(self, run: _Run) -> None:
        self._say(run, run.begun)
        run.begun = b""

    def over(self, pid: int) -> list[str]:
        """A hook has ended: what it wrote is said first. What it left behind may go on writing. Returns its last lines."""
        run = self._runs.pop(pid, None)
        until = time.monotonic() + _LAST_WORDS
        while run is not None and run.pipe >= 0 and self._read(run) and time.monotonic() < until:
            pass
        if run is not None:
            self._say_begun(run)
            self._heard = [other for other in self._heard if other.pipe >= 0]
        return [] if run is None else run.lines

    def close(self, until: float) -> None:
        """smentry leaves: what was written is said, a line that was begun too, as far as that goes until `until`."""
        if self._hear(until):
            self._log.warning("output", "some of what hooks wrote is lost: there was no time left to say it")
        for run in self._heard:
            self._say_begun(run)

    def kill(self, pid: int) -> None:
        """SIGKILL a running hook and everything that it has started, wherever that has gone."""
        init, mark = os.getpid(), self._runs[pid].mark
        below: dict[int, list[int]] = {}
        for process, parent in linux.parents().items():
            below.setdefault(parent, []).append(process)
        try:
            os.killpg(pid, signals.KILL)
        except OSError:
            pass  # everybody of it is gone
        # What it left to itself has come to smentry, or goes by what it inherited.
        victims = [pid, *(child for child in below.get(init, ()) if linux.has_in_environment(child, MARK, mark))]
        for victim in victims:
            victims += below.get(victim, ())
            try:
                os.kill(victim, signals.KILL)
            except OSError:
                pass  # it ended meanwhile
