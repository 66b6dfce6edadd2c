"""Why a run failed, in the words of a person: from what the init saw to the text of the failure file. Pure; it reads no file.

It is loaded only where something failed.
"""

from __future__ import annotations

from smentry.excerpt import body, cut, head, printable
from smentry.pid1 import signals
from smentry.sagemaker.failure import LIMIT
from smentry.words import Words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from smentry.errors import RefusedError
    from smentry.pid1.evidence import Evidence
    from smentry.pid1.report import HookFailure, Report

_FIRST, _NOTE, _LAST = 520, 330, 300
"""Characters of the longest first line, of a note behind it, and of a line of stderr within the first."""
_MIB = 1 << 20
_SHELL_NOT_FOUND, _SHELL_NOT_EXECUTABLE = 127, 126  # POSIX, 2.8.2 Exit Status for Commands
_BUS, _ILL, _SEGV, _ABRT, _FPE, _SYS, _XFSZ, _XCPU = 7, 4, 11, 6, 8, 31, 25, 24  # signal(7), x86 and ARM

_OF_SIGNALS = {
    _ILL: "It executed an instruction that this CPU does not have: something in the image was built for another CPU",
    _FPE: "An integer was divided by zero in native code",
    _SYS: "It made a system call that the container's seccomp profile forbids",
    _XCPU: "Its limit of CPU time (ulimit -t) was reached",
    _XFSZ: "Its limit of the size of a file (ulimit -f) was reached",
}


class Verdict:
    """`line` says what ended, how, after how long and why; `text` is that and all that fits behind it, at most LIMIT characters.
    `news`: the line says more than what is in the log already. `derived`: it mostly follows from what happened elsewhere."""

    __slots__ = ("derived", "line", "news", "text")

    def __init__(self, line: str, text: str, *, news: bool, derived: bool = False) -> None:
        self.derived = derived
        self.line = line
        self.text = text
        self.news = news


class _Draft:
    """A verdict in the making: the first line, what explains it, and the lines that are behind it where there is room."""

    __slots__ = ("derived", "first", "news", "notes", "words")

    def __init__(self, first: str, *notes: str, words: Words | None = None, news: bool = True) -> None:
        self.derived = False
        self.first = first
        self.notes = [*notes]
        self.words = words
        self.news = news


def explain(report: Report, *, host: str = "", mask: Callable[[str], str] = str, path: str = "") -> Verdict:
    """What a run that failed came to.

    `host` is named first, where it is not empty; `mask` takes secrets out of a text; `path` is the program's PATH.
    """
    if report.defect:
        draft = _Draft(f"smentry itself failed: {report.defect}", news=False)
    elif not report.pid:
        draft = _not_started(report, mask)
    elif report.status is None:
        draft = _Draft(
            f"{report.label} could not be killed after {people(report.lasted)}",
            "The kernel holds it in uninterruptible sleep, as on a file system or a device that does not answer",
        )
    elif report.killed_main and report.status & 0x7F == signals.KILL:
        draft = _killed(report, mask)
    else:
        draft = _ended(report, mask, path)
    if report.elsewhere:
        draft.notes.insert(0, f"Here {draft.first}")
        draft.first = f"{'stopped because ' if report.companion else ''}{report.elsewhere}"
        draft.news = True
    elif draft.derived and report.left:
        draft.notes.insert(0, f"Before that {', '.join(report.left[:5])}")
    draft.notes += [f"Also: {hook.text}" for hook in report.hooks if not hook.required or report.pid][-2:]
    first = f"{host}: {draft.first}" if host else draft.first
    return _compose(first, draft, mask)


def refused(error: RefusedError, *, host: str = "", mask: Callable[[str], str] = str) -> str:
    """The failure text where smentry starts nothing: the message, and as many of its details as there is room for."""
    first = printable(mask(f"{f'{host}: ' if host else ''}smentry: {error.message}"))
    first = cut(first, LIMIT)
    details = head([f"  {printable(mask(detail))}" for detail in error.details], LIMIT - len(first) - 1)
    return mask("\n".join([first, *details]))


def _read(tail: bytes, mask: Callable[[str], str], *, crash: bool = False) -> Words:
    if not tail:
        return Words()
    from smentry import tail as reader

    return reader.read(tail, mask, crash=crash)


def people(seconds: float) -> str:
    """A duration for people: 0.04 s, 1.2 s, 132 s; from ten minutes on the two largest units: 12 min 5 s, 3 h 2 min, 2 d 4 h."""
    if seconds < 600:
        return (
            f"{max(seconds, 0.01):.2f} s" if seconds < 1 else f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
        )
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


# -- before the program ----------------------------------------------------------------------------


def _not_started(report: Report, mask: Callable[[str], str]) -> _Draft:
    failed = [hook for hook in report.hooks if hook.required and hook.event == "start"]
    if failed and not report.reason:
        return _hook(failed[-1], report, mask)
    if report.refusal:
        return _Draft(f"smentry: {report.refusal}", news=False)
    came = f"{report.reason} came" if report.reason else "smentry ended"
    return _Draft(f"{came} before {report.label} was started", news=False)


