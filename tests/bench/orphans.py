"""How long the making and reaping of orphans takes, and whether a zombie is left."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from .contenders import ENVIRONMENT, Contender
from .results import Row, Samples, ratio_row


def measure(smentry: Contender, others: list[Contender], program: Path, count: int, rounds: int) -> list[Row]:
    """Row 4 of the budgets: as PID 1 of a namespace where this runs as root, else as subreaper."""
    root = os.geteuid() == 0
    able = [contender for contender in (smentry, *others) if root or contender.subreaper]
    samples = Samples()
    left = dict.fromkeys((contender.name for contender in able), 0)
    for _ in range(rounds):
        for contender in able:
            words = (str(program), "orphans", str(count))
            command = contender.as_pid_1(*words) if root else contender.command(*words)
            said = subprocess.run(
                command,
                env=ENVIRONMENT,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                check=True,
            )
            seconds, zombies = said.stdout.split()
            samples.add(contender.name, float(seconds))
            left[contender.name] += int(zombies)
    kind = "PID 1" if root else "subreaper"
    what = f"{count:,} orphans made and reaped ({kind})"
    zombies_row = Row("… zombies left", "", {name: str(number) for name, number in left.items()})
    zombies_row.measured, zombies_row.budget = str(left["smentry"]), "0"
    zombies_row.met = left["smentry"] == 0
    return [ratio_row(what, "s", ".2f", samples, to="tini", at_most=1.2), zombies_row]
