"""What the end of a program's stderr says about why it ended. It reads text, and knows nothing of processes.

It is loaded only where something failed, so it may import what it likes.
"""

from __future__ import annotations

import re

from smentry.words import Words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

WHOLE = 1 << 16
"""Bytes of a tail that has lost its beginning: it begins anywhere in a line, and perhaps in a secret."""
LONGEST = 300
"""Characters of the longest cause: it shares a line with other things."""

_NEAR = 100
"""A traceback that so many other lines have followed is not why the program ended."""
_LOOK_BACK = 200
_MESSAGE = 40
"""Lines of the longest message of an exception."""
_STRANGERS = 200
"""Lines of other processes that may come between two of a traceback."""
_LINES = 2000
_WIDTH = 2000
"""Lines that are looked at, and characters of each: reading takes time that the exit has not, whatever a program wrote."""

# ECMA-48: control sequences, then operating system commands (up to BEL or ST), then the two-character ones.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
# torchrun --tee, PyTorch's own handler, mpirun --tag-output: whose line it is.
_RANK = re.compile(r"\[(?:rank|default)?\d+(?:,[^\]\s]*)?\](?:<\w+>)?: ?")

_HEADER = "Traceback (most recent call last):"
_FRAME = re.compile(r'\s*File "[^"]*", line \d+')
_CARETS = re.compile(r"\s*[~^]+\s*$")
_GROUP_LINE = re.compile(r"\s*(?:\||\+[-+])")
_MARGIN = re.compile(r"\s*\| ?")
_ERROR = re.compile(r"[^\W\d][\w.<>]*(?:: .*|:|)$", re.DOTALL)
_CAUSED = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"
_IGNORED = ("Exception ignored ", "Error in atexit", "--- Logging error", "Error in sys.excepthook")
_DERIVED = frozenset((
    "BrokenPipeError", "BrokenProcessPool", "CalledProcessError", "ChildFailedError", "ConnectionResetError",
    "DistBackendError", "DistNetworkError", "EOFError", "KeyboardInterrupt", "ProcessExitedException", "SignalException",
    "SystemExit",
))  # fmt: skip
"""Exceptions that mostly follow from what happened in another process."""
_OF_OTHERS = re.compile(
    r"Connection (?:closed by peer|reset by peer|refused|aborted|was reset)|Broken pipe|[Rr]emote process (?:exited|has)"
    r"|NCCL (?:error|communicator was aborted)|ncclRemoteError|ncclSystemError|ncclInternalError|[Ss]ocket [Tt]imeout"
    r"|Timed out (?:after|waiting)|[Ww]ait timeout|[Ww]atchdog caught collective|monitoredBarrier|failed to recv, got 0 bytes"
    r"|client socket has timed out|Rendezvous\w*Error|gloo/transport|MPI_ERR_PROC_FAILED"
)
"""What exceptions say of a connection to another process that has gone: gloo's and NCCL's RuntimeError, and torch's stores."""
_LIBRARY = re.compile(r'File "(?:<|[^"]*/(?:site|dist)-packages/|[^"]*/lib/python3)')
_LOG_LINE = re.compile(
    r"\[?\d{4}-\d\d-\d\d|\[?\d\d:\d\d:\d\d|[IWEF]\d{4} |\[?(?:DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b"
    r"|\S+:\d+: \w*Warning: |Exception ignored |Error in atexit|For simplicity, JAX |-{10,}$|={10,}$"
)

_FAULT = re.compile(r"Fatal Python error: (.*)")
_CURRENT = re.compile(r"Current thread 0x\w+.*\(most recent call first\):")
_THROWN = re.compile(r"terminate called after throwing an instance of '(.*)'")
_ABORTED = re.compile(
    r"terminate called |.*: Assertion [`'].*' failed\.|\*\*\* .* detected \*\*\*|\w+\(\): (?:invalid|corrupted|unaligned) "
    r"|(?:malloc|free|realloc|munmap_chunk)\(\): |double free or corruption|corrupted (?:size|double-linked)|LLVM ERROR: "
)
_LOUD = re.compile(
    r"panic: |fatal error: |thread '.*' panicked at |Exception in thread \"|Fatal error: |ERROR: LoadError: "
)
_WRONG = re.compile(
    r"\b(?:errors?|errno|exception|fatal|fail(?:ed|ure)?|abort(?:ed)?|cannot|can't|could not|unable|not found|no such|denied"
    r"|invalid|killed|unrecognized|unexpected)\b",
    re.IGNORECASE,
)
_KILLED = re.compile(
    r"killed by signal: Killed|\bKilled$|exited unexpectedly|SIGKILL|\b[Ss]ignal:? 9\b|BrokenProcessPool|terminated abruptly"
    r"|exitcode\s*: -9\b|exit code:? (?:137|-9)\b"
)
_CRASHES = ("-4 ", "-7 ", "-8 ", "-9 ", "-11 ")
"""Signals that do not come of a connection that was closed (signal(7)): ILL, BUS, FPE, KILL, SEGV."""
_PROGRESS = re.compile(r"\s*\S*\s*\d{1,3}%\|")


