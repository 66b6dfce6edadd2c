"""What may stand before a program: `env`, and other programs for PID 1. It knows their options, and not what they do."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

INITS = {
    "tini": ("-p", "-e"),
    "tini-static": ("-p", "-e"),
    "docker-init": ("-p", "-e"),
    "dumb-init": ("-r", "--rewrite"),
    "catatonit": (),
    "pid1": (),
}
"""The inits that know nothing of `train`, and those of their options that have a value in the next word."""

_OF_ENV = ("-u", "--unset", "-C", "--chdir")


def of_env(words: Sequence[str]) -> int:
    """How many words are those of `env`, where it is the first: itself, its options and its variables."""
    if not words or os.path.basename(words[0]) != "env":
        return 0
    at = 1
    while at < len(words) and (words[at].startswith("-") or "=" in words[at]):
        at += 2 if words[at] in _OF_ENV else 1
    return min(at, len(words))


def of_init(words: Sequence[str]) -> int:
    """How many words are those of one of INITS, where it is the first: itself, its options and `--`."""
    name = os.path.basename(words[0]) if words else ""
    if name not in INITS:
        return 0
    at = 1
    while at < len(words) and words[at].startswith("-"):
        at += 1
        if words[at - 1] == "--":
            break
        at += words[at - 1] in INITS[name]
    return min(at, len(words))
