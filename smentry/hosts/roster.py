"""Whom the watch watches, and how long they may be silent. It starts nothing, and is loaded with the job."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PORT = 7780
"""The TCP port on which the watch of each host listens. 7777 and the ones after it are those of launchers."""

STOP_THE_JOB = 1
"""The exit code of a watch that has found a reason to stop its host."""


class Roster:
    """Host `own` watches the `others` of the job `name`: one that is silent for `bound` seconds is lost."""

    __slots__ = ("bound", "name", "others", "own")

    def __init__(self, own: str, others: Sequence[str], bound: float, name: str) -> None:
        self.own = own
        self.others = list(others)
        self.bound = bound
        self.name = name

    def __str__(self) -> str:
        shown = ", ".join(self.others[:8]) + (f" and {len(self.others) - 8} more" if len(self.others) > 8 else "")
        return f"stop where {shown} failed, or was not heard of for {self.bound:g} s (TCP port {PORT})"