def read(tail: bytes, mask: Callable[[str], str] = str, *, crash: bool = False) -> Words:
    """Read a tail; `crash`: the program died of a signal, for which an exception of Python's is no reason. Never raises."""
    lines = clean(tail, mask)
    words = Words()
    words.lines = lines
    words.last = _last(lines)
    words.killed = any(_KILLED.search(line) for line in lines[-60:])
    if _crash(lines, words) and crash:
        return words
    if not crash:
        _exception(lines, words)
        _launcher(lines, words)
    return words


def clean(tail: bytes, mask: Callable[[str], str] = str) -> list[str]:
    """The lines of a tail as a terminal would show them in the end: no colours, of a progress bar what was shown last."""
    if len(tail) >= WHOLE:
        tail = tail[1 + tail.find(b"\n", 0, 1 << 12) or 1 << 12 :]
    text = mask(_ESCAPE.sub("", tail.lstrip(bytes(range(0x80, 0xC0))).decode("utf-8", "replace")))
    lines = []
    for line in text.split("\n")[-_LINES:]:
        shown = next((part for part in reversed(line.split("\r")) if part.strip()), "")
        if not shown.isprintable():
            shown = shown.expandtabs(4)
            shown = "".join([c if c.isprintable() else " " if c.isspace() else "" for c in shown])
        shown = shown.rstrip()
        lines.append(shown if len(shown) <= _WIDTH else f"{shown[: _WIDTH // 2]} … {shown[-_WIDTH // 2 :]}")
    while lines and not lines[-1]:
        lines.pop()
    # Again: what a control character had torn is whole now.
    return mask("\n".join(lines)).split("\n") if lines else []


def _last(lines: Sequence[str]) -> str:
    """The last line that says what was wrong, or anything."""
    said = [_unranked(line).strip() for line in lines[-_LOOK_BACK:]]
    said = [line for line in said if any(c.isalpha() for c in line)]
    said = [line for line in said if not _PROGRESS.match(line)] or said
    wrong = [line for line in said[-5:] if _WRONG.search(line)]
    return (wrong or said or [""])[-1]


def _unranked(line: str) -> str:
    found = _RANK.match(line)
    return line[found.end() :] if found else line


# -- what native code says -------------------------------------------------------------------------


def _crash(lines: Sequence[str], words: Words) -> bool:
    """Whether a crash is told of, in `words` from then on."""
    for at in range(len(lines) - 1, max(-1, len(lines) - 1 - 5 * _LOOK_BACK), -1):
        line = _unranked(lines[at])
        fault = _FAULT.match(line)
        if fault:
            words.cause = clip(line)
            words.lines, words.first = _stack(lines[at:]), True
            words.own = next(
                ([frame] for frame in words.lines if _FRAME.match(frame) and not _LIBRARY.search(frame)), []
            )
            return True
        thrown = _THROWN.match(line)
        if thrown:
            what = _unranked(lines[at + 1]).strip() if at + 1 < len(lines) else ""
            message = what[len("what():") :].strip() if what.startswith("what():") else ""
            words.cause = clip(f"{thrown.group(1)}: {message}" if message else line)
            words.derived = thrown.group(1).rpartition("::")[2] in _DERIVED or _OF_OTHERS.search(message) is not None
            return True
        if _ABORTED.match(line) or (_LOUD.match(line) and len(lines) - at < _LOOK_BACK):
            words.cause = clip(line.strip())
            words.lines, words.first = list(lines[at:]), True
            return True
    return False


