"""Telling of a run that failed, on stderr and to the platform, in the time that there is. Why it did, others know."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smentry.errors import RefusedError
    from smentry.job import Job
    from smentry.pid1.report import Report
    from smentry.pid1.stderr import Log
    from smentry.verdict import Verdict

_TIME_TO_EXPLAIN = 0.25
"""Seconds that must be left before the platform's SIGKILL for a failure to be looked into: so long a slow machine may take."""


def refused(error: RefusedError, verb: str | None, environment: Mapping[str, str], log: Log, *, tell: bool) -> int:
    """Say why nothing is started: on stderr and, to be told, to the platform. Returns the exit code."""
    log.error("refused", error.message, **({"looked_at": list(error.details)} if error.details else {}))
    if not log.json:
        for detail in error.details:
            log.error("refused", f"  {detail}")
    if not tell:
        return error.code
    text = f"smentry: {error.message}"
    try:
        from smentry import verdict

        text = verdict.refused(error, host=host(environment), mask=_mask(environment))
    except Exception as defect:  # the exit code is what it is
        log.error("defect", f"smentry itself failed: {describe(defect)}")
    _write(text, verb, environment, log)
    return error.code


def failed(report: Report, job: Job, here: str, log: Log, *, tell: bool) -> None:
    """Say why a run failed: on stderr and, to be told, to the platform, before its SIGKILL.

    `here` is the name of this host, where there are others.
    """
    text = f"{report.label} failed: exit code {report.code}"
    if report.sigkill_at - time.monotonic() > _TIME_TO_EXPLAIN:
        try:
            found = explained(report, job.environment, here)
            text = found.text
            if found.news:
                log.error("failed", found.line, code=report.code)
        except Exception as defect:  # the exit code is what it is
            log.error("defect", f"smentry itself failed: {describe(defect)}")
    left = report.sigkill_at - time.monotonic()
    if tell and left > 0:
        _write(text, job.verb, job.environment, log, left)


def explained(report: Report, environment: Mapping[str, str], here: str = "") -> Verdict:
    """What a run that failed came to; `environment` is the program's, `here` the name of this host, where there are others."""
    from smentry import verdict

    return verdict.explain(report, host=here, mask=_mask(environment), path=environment.get("PATH", ""))


def broken(defect: BaseException, verb: str | None, environment: Mapping[str, str], log: Log, *, tell: bool) -> int:
    """Say that smentry itself failed before anything ran. Returns the exit code."""
    text = f"smentry itself failed: {describe(defect)}"
    log.error("defect", text)
    if tell:
        _write(text, verb, environment, log)
    return 1


def host(environment: Mapping[str, str]) -> str:
    """The name of this host, where the job has others; empty where not, or where that cannot be read."""
    from smentry.errors import RefusedError
    from smentry.sagemaker import inputs, layout

    try:
        resources = inputs.resources(layout.Layout.of(environment))
    except (RefusedError, OSError):
        return ""
    return resources.current_host if len(resources.hosts) > 1 else ""


def describe(error: BaseException) -> str:
    """An exception and where it was raised, on one line."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}: {error}{place}; please report this"


def _write(text: str, verb: str | None, environment: Mapping[str, str], log: Log, left: float = float("inf")) -> None:
    """Write the failure file, where this is a training or processing job, in half of the seconds `left` at most."""
    if verb == "serve":
        return
    try:
        from smentry.sagemaker import failure, layout

        within = min(failure.WITHIN, left / 2)
        why_not = failure.write(layout.Layout.of(environment), text, training=verb == "train", within=within)
    except Exception as defect:  # the exit code is what it is
        why_not = describe(defect)
    if why_not:
        log.warning("failure-file", f"the platform is not told why: {why_not}")


def _mask(environment: Mapping[str, str]) -> Callable[[str], str]:
    from smentry import masking

    secrets = masking.values(environment)
    return lambda text: masking.mask(text, secrets)
