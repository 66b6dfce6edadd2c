"""What a check has found, and what a rule is. It knows no rule, and nothing of how findings are printed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Finding:
    """A rule that a file or an image breaks. In order: by file, then by line.

    A check is a function `findings(path: Path) -> list[Finding]`; `file` is `str(path)` as it was given. It knows nothing of
    comments that ignore a rule, nor of --select: kinds.py and command.py take those findings out. What cannot be read at all
    raises errors.RefusedError. For what a Dockerfile copies and an image holds, script.py has besides
    `problems(file: str, content: bytes, *, executed: bool, executable: bool | None) -> list[Finding]`: `executed` by its own
    name, so that its `#!` line and its executable bit matter; `executable` is None where that cannot be seen.
    """

    file: str
    """A path as it was given or found below what was given; or an image's name."""
    line: int
    """From 1; 0 where there are no lines (an image)."""
    column: int
    """From 1, in characters; 0 where there are no lines."""
    code: str
    """Of a rule in rules.RULES."""
    message: str
    """One line: what is there, and what that does. How to mend it is the rule's."""
    start: int = 0
    """The first line of the instruction or statement that `line` is in, where it is another: a comment above it counts too."""


@dataclass(frozen=True)
class Rule:
    """Something the platform's documentation warns of. Its texts are also those of docs/rules.md."""

    code: str
    """`SM` and three digits, which stay the same for ever."""
    title: str
    """What is wrong, in a few words, without a full stop."""
    happens: str
    """What happens on the platform: whole sentences, in Markdown, one paragraph."""
    mend: str
    """How to mend it: whole sentences, in Markdown, one paragraph."""