def _stack(lines: Sequence[str]) -> list[str]:
    """What faulthandler wrote of the thread that failed, the most recent call first."""
    start = next((at for at, line in enumerate(lines) if _CURRENT.match(_unranked(line))), 0)
    stack = [_unranked(lines[start])]
    for line in lines[start + 1 :]:
        if not _FRAME.match(_unranked(line)):
            break
        stack.append(_unranked(line))
    return stack


# -- what Python says ------------------------------------------------------------------------------


class _Traceback:
    """One traceback, those that led to it included: its lines, which of them is the exception's, the line where it ends.

    `weight` is 0 for what may have ended a program, 1 for what perhaps only followed from that, 2 for what ends none.
    """

    __slots__ = ("_chained", "earlier", "end", "error", "group", "lines", "members", "weight")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.error = -1
        self.end = 0
        self.earlier = ""
        self.group = False
        self.members: list[str] = []  # of a group: the exceptions in it
        self.weight = 0
        self._chained = False  # the next traceback belongs to this one

    @property
    def cause(self) -> str:
        """The exception on one line: with the next line too where the first only announces it."""
        text = _MARGIN.sub("", self.lines[self.error], count=1).strip()
        if self.group:
            return clip(f"{text}: {'; '.join(self.members)}")
        following = [line for line in self.lines[self.error + 1 :] if line.strip()]
        while following and (text.endswith(":") or following[0][0] == " ") and len(text) < LONGEST:
            text += " " + " ".join(following.pop(0).split())
        return clip(text)

    def takes(self, text: str) -> bool:
        """Take the next line; False where it belongs to something else."""
        if self.group:
            taken = self._of_group(text)
        elif text.strip() in (_CAUSED, _CONTEXT):
            self.earlier = clip(self.lines[self.error].strip()) if self.error >= 0 else ""
            self._chained, self.error, taken = True, -1, True
        elif self.error < 0:
            taken = self._of_frames(text)
        else:
            long = len(self.lines) - self.error > _MESSAGE
            taken = not (long or _HEADER in text or _LOG_LINE.match(text) or _FRAME.match(text))
        if taken:
            self.lines.append(text)
        return taken

    def _of_frames(self, text: str) -> bool:
        if _HEADER in text:
            if self.lines and not self._chained:
                return False  # another's, which has come between
            self._chained = False
            self.group = text.rstrip().endswith("+ Exception Group " + _HEADER)
        elif text.strip() and not text[0].isspace() and not self._chained:
            self.error = len(self.lines)
            return bool(_ERROR.match(text))
        return True

    def _of_group(self, text: str) -> bool:
        """A line of an exception group: the group's own exception, or one that is in it (PEP 654)."""
        inner = _MARGIN.sub("", text, count=1)
        if _ERROR.match(inner):
            if self.error < 0:
                self.error = len(self.lines)
            else:
                self.members.append(inner.strip())
        return bool(_GROUP_LINE.match(text))


def _exception(lines: Sequence[str], words: Words) -> None:
    """Find the exception that ended the program: the last one that does not follow from what another process did."""
    found = [traceback for traceback in _tracebacks(lines) if traceback.weight < 2]
    if not found:
        return
    least = min(traceback.weight for traceback in found)
    chosen = [traceback for traceback in found if traceback.weight == least][-1]
    end = max(traceback.end for traceback in found)
    words.near = sum(1 for line in lines[end:] if line) <= _NEAR
    words.cause = chosen.cause
    words.derived = _is_derived(words.cause)
    words.earlier = chosen.earlier
    words.first = False
    syntax = "SyntaxError" in words.cause or "IndentationError" in words.cause
    frames = chosen.lines if chosen.group else chosen.lines[: chosen.error]
    words.lines = [line for line in frames if syntax or not _CARETS.match(line)]
    words.message = [] if chosen.group else chosen.lines[chosen.error :]
    words.own = _own(words.lines)


def _own(lines: Sequence[str]) -> list[str]:
    """The innermost frame that is not a library's, with its line of code."""
    for at in range(len(lines) - 1, -1, -1):
        if _FRAME.match(lines[at]) and not _LIBRARY.search(lines[at]):
            code = [line for line in lines[at + 1 : at + 2] if line[:4] == "    " and not _FRAME.match(line)]
            return [lines[at], *code]
    return []