def _hook(hook: HookFailure, report: Report, mask: Callable[[str], str]) -> _Draft:
    words = _read("\n".join(hook.lines).encode("utf-8", "replace"), mask)
    notes = []
    # pip says what it tried on the way as WARNING, and what was wrong as ERROR.
    errors = [line for line in words.lines if line.startswith("ERROR: ")]
    if errors and not words.cause:
        words.cause = errors[-1][len("ERROR: ") :]
        retries = [line for line in words.lines if line.startswith("WARNING: Retrying ")]
        words.lines = [line for line in words.lines if line not in retries and line not in errors] + errors[:-1]
        if retries:
            why = retries[-1].rpartition("')': ")[0].rpartition(": ")[2]
            notes.append(
                f"The package index cannot be reached{f' ({why})' if why else ''}: has the job a network (isolation, a VPC"
                " without NAT)? Else put what it requires into the image"
            )
    evidence = report.evidence
    if evidence is not None and evidence.oom_kills and hook.status is not None and hook.status & 0x7F == signals.KILL:
        words.cause = f"the kernel killed it for lack of memory: {_memory(evidence)}"
    said = words.cause or words.last
    first = f"{hook.text}, so {report.label} was not started{f': {said}' if said else ''}"
    return _Draft(first, *notes, words=words, news=False)  # its lines are in the log already


# -- a stop that was not enough --------------------------------------------------------------------


def _killed(report: Report, mask: Callable[[str], str]) -> _Draft:
    words = _read(report.tail, mask)
    words.cause = ""
    who = ", ".join(report.victims[:5]) + (f" and {len(report.victims) - 5} more" if len(report.victims) > 5 else "")
    asked = _asked(report)
    if not report.reason or "time" not in report.killed:
        return _Draft(
            f"{report.label} was killed by smentry after {people(report.lasted)}: {report.killed}",
            *([f"Killed: {who}"] if who else []),
            words=words,
        )
    return _Draft(
        f"{report.label} was still saving when its {report.grace:g} s were over, or paid {asked} no heed: killed"
        f" after {people(report.lasted)}",
        f"{asked} had come {people(report.stopping)} before" + (f"; killed: {who}" if who else ""),
        words=words,
    )


def _signal_of(report: Report) -> int:
    try:
        return signals.number(report.reason)
    except ValueError:
        return signals.TERM  # --max-runtime


def _asked(report: Report) -> str:
    return "--max-runtime" if report.reason == "max-runtime" else report.reason


# -- the program's own end -------------------------------------------------------------------------


def _ended(report: Report, mask: Callable[[str], str], path: str) -> _Draft:
    assert report.status is not None
    signal, code = report.status & 0x7F, report.status >> 8 & 0xFF
    # A shell's or a launcher's exit code for a child that died of a signal (POSIX, 2.8.2).
    inner = code - 128 if 128 < code <= 128 + 31 else 0
    fatal = signal or inner
    after = f"after {people(report.lasted)}"
    if report.reason and report.stopping > 0 and not report.companion:
        after += f", {people(report.stopping)} into the stop that {_asked(report)} asked for"
    plain = f"{report.label} {f'died of {signals.name(signal)}' if signal else f'exited with code {code}'} {after}"
    draft = _Draft(plain)
    if report.companion:
        draft.first = plain if report.elsewhere else f"{report.companion}; {plain}"
    elif signal and report.reason and signal == _signal_of(report):
        draft.notes.append(f"{signals.name(signal)} was its end: what it had in memory is lost, but for what it saved")
    else:
        draft.words = words = _of_the_end(report, mask, signal, inner)
        if inner:
            draft.notes.append(f"Exit code {code} is 128 + {inner}: a process of it died of {signals.name(inner)}")
        draft.derived = words.derived or fatal == signals.PIPE
        if _short_of_memory(report, draft, words, fatal, after):
            draft.derived = False
        else:
            _short_of_shared_memory(report, draft, words, fatal)
            _crashed(report, draft, words, fatal, after)
            _say_cause(draft, words, sure=bool(fatal) or code == 1)
        if not signal and code in (_SHELL_NOT_FOUND, _SHELL_NOT_EXECUTABLE):
            draft.notes.append(_of_a_shell(code, path))
    if report.deaths:
        dead = ", ".join([f"pid {death.pid} of {signals.name(death.status & 0x7F)}" for death in report.deaths[:5]])
        draft.notes.append(f"Other processes of it died: {dead}")
    # In a stop, what a program says last is what it does then; and the end of a companion is in the log.
    draft.news = (
        draft.first != plain and not report.companion and (not report.reason or bool(draft.words and draft.words.cause))
    )
    return draft


def _of_the_end(report: Report, mask: Callable[[str], str], signal: int, inner: int) -> Words:
    words = _read(report.tail, mask, crash=bool(signal) and signal != signals.INT)
    if inner and not words.cause:
        words = _read(report.tail, mask, crash=True)
    return words


