"""What the value of an option or of a key may look like: readers, which make a value of a text or raise ValueError, with a
message that says what was expected.
"""

from __future__ import annotations

from smentry.pid1 import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
LONGEST = 366 * 86400.0
"""Seconds of the longest duration: a longer one is a slip of the pen, and overflows the kernel's timers."""


def duration(text: str) -> float:
    """Seconds of `90`, `90s`, `2m`, `1h`, `1.5s` or `500ms`. Raises ValueError."""
    word = text.strip().lower()
    unit = next(unit for unit in _UNITS if word.endswith(unit))
    digits = word[: len(word) - len(unit)].rstrip()
    whole, _, part = digits.partition(".")
    if not (whole.isascii() and whole.isdigit()) or (part and not (part.isascii() and part.isdigit())):
        raise ValueError(f"expected a time such as 90, 90s, 2m, 1h or 500ms, got {text!r}")
    seconds = float(digits) * _UNITS[unit]
    if seconds > LONGEST:
        raise ValueError(f"expected a time of at most 366 days, got {text!r}")
    return seconds


def words(text: str) -> list[str]:
    """The words of a command as a shell would split them. Raises ValueError."""
    if any(mark in text for mark in "'\"\\"):
        import shlex

        try:
            found = shlex.split(text)
        except ValueError as error:
            raise ValueError(f"expected a command, got {text!r}: {str(error).lower()}") from None
    else:
        found = text.replace("\t", " ").replace("\n", " ").replace("\r", " ").split(" ")
        found = [word for word in found if word]
    if not found or not found[0]:
        raise ValueError(f"expected a command, got {text!r}")
    return found


def truth(text: str) -> bool:
    """Whether a word means yes. Raises ValueError."""
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"expected true or false, got {text!r}")


def count(text: str) -> int:
    """How often a flag is given, 0 to 9, or a word for once or not at all. Raises ValueError."""
    word = text.strip().lower()
    if word.isascii() and word.isdigit() and len(word) == 1:
        return int(word)
    if word in ("true", "false"):
        return int(word == "true")
    raise ValueError(f"expected a number from 0 to 9, got {text!r}")


def processes(text: str) -> int:
    """A number of processes, 1 to 99999. Raises ValueError."""
    word = text.strip()
    if word.isascii() and word.isdigit() and len(word) <= 5 and int(word) > 0:
        return int(word)
    raise ValueError(f"expected a number of processes from 1 to 99999, got {text!r}")


def code(text: str) -> int:
    """An exit code, 0 to 255. Raises ValueError."""
    word = text.strip()
    if word.isascii() and word.isdigit() and len(word) <= 3 and int(word) <= 255:
        return int(word)
    raise ValueError(f"expected an exit code from 0 to 255, got {text!r}")


def caught(text: str) -> int:
    """The number of a signal that smentry can get. Raises ValueError."""
    found = signals.number(text)
    if found in (signals.KILL, signals.STOP):
        raise ValueError(f"expected a signal that can be caught, got {text!r}")  # signal(7)
    if found == signals.CHLD:
        raise ValueError(f"expected a signal other than CHLD, which is how children are reaped, got {text!r}")
    return found


def rewrite(text: str) -> tuple[int, int]:
    """FROM and TO of `FROM:TO` as numbers of signals; TO is 0 where FROM is dropped. Raises ValueError."""
    start, colon, target = text.partition(":")
    if not (colon and start.strip() and target.strip()):
        raise ValueError(f"expected FROM:TO, such as TERM:INT or USR1:0, got {text!r}")
    return caught(start), 0 if target.strip() == "0" else signals.number(target)


def path(text: str) -> str:
    """A path, which is not empty. Raises ValueError."""
    if not text:
        raise ValueError("expected a path, got ''")
    return text


def script(text: str) -> str:
    """`CHANNEL/PATH`, by its text alone inside the channel. Raises ValueError."""
    channel, slash, path = text.partition("/")
    if not (channel and slash and path.strip("/")):
        raise ValueError(f"expected CHANNEL/PATH, such as code/train.py, got {text!r}")
    if channel in (".", "..") or path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"expected CHANNEL/PATH with a path inside the channel and no '..', got {text!r}")
    return text


def user(text: str) -> str:
    """`USER` or `USER:GROUP`, whether there is one or not. Raises ValueError."""
    user, colon, group = text.partition(":")
    if not user.strip() or (colon and not group.strip()):
        raise ValueError(f"expected USER or USER:GROUP, names or numbers, got {text!r}")
    return text


def above_zero(text: str) -> float:
    """Seconds of a duration above 0. Raises ValueError."""
    seconds = duration(text)
    if seconds <= 0:
        raise ValueError(f"expected a time above 0, got {text!r}")
    return seconds


def silence(text: str) -> float:
    """Seconds after which who is silent is lost; 0 for never. Raises ValueError.

    A busy machine does not run a process for tenths of a second now and then.
    """
    seconds = duration(text)
    if 0 < seconds < 1:
        raise ValueError(f"expected 0, or a time of at least 1s, got {text!r}")
    return seconds


class Choice:
    """Reads one of these words, and raises ValueError for any other. The words are `allowed`."""

    __slots__ = ("allowed",)

    def __init__(self, *allowed: str) -> None:
        self.allowed = allowed

    def __call__(self, text: str) -> str:
        if text.strip() in self.allowed:
            return text.strip()
        raise ValueError(f"expected {', '.join(self.allowed[:-1])} or {self.allowed[-1]}, got {text!r}")


def nearest(word: str, known: Sequence[str] | Mapping[str, Any], prefix: str = "") -> str:
    """`; did you mean …?` for a misspelt word, or nothing."""
    import difflib

    close = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""
