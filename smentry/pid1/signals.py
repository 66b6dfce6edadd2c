"""The names and numbers of signals, and what smentry was started with. It does not send any."""

from __future__ import annotations

import _signal  # `signal` itself loads `enum`: milliseconds at every start
from posix import getpid as _pid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from signal import struct_siginfo

INT, QUIT, KILL, PIPE, ALRM, TERM = 2, 3, 9, 13, 14, 15
CHLD = int(_signal.SIGCHLD)
CONT = int(_signal.SIGCONT)
STOP = int(_signal.SIGSTOP)
IO = int(_signal.SIGIO)
TTIN, TTOU = int(_signal.SIGTTIN), int(_signal.SIGTTOU)
XCPU, XFSZ = int(_signal.SIGXCPU), int(_signal.SIGXFSZ)
RTMIN, RTMAX = int(_signal.SIGRTMIN), int(_signal.SIGRTMAX)

EVERY = frozenset(int(signal) for signal in _signal.valid_signals())
"""Every signal that can be sent, KILL and STOP included."""

PERHAPS_OWN = frozenset((ALRM, CHLD, CONT, IO, PIPE, TTIN, TTOU, XCPU, XFSZ))
"""Signals that may be about smentry itself, so that each has to be looked at."""

_ALIASES = ("SIGCLD", "SIGPOLL", "SIGIOT", "SIGRTMIN", "SIGRTMAX")
_NAMES: dict[int, str] = {
    int(getattr(_signal, name)): name
    for name in dir(_signal)
    if name.startswith("SIG") and name[3] != "_" and name not in _ALIASES
}
_NAMES.setdefault(16, "SIGSTKFLT")  # Python has it since 3.11; on Linux it is 16 where it exists (signal(7))
_NUMBERS: dict[str, int] = {name: number for number, name in _NAMES.items()}
_NUMBERS.update({alias: int(getattr(_signal, alias)) for alias in _ALIASES if hasattr(_signal, alias)})


def name(number: int) -> str:
    """The name of a signal: `SIGTERM` for 15, `SIGRTMIN+3` for 37, `signal 99` for what has none."""
    known = _NAMES.get(number)
    if known is not None:
        return known
    if RTMIN <= number <= RTMAX:
        return "SIGRTMIN" if number == RTMIN else f"SIGRTMIN+{number - RTMIN}"
    return f"signal {number}"


def number(text: str) -> int:
    """The number of a signal given as `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3` or `RTMAX-1`.

    Raises ValueError where there is no such signal; the text of the error is for the user.
    """
    word = text.strip().upper()
    if word.isascii() and word.isdigit():
        if int(word) in EVERY:
            return int(word)
        raise ValueError(f"{text!r} is not a signal: expected a number from 1 to {RTMAX} or a name such as TERM")
    full = word if word.startswith("SIG") else "SIG" + word
    if full in _NUMBERS:
        return _NUMBERS[full]
    for base, sign in (("SIGRTMIN", "+"), ("SIGRTMAX", "-")):
        start, found, offset = full.partition(sign)
        if found and start == base and offset.isascii() and offset.isdigit():
            value = _NUMBERS[base] + (int(offset) if sign == "+" else -int(offset))
            if RTMIN <= value <= RTMAX:
                return value
    raise ValueError(f"{text!r} is not a signal: expected a name such as TERM or SIGUSR1, or a number")


def take_children() -> bool:
    """See that ended children wait to be reaped; returns whether SIGCHLD was ignored until now.

    Ignored, it would make the kernel throw their exit codes away (wait(2)). A program must get it back that way.
    """
    ignored = bool(_signal.getsignal(CHLD) == _signal.SIG_IGN)
    if ignored:
        _signal.signal(CHLD, _signal.SIG_DFL)
    return ignored


def hand_down(mask: Iterable[int], *, ignore_children: bool) -> None:
    """In a child, before exec: the dispositions and the mask that smentry was started with.

    CPython ignores SIGPIPE and SIGXFSZ from its first moment, and catches SIGINT unless that was ignored
    (`Py_InitializeFromConfig`). All others smentry blocks and never touches.
    """
    _signal.signal(PIPE, _signal.SIG_DFL)
    _signal.signal(XFSZ, _signal.SIG_DFL)
    if _signal.getsignal(INT) != _signal.SIG_IGN:
        _signal.signal(INT, _signal.SIG_DFL)
    if ignore_children:
        _signal.signal(CHLD, _signal.SIG_IGN)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)


def concerns_smentry_alone(info: struct_siginfo) -> bool:
    """Whether a signal that came is smentry's own affair, and not to be passed on."""
    if info.si_code > 0:  # by the kernel, sigaction(2)
        # The terminal's job control and the limits of this process are about smentry; ^C and a resized window are not.
        return info.si_signo in (TTIN, TTOU, XCPU)
    # One's own write to a closed pipe or a full file raises the signal too (write(2), EPIPE and EFBIG).
    return info.si_signo in (PIPE, XFSZ) and bool(info.si_pid == _pid())
