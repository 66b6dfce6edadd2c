"""How hooks are started, heard and killed. It knows processes and pipes; when a hook runs, and what of it, others decide."""

from __future__ import annotations

import fcntl
import os
import time

from smentry.pid1 import linux, signals
from smentry.pid1.stderr import OUTPUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import NoReturn

    from smentry.pid1.hooks import Copy, Hook
    from smentry.pid1.process import Program
    from smentry.pid1.stderr import Log

MARK = "SMENTRY_HOOK"
"""The variable that everything a hook starts inherits: its name and the number of its run."""

_CHUNK = 8192
"""Bytes that are read of a hook's output in one turn: thousands of lines may be in them, and deadlines come first."""
_PATIENCE = 9
"""So often at most is read at the end of a hook or of smentry: once more than a full pipe needs (pipe(7): 64 KiB)."""
_LINE = 3800
"""Bytes of a longest line of output: longer ones go on in the next, so that each is one write (stderr._LINE)."""
_LOOK = 0.1
"""Seconds between two looks for the path that a signal's effect is waited for with."""


class Runner:
    """The hooks that run, and the pipes on which what they write is heard."""

    def __init__(self, log: Log, program: Program, mask: Iterable[int], *, ignore_children: bool) -> None:
        self._log = log
        self._program = program
        self._mask = frozenset(mask)
        self._ignore_children = ignore_children
        self._runs = 0
        self._heard: dict[int, tuple[str, bytes]] = {}  # pipe → the hook's name, and the line it has begun
        self._pipes: dict[int, int] = {}  # pid → its pipe
        self._marks: dict[int, str] = {}  # pid → its mark

    def start(self, hook: Hook, variables: Mapping[str, str], *, main: int, ended: float | None, seconds: float) -> int:
        """Start a hook in a process group of its own, and return its pid. Raises OSError where that cannot be done.

        `variables` come to those of the program. `main` is the main process, 0 once it has gone; `ended` the Unix time at
        which the program did, None while it runs; `seconds` the hook's time.
        """
        self._runs += 1
        mark = f"{hook.name}.{self._runs}"
        environment = {**self._program.environment, **variables, MARK: mark}
        deadline = time.monotonic() + seconds
        init = os.getpid()
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            # The descriptions of a pipe's two ends are two: this does not concern the hook. SIGIO says that there is something
            # to read, so that the loop need not ask (fcntl(2), O_ASYNC).
            fcntl.fcntl(reader, fcntl.F_SETOWN, init)
            fcntl.fcntl(reader, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
            pid = os.fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            raise
        if pid == 0:
            act = _Act(hook, init, main, sum(1 << (number - 1) for number in self._mask), ended, deadline)
            self._become(hook, environment, writer, act)
        os.close(writer)
        try:
            os.setpgid(pid, pid)  # the child does so too: whoever is first, a kill of the group finds it
        except OSError:
            pass  # it has been executed, or has ended, and did it
        self._heard[reader] = (hook.name, b"")
        self._pipes[pid] = reader
        self._marks[pid] = mark
        return pid

    def _become(self, hook: Hook, environment: dict[str, str], writer: int, act: _Act) -> NoReturn:
        """In the child: turn into the hook. What goes wrong is said where the hook's output goes."""
        code = 126
        try:
            os.setpgid(0, 0)
            null = os.open(os.devnull, os.O_RDONLY)
            for descriptor, target in ((null, 0), (writer, 1), (writer, 2)):
                os.dup2(descriptor, target)
            act.prepare()
            identity = self._program.identity
            if identity is not None:
                os.setgroups(identity.groups)
                os.setgid(identity.gid)
                os.setuid(identity.uid)
            signals.hand_down(self._mask, ignore_children=self._ignore_children)
            os.environ.clear()
            os.environ.update(environment)
            code = _execute(hook.run, environment) if hook.run else act.do()
        except BaseException as error:  # nothing may ever return into the parent's code in a second process
            code = 126
            _print(f"cannot be run: {getattr(error, 'strerror', None) or error!r}")
        finally:
            os._exit(code)

    @staticmethod
    def variables(
        hook: Hook, *, reason: str, main: int, code: int | None, seconds: float, stop_at: float | None
    ) -> dict[str, str]:
        """What a hook finds in its environment beside what the program gets. `stop_at` is the Unix time of the SIGKILL."""
        found = {"SMENTRY_EVENT": hook.event}
        if reason:
            found["SMENTRY_REASON"] = reason
        if main:
            found["SMENTRY_PID"] = str(main)
        if code is not None:
            found["SMENTRY_EXIT_CODE"] = str(code)
        if seconds != float("inf"):
            found["SMENTRY_SECONDS_LEFT"] = f"{seconds:.3f}"
        if stop_at is not None:
            found["SMENTRY_STOP_AT"] = f"{stop_at:.3f}"
        return found

    def hear(self) -> bool:
        """Say what hooks have written; whether there may be more, which nothing else will tell."""
        more = [
            self._read(pipe) for pipe in list(self._heard)
        ]  # each of them: one that writes for ever is not the only one
        return True in more

    def _read(self, pipe: int) -> bool:
        name, begun = self._heard[pipe]
        try:
            data = os.read(pipe, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._say(name, begun)
            del self._heard[pipe]
            os.close(pipe)
            return False
        *lines, begun = (begun + data).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._say(name, line)
        while len(begun) > _LINE:
            self._say(name, begun[:_LINE])
            begun = begun[_LINE:]
        self._heard[pipe] = (name, begun)
        return len(data) == _CHUNK

    def _say(self, name: str, line: bytes) -> None:
        while line:
            text = line[:_LINE].decode("utf-8", "replace").expandtabs()
            self._log.say(OUTPUT, "output", f"{name}: {text}", {"hook": name})
            line = line[_LINE:]

    def over(self, pid: int) -> None:
        """A hook has ended: what it wrote is said first. What it left behind may go on writing."""
        pipe = self._pipes.pop(pid, -1)
        self._marks.pop(pid, None)
        for _ in range(_PATIENCE):
            if pipe not in self._heard or not self._read(pipe):
                break
        if pipe in self._heard:
            name, begun = self._heard[pipe]
            self._say(name, begun)
            self._heard[pipe] = (name, b"")

    def close(self) -> None:
        """smentry leaves: what was written until now is said, a line that was begun too."""
        for _ in range(_PATIENCE):
            if not self.hear():
                break
        for name, begun in self._heard.values():
            self._say(name, begun)

    def kill(self, pid: int) -> None:
        """SIGKILL a running hook and everything that it has started, wherever that has gone."""
        init, mark = os.getpid(), self._marks.get(pid, "")
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


# In the hook's own process.


def _print(text: str) -> None:
    os.write(1, (text + "\n").encode("utf-8", "backslashreplace"))


def _execute(words: list[str], environment: dict[str, str]) -> int:
    """Become a command; returns the exit code that says why not."""
    import errno
    import shutil

    path = words[0] if "/" in words[0] else shutil.which(words[0], path=environment.get("PATH"))
    if path is None:
        _print(f"cannot run {words[0]}: it is not on PATH")
        return 127
    try:
        try:
            os.execve(path, words, environment)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            # exec(3): what the kernel does not recognise is a script for the shell.
            os.execve("/bin/sh", ["sh", path, *words[1:]], environment)
    except FileNotFoundError:
        there = os.path.lexists(path)
        _print(f"cannot run {path}: {'the interpreter it names does not exist' if there else 'no such file'}")
        return 127
    except OSError as error:
        _print(f"cannot run {path}: {error.strerror}")
        return 126


class _Act:
    """A hook that is no command, and what it needs to know."""

    __slots__ = ("deadline", "ended", "hook", "inherited", "init", "main")

    def __init__(self, hook: Hook, init: int, main: int, inherited: int, ended: float | None, deadline: float) -> None:
        self.hook = hook
        self.init = init  # smentry
        self.main = main
        self.inherited = inherited
        self.ended = ended
        self.deadline = deadline

    def prepare(self) -> None:
        """Load what it takes: another user may not be able to read it."""
        if self.hook.copy is not None:
            from smentry import copy  # noqa: F401
        else:
            import glob  # noqa: F401
            import shutil  # noqa: F401

    def do(self) -> int:
        """Do it; returns the exit code."""
        return self._send() if self.hook.copy is None else self._copy(self.hook.copy)

    def _copy(self, what: Copy) -> int:
        from smentry import copy

        try:
            copy.run(what, ended=self.ended, deadline=self.deadline, say=_print)
        except copy.CopyError as error:
            _print(str(error))
            return 1
        return 0

    def _send(self) -> int:
        """Send the signal to those who asked for it, and wait for its effect."""
        from smentry.pid1 import targets

        signal, pattern = self.hook.signal, self.hook.wait_for
        name = signals.name(signal)
        before = _matches(pattern)
        processes = linux.descendants(self.init)
        if self.main not in processes:  # /proc does not show it (hidepid, proc(5)): it is all that is known of
            processes[self.main] = linux.glance(self.main, "the main process", 0)
        asked = targets.reach(processes, self.main, signal, inherited=self.inherited).asked if self.main else []
        if not asked:
            _print(f"nobody has a handler for {name}, and without one it would kill: not sent")
            return 1
        sent = []
        for process in asked:
            try:
                os.kill(process.pid, signal)
                sent.append(process)
            except OSError as error:
                _print(f"cannot send {name} to {process!r}: {error.strerror}")
        if not sent:
            return 1
        _print(f"sent {name} to {', '.join(map(repr, sent[:5]))}{', …' if len(sent) > 5 else ''}")
        while pattern:
            left = [process for process in sent if _is_there(process.pid)]
            new = [path for path, version in _matches(pattern).items() if version != before.get(path)]
            if new:
                _print(f"{new[0]} is there")
                return 0
            if not left:
                _print(f"nothing new matches {pattern}, and who was sent {name} has gone")
                return 1
            time.sleep(_LOOK)
        return 0


def _is_there(pid: int) -> bool:
    """Whether there is such a process, shown in /proc or not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _matches(pattern: str) -> dict[str, tuple[int, int]]:
    """What matches a pattern (none: nothing), and what tells one version of it from the next."""
    import glob

    found = {}
    for path in glob.glob(pattern, recursive=True) if pattern else ():
        try:
            status = os.stat(path)
        except OSError:
            continue  # it has gone again
        found[path] = (status.st_mtime_ns, status.st_ino)
    return found
