"""What was seen of an endpoint, judged by the platform's limits, as text and as JSON. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from smentry.ctl.display.lines import clean
from smentry.ctl.serve.limits import ANSWER_SECONDS, BODY_BYTES, PING_SECONDS, STARTUP_SECONDS, STOP_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from smentry.ctl.serve.asking import Answer

SHOWN = 100
"""Characters of an answer's body."""

MOMENT = 0.05
"""Seconds before SIGTERM. A request that came later may have been still on its way when the server closed its door."""


@dataclass
class Report:
    """What was seen. Times are seconds."""

    startup_limit: float = STARTUP_SECONDS
    stop_timeout: float = STOP_SECONDS
    """From SIGTERM to SIGKILL."""
    ready: float | None = None
    """From the start to the first 200 of /ping; None where there was none."""
    pings: list[Answer] = field(default_factory=list)
    """All of them, those before the first 200 too."""
    asked: list[Answer] = field(default_factory=list)
    """/invocations, before the stop."""
    in_flight: list[Answer] = field(default_factory=list)
    """/invocations that had been sent and not been answered when SIGTERM was sent."""
    body_size: int = 0
    """Bytes of the request."""
    told: float | None = None
    """When SIGTERM was sent; None where it was not, because the container had ended or never was ready."""
    ended: float | None = None
    """From the start to the end of the container; None where it was not waited for."""
    stopped: float | None = None
    """From SIGTERM to the end."""
    killed: bool = False
    code: int | None = None
    out_of_memory: bool = False


def findings(report: Report) -> list[str]:
    """What is not as the platform wants it, a line each."""
    found = [*_of_the_start(report), *_of_pings(report)]
    if report.body_size > BODY_BYTES:
        found.append(f"the request has {_size(report.body_size)}: the platform takes {_size(BODY_BYTES)} at most")
    found += _counted([_of_an_answer(answer) for answer in report.asked])
    if report.told is not None:
        found += _of_the_stop(report)
    elif report.ready is not None:
        found.append(
            f"the container ended by itself {_how(report)}: the platform starts it anew, and counts it as unhealthy"
        )
    return found


def _of_the_start(report: Report) -> list[str]:
    if report.ready is not None:
        return []
    if report.ended is not None:
        return [f"the container ended {_how(report)}, before /ping answered 200: its log says why"]
    if not report.pings:
        return []
    last = report.pings[-1]
    if last.late:
        mend = f"each ping must be answered within {PING_SECONDS:g} s"
    elif last.status is None:
        mend = "the server must listen on 0.0.0.0, and on the port that SAGEMAKER_BIND_TO_PORT says"
    else:
        mend = "load the model faster, or set ContainerStartupHealthCheckTimeoutInSeconds (here --startup-limit)"
    return [
        f"/ping did not answer 200 within {report.startup_limit:g} s of the start (last: {last.error or last.status}), and the "
        f"platform gives up then: {mend}"
    ]


def _of_pings(report: Report) -> list[str]:
    since = _since_ready(report)
    late = sum(answer.late for answer in since)
    other = sorted({str(answer.status or answer.error) for answer in since if not answer.late and answer.status != 200})
    found = []
    if late:
        found.append(
            f"/ping was not answered within {PING_SECONDS:g} s ({late} of {len(since)} times): such a ping has failed, and the "
            "platform replaces an instance whose pings fail; answer it while requests are worked on"
        )
    if other and (report.told is not None or report.ended is None):
        found.append(
            f"/ping answered 200, and then {', '.join(other)}: the platform replaces an instance whose pings fail"
        )
    return found


def _of_an_answer(answer: Answer) -> str:
    if answer.late:
        return f"/invocations was not answered within {ANSWER_SECONDS:g} s: the caller gets a ModelError"
    if answer.status is None:
        return f"/invocations: {answer.error}: the caller gets a ModelError"
    if not 200 <= answer.status < 300:
        return f"/invocations answered {answer.status}{_said(answer)}: the caller gets a ModelError"
    if len(answer.body) > BODY_BYTES:
        return f"/invocations answered with {_size(len(answer.body))}: the platform takes {_size(BODY_BYTES)} at most"
    return ""


def _of_the_stop(report: Report) -> list[str]:
    found = []
    if report.killed:
        found.append(
            f"the container did not end within {report.stop_timeout:g} s of SIGTERM and was killed: PID 1 must handle SIGTERM, "
            "or pass it on"
        )
    lost = [answer for answer in _at_risk(report) if answer.status is None]
    if lost:
        found.append(
            f"{len(lost)} of {_requests(len(_at_risk(report)))} in flight at SIGTERM got no answer ({lost[0].error}): "
            "answer what has been accepted before the server ends"
        )
    failed = [answer for answer in report.in_flight if answer.status is not None and not 200 <= answer.status < 300]
    if failed:
        found.append(f"a request in flight at SIGTERM was answered {failed[0].status}{_said(failed[0])}")
    if report.out_of_memory:
        found.append("the container ran out of memory")
    return found


