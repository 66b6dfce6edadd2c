"""Stops at random moments of random programs and companions: no hang, nothing too late, nothing left, no checkpoint lost.

SMENTRY_STOPS says how many; SMENTRY_SEED repeats a run. A program and its stop depend on the seed and their number
only. A save takes less time than what is left when nearly all of the time of a stop is used: who is told only then can do it too.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from running import PROGRAMS, Starter, namespace

if TYPE_CHECKING:
    from pathlib import Path

STOPS = int(os.environ.get("SMENTRY_STOPS", "20"))
SEED = int(os.environ.get("SMENTRY_SEED") or random.SystemRandom().randrange(1 << 32))
AT_ONCE = 16
LOST = 99
"""The exit code of a program whose workers were taken from it (`member.py`); it has lost its checkpoint then."""

GONE = {127, 255}
"""What `wait` says of a child that ended before; 255 is bash's, when its trap ran meanwhile."""

INTERRUPTED = 1
"""What CPython exits with when SIGINT comes while it starts."""

LINGER = 1.0
"""Seconds for what is left when a program ends by itself."""

LONGEST_SAVE = 0.4
"""Seconds; more than is left at the end of `LINGER`, and less than at the end of a stop."""

LIFE = 3.0
"""Seconds after its start until when a program is stopped."""

SHELLS = [
    shell for shell in ("sh", "bash", "dash", "busybox sh", "zsh", "ksh", "mksh") if shutil.which(shell.split()[0])
]
PYTHON = f"{sys.executable} -I -S {PROGRAMS}/member.py"


class Composer:
    """Writes random programs: a shell command line each."""

    def __init__(self, number: int) -> None:
        self._random = random.Random(f"{SEED}/{number}")
        self._members = 0
        self.codes = {0}
        self.mode = self._random.choice(["subreaper", "init"] if namespace() else ["subreaper"])
        self.timeout = self._random.uniform(8, 10)
        self.moment = LIFE * self._random.random() ** 1.5
        self.signal = self._random.choice([signal.SIGTERM] * 8 + [signal.SIGINT, signal.SIGQUIT])
        self.scope = self._random.choice(["auto"] * 7 + ["main", "group", "all"])
        self.command = self._wrapped(self._random.choice([0, 0, 1, 1, 2, 3]))
        self.companions = [
            self._wrapped(self._random.choice([0, 1, 2])) for _ in range(self._random.choice([0, 0, 1, 2]))
        ]

    @property
    def config(self) -> str:
        """The configuration file, empty where there are no companions."""
        lines = [
            json.dumps({"name": f"companion {number}", "run": ["sh", "-c", f"exec {command}"], "required": False})
            for number, command in enumerate(self.companions)
        ]
        return "\n- ".join(["processes:", *lines]) if lines else ""

    def _member(self) -> str:
        """One process of our own."""
        pick = self._random
        self._members += 1
        role = pick.choice(["save"] * 8 + ["work", "work", "daemon", "daemon", "ignore", "fork"])
        code = pick.choice([0, 0, 0, 1, 7, 255])
        self.codes.add(code)
        late = 0.0 if pick.random() < 0.6 else pick.uniform(0, 1)
        return f"{PYTHON} {role} {self._members} {late:.2f} {pick.uniform(0, LONGEST_SAVE):.2f} {code}"

    def _wrapped(self, depth: int) -> str:
        if depth == 0:
            return self._chained(self._member())
        script = self._script(depth)
        return f"{self._random.choice(SHELLS)} -c {shlex.quote(script)}"

    def _script(self, depth: int) -> str:
        inner = self._wrapped(depth - 1)
        kind = self._random.choice(
            ["line", "line", "pipe", "two", "trap", "trap in the way", "background", "exec", "daemons"]
        )
        return {
            "line": f"{inner}; echo $? > $STATE/next.{depth}",
            "pipe": f"{inner} | cat | tee $STATE/log.{depth}; :",
            "two": f"{self._member()} & {inner}; wait",
            "trap": f"{inner} & child=$!; trap 'kill -TERM $child' TERM INT QUIT; wait $child; wait $child",
            "trap in the way": f"trap 'echo trapped' TERM; {inner}; :",
            "background": f"sleep 1000 & {inner}",
            "exec": f"sleep 0.1; exec {inner}",
            "daemons": f"(setsid sleep 1000 &) ; (setsid {self._member()} &) ; {inner}",
        }[kind]

    def _chained(self, member: str) -> str:
        """The same, after some other programs have become it (execve(2))."""
        return self._random.choice(["", "", "", "nice -n 1 ", "env A=1 nice env B=2 ", "setsid "]) + member