def _tracebacks(lines: Sequence[str]) -> Iterator[_Traceback]:
    seen: set[int] = set()
    for at, line in enumerate(lines):
        if at in seen:
            continue
        column = line.find(_HEADER)
        if column < 0 and not _FRAME.match(_unranked(line)):
            continue
        found = _parse(lines, at, column, seen)
        if found.error >= 0:
            found.weight = _weight(lines, at, found)
            yield found


def _weight(lines: Sequence[str], at: int, found: _Traceback) -> int:
    """0: a cause; 1: perhaps; 2: none."""
    before = next((_unranked(line) for line in reversed(lines[max(0, at - 3) : at]) if line.strip()), "")
    if before.startswith(_IGNORED):
        return 2
    return 1 if _is_derived(found.cause) or before.startswith("Exception in thread ") else 0


def _is_derived(cause: str) -> bool:
    """Whether an exception mostly follows from what happened in another process."""
    name, _, message = cause.partition(":")
    return re.split(r"\.|::", name.strip())[-1] in _DERIVED or _OF_OTHERS.search(message) is not None


def _parse(lines: Sequence[str], at: int, column: int, seen: set[int]) -> _Traceback:
    """The traceback that begins at a line, whose header (where it has one) begins at `column`."""
    found = _Traceback()
    source = _source(lines, at, column)
    first = lines[at][len(source) :]
    indent = first[: len(first) - len(first.lstrip(" "))] if column >= 0 and "+ Exception Group" not in first else ""
    strangers = 0
    for number in range(at, len(lines)):
        line = lines[number]
        if (source and line and not line.startswith(source)) or (not source and _RANK.match(line)):
            strangers += 1
            if strangers > _STRANGERS:
                break
            continue
        text = line[len(source) :]
        text = text[len(indent) :] if text.startswith(indent) else text
        if number == at and column >= 0 and "+ Exception Group" not in text:
            text = _HEADER
        if not found.takes(text):
            break
        found.end = number + 1
        seen.add(number)
        strangers = 0
    if found.error >= len(found.lines):
        found.error = -1
    while found.lines and not found.lines[-1].strip():
        found.lines.pop()
    return found


def _source(lines: Sequence[str], at: int, column: int) -> str:
    """What stands in front of every line of a traceback, as where several processes write."""
    line = lines[at]
    if column < 0:
        return line[: len(line) - len(_unranked(line))]
    prefix = line[:column]
    if prefix.endswith("Exception Group "):
        prefix = prefix[: -len("Exception Group ")].rstrip("+ ")
    elif not prefix.strip():
        return ""
    following = [other[len(prefix) :] for other in lines[at + 1 : at + 50] if other.startswith(prefix)]
    return prefix if any(_FRAME.match(_MARGIN.sub("", other, count=1)) for other in following) else ""


# -- what launchers say ----------------------------------------------------------------------------


def _launcher(lines: Sequence[str], words: Words) -> None:
    """torchrun's table names the process that failed first: torch.distributed.elastic, errors.ChildFailedError."""
    start = next(
        (at for at in range(len(lines) - 1, -1, -1) if "Root Cause (first observed failure):" in lines[at]), -1
    )
    if start < 0:
        return
    facts: dict[str, str] = {}
    for line in lines[start + 1 : start + 12]:
        key, colon, value = _unranked(line).partition(":")
        if colon and key.strip().isidentifier():
            facts.setdefault(key.strip(), value.strip())
    if "rank" not in facts:
        return
    rank = f"rank {facts['rank'].partition(' ')[0]}" + (f" on {facts['host']}" if facts.get("host") else "")
    if words.cause and not words.derived:
        words.cause = f"{words.cause} ({rank})"
        return
    told = facts.get("traceback", "")
    code = facts.get("exitcode", "unknown")
    if not told or told.startswith("To enable traceback"):
        told = f"exit code {code}"
        words.derived = not code.startswith(_CRASHES)  # it may have been anything: its own words are elsewhere
    else:
        words.derived = _is_derived(told)
    words.cause = clip(f"{rank} failed first: {told}")
    words.lines, words.message, words.own = [_unranked(line) for line in lines[start:]], [], []


def clip(text: str) -> str:
    """`text`, or what of its beginning a line has room for."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
