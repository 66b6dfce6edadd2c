"""What a hook does, in its own process: become a command, send a signal and wait for its effect, copy, or call a function.

It runs in a forked child of smentry and says what goes wrong on its own output. It does not know when, nor what follows.
"""

from __future__ import annotations

import errno
import os
import time

from smentry.pid1 import linux, signals, targets
from smentry.pid1.stderr import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smentry.pid1.hooks import Copy, Hook

_LOOK = 0.1
"""Seconds between two looks for the path that a signal's effect is waited for with."""
_LONGEST_WORD = 0.5
"""Seconds that saying so has, when a hook has waited in vain, before its time is over; less where its time is short."""


class Deed:
    """A hook to be done: by a child of process `init`, whose main process is `main` (0: gone). `ended` is the Unix time at
    which the program did, None while it runs; at `deadline` (time.monotonic(), seconds) the child is killed. `inherited` is the
    mask of signals blocked before anything was started."""

    __slots__ = ("deadline", "ended", "hook", "inherited", "init", "main")

    def __init__(self, hook: Hook, init: int, main: int, inherited: int, ended: float | None, deadline: float) -> None:
        self.hook = hook
        self.init = init
        self.main = main
        self.inherited = inherited
        self.ended = ended
        self.deadline = deadline

    def prepare(self) -> None:
        """Load what it takes: another user may not be able to read it."""
        if self.hook.copy is not None:
            from smentry import copy  # noqa: F401
        elif self.hook.run:
            import shutil  # noqa: F401
        elif self.hook.call is None:
            import glob  # noqa: F401

    def do(self, environment: Mapping[str, str]) -> int:
        """Do it, and return the exit code; a command that can be executed does not return."""
        os.environ.clear()
        os.environ.update(environment)
        if self.hook.run:
            return _execute(self.hook.run, environment)
        if self.hook.call is not None:
            return _call(self.hook.call)
        return self._send() if self.hook.copy is None else self._copy(self.hook.copy)

    def _copy(self, what: Copy) -> int:
        from smentry import copy

        try:
            copy.run(what, ended=self.ended, deadline=self.deadline, say=say)
        except copy.CopyError as error:
            say(str(error))
            return 1
        return 0

    def _send(self) -> int:
        """Send the signal to those who asked for it, and wait for its effect."""
        signal, pattern = self.hook.signal, self.hook.wait_for
        name = signals.name(signal)
        before = _matches(pattern)
        processes = linux.descendants(self.init)
        # Where /proc does not show it (hidepid, proc(5)), it is all that is known of.
        if self.main and self.main not in processes:
            processes[self.main] = linux.glance(self.main, "the main process", 0)
        asked = targets.reach(processes, self.main, signal, inherited=self.inherited).asked if self.main else []
        if not asked:
            say(f"nobody has a handler for {name}, and without one it would kill: not sent")
            return 1
        sent = []
        for process in asked:
            try:
                os.kill(process.pid, signal)
                sent.append(process)
            except OSError as error:
                say(f"cannot send {name} to {process!r}: {error.strerror}")
        if not sent:
            return 1
        say(f"sent {name} to {', '.join(map(repr, sent[:5]))}{', …' if len(sent) > 5 else ''}")
        return self._wait(pattern, before, [process.pid for process in sent], name) if pattern else 0

    def _wait(self, pattern: str, before: dict[str, tuple[int, int]], sent: list[int], name: str) -> int:
        began = time.monotonic()
        # Before it is killed it says that it was in vain, for which a busy machine may need some time.
        until = self.deadline - max(2 * _LOOK, min(_LONGEST_WORD, (self.deadline - began) / 10))
        while True:
            left = any(_is_there(pid) for pid in sent)
            new = [path for path, version in _matches(pattern).items() if version != before.get(path)]
            if new:
                say(f"{new[0]} is there")
                return 0
            if not left:
                say(f"nothing new matches {pattern}, and who was sent {name} has gone")
                return 1
            if time.monotonic() > until:
                say(f"nothing new matches {pattern} after {time.monotonic() - began:.1f} s")
                return 1
            time.sleep(_LOOK)


def say(text: str) -> None:
    """One line on the hook's output."""
    os.write(1, (one_line(text) + "\n").encode("utf-8", "backslashreplace"))


def _call(function: Callable[[Callable[[str], None]], int]) -> int:
    """Call a function of smentry's own; what it raises is a line like any other, not a traceback."""
    try:
        return function(say)
    except BaseException as error:
        say(f"failed: {type(error).__name__}: {error}")
        return 1


def _execute(words: list[str], environment: Mapping[str, str]) -> int:
    """Become a command; returns the exit code that says why not."""
    import shutil

    path = words[0] if "/" in words[0] else shutil.which(words[0], path=environment.get("PATH"))
    if path is None:
        say(f"cannot run {words[0]}: it is not on PATH")
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
        say(f"cannot run {path}: {'the interpreter it names does not exist' if there else 'no such file'}")
        return 127
    except OSError as error:
        say(f"cannot run {path}: {error.strerror}")
        return 126


def _is_there(pid: int) -> bool:
    """Whether there is such a process, shown in /proc or not (hidepid), and no mere zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not linux.is_zombie(pid)


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