def text(report: Report, found: Sequence[str]) -> str:
    """The report for people: what was seen, and then each finding in a line of its own."""
    lines = []
    since = _since_ready(report)
    if report.ready is not None:
        good = [answer for answer in since if answer.status == 200]
        slowest = max(answer.seconds for answer in good)
        lines.append(
            f"/ping         200 after {report.ready:.1f} s; {len(good)} of {len(since)} pings 200 within {PING_SECONDS:g} s, "
            f"slowest {slowest:.3f} s"
        )
    lines += [f"/invocations  {line}" for line in _summaries(report.asked)]
    if report.told is not None and report.stopped is not None:
        end = "killed" if report.killed else f"exit code {report.code}"
        lines.append(f"SIGTERM       {end} after {report.stopped:.1f} s of {report.stop_timeout:g} s{_flight(report)}")
    lines += [f"finding: {line}" for line in found]
    lines.append(f"{len(found)} finding{'s' * (len(found) != 1)}" if found else "as the platform wants it")
    return "\n".join(lines)


def as_json(report: Report, found: Sequence[str]) -> dict[str, Any]:
    """The report for programs."""
    return {
        "ping": {
            "ready_seconds": report.ready,
            "answers": [_fields(answer) for answer in _since_ready(report)],
        },
        "invocations": [_fields(answer) for answer in report.asked],
        "stop": None
        if report.told is None
        else {
            "seconds": report.stopped,
            "limit_seconds": report.stop_timeout,
            "killed": report.killed,
            "in_flight": [_fields(answer) for answer in report.in_flight],
        },
        "exit_code": report.code,
        "out_of_memory": report.out_of_memory,
        "findings": list(found),
    }


def _fields(answer: Answer) -> dict[str, Any]:
    return {
        "status": answer.status,
        "seconds": round(answer.seconds, 6),
        "bytes": len(answer.body),
        "content_type": answer.content_type,
        "error": answer.error,
    }


def _since_ready(report: Report) -> list[Answer]:
    first = next((at for at, answer in enumerate(report.pings) if answer.status == 200), len(report.pings))
    return report.pings[first:]


def _at_risk(report: Report) -> list[Answer]:
    """The requests of which nobody can say that they came too late to be accepted."""
    told = report.told or 0.0
    return [answer for answer in report.in_flight if told - answer.at >= MOMENT or answer.status is not None]


def _flight(report: Report) -> str:
    if not report.asked:
        return "; nothing was in flight (--request FILE sends requests)"
    if not report.in_flight:
        return "; nothing was in flight: the answers are too fast for that"
    count = len(report.in_flight)
    answered = sum(answer.status is not None for answer in report.in_flight)
    how_many = {0: "not" if count == 1 else "none", count: "" if count == 1 else "all"}.get(answered, str(answered))
    late = count - len(_at_risk(report))
    not_counted = f"; {late} came too late to be counted" if late else ""
    return f"; {count} in flight, {f'{how_many} answered'.strip()}{not_counted}"


def _summaries(answers: Sequence[Answer]) -> list[str]:
    """Of several answers with the same status: how many there were, the fastest and the slowest."""
    made = []
    for status in dict.fromkeys(answer.status for answer in answers):
        same = sorted((answer for answer in answers if answer.status == status), key=lambda answer: answer.seconds)
        times = " to ".join(dict.fromkeys(f"{answer.seconds:.3f} s" for answer in (same[0], same[-1])))
        several = f"{len(same)} × " if len(same) > 1 else ""
        if status is None:
            made.append(f"{several}{same[0].error} ({times})")
        else:
            kind = f" of {same[0].content_type}" if same[0].content_type else ""
            made.append(f"{several}{status} in {times}, {_size(len(same[0].body))}{kind}{_said(same[0])}")
    return made


def _counted(lines: Sequence[str]) -> list[str]:
    """Each line once, with how often it came where that is more than once."""
    return [
        line if lines.count(line) == 1 else f"{line} ({lines.count(line)} times)"
        for line in dict.fromkeys(lines)
        if line
    ]


def _said(answer: Answer) -> str:
    """The beginning of a body that is text, for a line."""
    words = clean(" ".join(answer.body[: 4 * SHOWN].decode("utf-8", "replace").split()), colour=False)
    if not words or "�" in words[:SHOWN]:
        return ""
    return f": {words if len(words) <= SHOWN else words[: SHOWN - 1] + '…'}"


def _how(report: Report) -> str:
    memory = ", out of memory" if report.out_of_memory else ""
    return f"with exit code {report.code}{memory}, {report.ended:.1f} s after its start"


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"


def _size(count: int) -> str:
    if count < 10_000:
        return f"{count} bytes"
    return f"{count / (1 << 20):.1f} MiB" if count >= 1 << 20 else f"{count / (1 << 10):.1f} KiB"
