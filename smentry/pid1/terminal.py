"""The terminal on stdin: who is in its foreground. It knows job control, and no stop."""

from __future__ import annotations

import os


class Terminal:
    """The terminal on stdin, where smentry itself is in its foreground: a background job does not take it away."""

    __slots__ = ("ours",)

    def __init__(self) -> None:
        self.ours = False
        """Whether the program is to have it."""
        try:
            self.ours = os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
        except OSError:
            pass

    def has_job_control(self) -> bool:
        """Whether a shell waits for smentry that knows about ^Z; as PID 1, or below one, nobody would let it go on."""
        pid = os.getpid()
        return self.ours and pid != 1 and os.getppid() != 1 and os.getpgrp() == pid != os.getsid(0)

    def hand_on(self, group: int) -> None:
        """Put `group` in the foreground, where smentry was put there."""
        self._change(os.getpgrp(), group)

    def take_back(self, group: int) -> None:
        """From a group that is dead: whoever reads next would be stopped for it."""
        if self.ours:
            self._change(group, os.getpgrp())

    @staticmethod
    def _change(before: int, after: int) -> None:
        try:
            if os.tcgetpgrp(0) == before:
                os.tcsetpgrp(0, after)
        except OSError:
            pass  # the terminal has gone