def _say_cause(draft: _Draft, words: Words, *, sure: bool) -> None:
    """Python ends with code 1 of an exception that nobody handles; not `sure`: the program has chosen another one."""
    if words.cause and words.near:
        draft.first += f": {words.cause}" if sure else f"; the last exception on stderr: {words.cause}"
    elif words.cause:
        draft.first += f"; the last exception, long before that: {words.cause}"
    elif words.last and "died of" not in draft.first and "killed by" not in draft.first:
        draft.first += f"; on stderr: {cut(words.last, _LAST)}"


def _short_of_memory(report: Report, draft: _Draft, words: Words, fatal: int, after: str) -> bool:
    """Say that the kernel killed for lack of memory; True where that was the end of the program too."""
    evidence = report.evidence
    kills = evidence.oom_kills if evidence is not None else None
    if evidence is None or not kills:
        return False
    figures = _memory(evidence)
    if report.status is not None and report.status & 0x7F == signals.KILL:
        draft.first = f"{report.label} was killed by the kernel for lack of memory {after}: {figures}"
    elif fatal == signals.KILL or words.killed or not words.cause:
        draft.first += f": out of memory: the kernel killed {_count(kills)} of it: {figures}"
        if words.cause:
            draft.first += f"; {words.cause}"
    else:
        draft.notes.append(f"The kernel killed {_count(kills)} of it for lack of memory: {figures}")
        return False
    draft.notes = ["Give it a larger instance (or limit), a smaller batch, or fewer workers"]
    return True


def _short_of_shared_memory(report: Report, draft: _Draft, words: Words, fatal: int) -> None:
    evidence = report.evidence
    if evidence is None or evidence.shm_size is None or evidence.shm_free is None:
        return
    said = "\n".join([words.cause, words.last, *words.lines[-50:]])
    bus = fatal == _BUS or "us error" in said
    if not bus and "No space left" not in said:
        return
    size, free = evidence.shm_size, evidence.shm_free
    if free < max(_MIB, size // 50):
        draft.notes.append(
            f"/dev/shm is full: {_bytes(size)}. Give it more (docker run --shm-size), or use fewer loader workers"
        )
    elif bus:
        draft.notes.append(
            f"/dev/shm has {_bytes(size)}, of which {_bytes(free)} are free now; where it was full: docker run --shm-size,"
            " or fewer loader workers"
        )


def _crashed(report: Report, draft: _Draft, words: Words, fatal: int, after: str) -> None:
    """What is known of a death by a signal that nobody asked for."""
    evidence = report.evidence
    itself = report.status is not None and report.status & 0x7F == fatal
    if fatal == signals.KILL:
        if itself:
            draft.first = f"{report.label} was killed by SIGKILL, and not by smentry, {after}"
        if evidence is not None and evidence.oom_kills is not None:
            known = f"not for lack of memory in this container ({_memory(evidence)})"
        else:
            known = "whether for lack of memory is not known"
        draft.notes.append(f"SIGKILL came from inside the container (kill -9) or from the host; {known}")
    elif fatal == _SEGV and not words.cause:
        draft.notes.append(
            "Native code used memory that is not its own. PYTHONFAULTHANDLER=1 shows where in Python that was"
        )
    elif fatal in _OF_SIGNALS and not words.cause:
        draft.notes.append(_OF_SIGNALS[fatal])
    elif itself and fatal in (signals.TERM, signals.INT, signals.QUIT) and not report.reason:
        draft.notes.append(f"{signals.name(fatal)} did not come through smentry: a process in the container sent it")


def _of_a_shell(code: int, path: str) -> str:
    if code == _SHELL_NOT_EXECUTABLE:
        return "126 is a shell's code for a command that it found and may not execute: chmod +x it, or name its interpreter"
    return f"127 is a shell's code for a command that it did not find{f' on PATH ({path})' if path else ''}"


# -- figures ---------------------------------------------------------------------------------------


def _memory(evidence: Evidence) -> str:
    limit = "no limit" if evidence.memory_limit is None else f"limit {_bytes(evidence.memory_limit)}"
    return limit if evidence.memory_peak is None else f"{limit}, peak {_bytes(evidence.memory_peak)}"


def _bytes(number: int) -> str:
    return f"{number / (1 << 30):.1f} GiB" if number >= 1000 * _MIB else f"{number / _MIB:.0f} MiB"


def _count(number: int) -> str:
    return "a process" if number == 1 else f"{number} processes"


# -- the text --------------------------------------------------------------------------------------


def _compose(first: str, draft: _Draft, mask: Callable[[str], str]) -> Verdict:
    line = cut(printable(mask(first)), _FIRST)
    kept = [line]
    left = LIMIT - len(line)
    for note in draft.notes:
        note = cut(printable(mask(note)), _NOTE)
        if len(note) + 1 <= left:
            kept.append(note)
            left -= len(note) + 1
    if draft.words is not None:
        kept += body(draft.words, line, left - 1)
    text = mask("\n".join(kept))
    return Verdict(text.partition("\n")[0], text, news=draft.news, derived=draft.derived)