def complaint(number: int, directory: Path) -> str:
    """Stop one random program at a random moment; says what was wrong, nothing where all was right."""
    made = Composer(number)
    start = Starter(directory)
    try:
        run = start(
            ["sh", "-c", f"exec {made.command}"],
            *("--stop-timeout", f"{made.timeout:.1f}", "--linger", f"{LINGER:g}", "--scope", made.scope),
            mode=made.mode,
            config=made.config,
        )
        began = time.monotonic()
        while time.monotonic() < began + made.moment and not run.has_ended:
            time.sleep(0.005)
        handlers = {path.suffix for path in run.state.glob("handler.*")}
        with contextlib.suppress(ProcessLookupError):
            run.send(made.signal)
        code = run.end(made.timeout + 20)
        ended = time.monotonic()
        wrong = []
        if run.seconds > made.timeout:
            wrong.append(f"took {run.seconds:.2f} s of {made.timeout:.1f} s")
        if run.left:
            wrong.append(f"left {run.left} alive")
        # Where `--scope` asks for it, who is told is not up to smentry.
        lost = (handlers if made.scope == "auto" else set()) - {path.suffix for path in run.state.glob("saved.*")}
        before_stop = run.stderr.partition(" came after ")[0]
        if f" of {LINGER:g} s: " in run.stderr or ": the main process has gone" in before_stop:
            # It ended by itself: who is told last has less time than a save takes.
            lost -= {
                path.suffix
                for path in run.state.glob("told.*")
                if ended - float(path.read_text().split()[0]) < LONGEST_SAVE
            }
        if (
            "mksh" in made.command + made.config
        ):  # one that dies of SIGTERM sends it to its whole group, workers included
            lost -= {path.suffix for path in run.state.glob("lost.*")}
        if lost:
            wrong.append(f"had a handler before the stop, and lost a checkpoint: {sorted(lost)}")
        signals = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
        if code not in made.codes | GONE | {LOST, INTERRUPTED} | {128 + number for number in signals}:
            wrong.append(f"exit code {code}, expected one of {sorted(made.codes)} or that of a stop signal")
        if "defect" in run.stderr:
            wrong.append("smentry's own defect")
        if not wrong:
            return ""
        files = "".join(f"\n  {path.name}: {path.read_text()!r}" for path in sorted(run.state.glob("*.*")))
        return (
            f"stop {number} ({made.mode}, scope {made.scope}, {made.signal.name} after {made.moment:.3f} s): "
            f"{'; '.join(wrong)}\n{made.command}\n{made.config}\n{run.stderr}{files}\n"
        )
    except BaseException as failure:  # a failed wait too is a complaint about this one
        return f"stop {number}: {failure}\n{made.command}\n"
    finally:
        start.close()


@pytest.mark.slow
def test_stops_at_random_moments_of_random_programs(tmp_path: Path) -> None:
    print(f"SMENTRY_SEED={SEED} SMENTRY_STOPS={STOPS}")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        complaints = [text for text in pool.map(lambda number: complaint(number, tmp_path), range(STOPS)) if text]
    assert not complaints, f"SMENTRY_SEED={SEED}: {len(complaints)} of {STOPS}\n\n" + "\n".join(complaints[:20])
