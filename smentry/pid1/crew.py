"""The companions as processes: how one is started, and what is said of it. When, and what follows, others decide."""

from __future__ import annotations

import os
import time

from smentry import executable
from smentry.errors import RefusedError
from smentry.pid1 import process, signals
from smentry.pid1.companions import CompanionFailed, CompanionOver, CompanionStarted, NotAgain, StartCompanion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from smentry.pid1.process import Program
    from smentry.pid1.timeline import Timeline
    from smentry.pid1.witness import Witness


class Crew:
    """Starts companions as `program` is started, with its user and environment, but the directory as it is and /dev/null as
    stdin; and watches them. `mask`, `ignore_children` and `unwanted` are for process.start.
    """

    def __init__(
        self,
        program: Program,
        timeline: Timeline,
        mask: Iterable[int],
        *,
        ignore_children: bool,
        unwanted: Callable[[], int],
        witness: Witness,
    ) -> None:
        self._program = program
        self._timeline = timeline
        self._mask = mask
        self._ignore_children = ignore_children
        self._unwanted = unwanted
        self._witness = witness
        self._paths: dict[int, str] = {}  # what was found once is not looked for again: that may take its time

    def acts(self) -> dict[type, Callable[..., CompanionStarted | CompanionFailed | None]]:
        """What is done for each effect that concerns companions; the supervisor, which is given too, is not needed for it."""
        return {
            StartCompanion: lambda _, effect: self.start(effect),
            CompanionOver: lambda _, effect: self.over(effect),
            NotAgain: lambda _, effect: self.not_again(effect),
        }

    def start(self, effect: StartCompanion) -> CompanionStarted | CompanionFailed:
        """Start a companion in a process group of its own."""
        companion, environment = effect.companion, self._program.environment
        null = -1
        try:
            null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            if companion.call is not None:
                return self._started(effect, self._fork(companion.call, null))
            if effect.index not in self._paths:
                self._paths[effect.index] = executable.lookup(companion.run[0], environment)
            pid = process.start(
                process.Program(
                    companion.run,
                    environment,
                    identity=self._program.identity,
                    label=f"companion {companion.name}",
                    path=self._paths[effect.index],
                ),
                mask=self._mask,
                ignore_children=self._ignore_children,
                terminal=False,
                unwanted=self._unwanted,
                streams={**self._witness.streams(), 0: null},  # what is typed is for the program
            )
        except RefusedError as error:
            return CompanionFailed(effect.index, error.code, error.message)
        except process.StartError as error:
            return CompanionFailed(effect.index, error.code, str(error))
        except OSError as error:  # no more files can be opened, or the disk fails: the program goes on
            return CompanionFailed(effect.index, 1, f"{error.filename or companion.name}: {error.strerror}")
        finally:
            if null >= 0:
                os.close(null)
        return self._started(effect, pid)

    def _started(self, effect: StartCompanion, pid: int) -> CompanionStarted:
        self._timeline.companion_started(effect.companion, pid, time.monotonic())
        return CompanionStarted(effect.index, pid)

    def _fork(self, call: Callable[[], int], null: int) -> int:
        """A child of smentry's own, as its own user and with its own stderr: what it writes is none of the program's words."""
        pid = os.fork()
        if pid:
            return pid
        code = 0
        try:
            os.setpgid(0, 0)
            os.dup2(null, 0)
            signals.hand_down(self._mask, ignore_children=self._ignore_children)
            code = call()
        finally:
            os._exit(code)  # nothing may ever return into the parent's code in a second process

    def over(self, effect: CompanionOver) -> None:
        """A companion has ended, or could not be started."""
        self._witness.companion_over(effect, self._timeline.companion_over(effect, time.monotonic()))

    def not_again(self, effect: NotAgain) -> None:
        """A companion that was to be started again will not be."""
        self._timeline.companion_not_again(effect.companion, time.monotonic())
