"""A job to its end: what the init is given for it, and who is told of its failure. How it was asked for, others know."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from smentry.config import Settings
    from smentry.hostwatch import HostWatch
    from smentry.job import Job
    from smentry.pid1.hooks import Hook
    from smentry.pid1.process import Program
    from smentry.pid1.report import Report
    from smentry.pid1.stderr import Log

_TIME_TO_LEAVE = 0.25
"""Seconds before the platform's SIGKILL, at least, when nobody is waited for any more: a slow machine may need them to exit."""


def run(job: Job, settings: Settings, environment: Mapping[str, str], mask: Iterable[int], log: Log) -> int:
    """Run a job to its end, and return the exit code; where it failed, that is said, and told to the platform.

    `environment` and `mask`, the signal mask, are those that smentry was started with.
    """
    explained = _is_explained(job.verb, environment)
    here = ""
    if explained:
        from smentry import outcome

        here = outcome.host(environment)  # now, for at the end the file system may not answer any more
    report = _supervise(job, settings, mask, log, explained=explained)
    if report.code:
        from smentry import outcome

        outcome.failed(report, job, here, log, tell=explained)
    if log.waiting:
        from smentry.pid1.state import HOOKS_END
        from smentry.pid1.stderr import LATE, Patience

        until = min(time.monotonic() + LATE, report.sigkill_at - max(job.reserve * HOOKS_END, _TIME_TO_LEAVE))
        log.catch_up(Patience(until, settings.stop_signals))
    return report.code


def _is_explained(verb: str | None, environment: Mapping[str, str]) -> bool:
    """Whether the platform would be told why the program failed."""
    if verb is not None:
        return verb == "train"
    if not os.path.isdir(environment.get("SAGEMAKER_BASE_DIR") or "/opt/ml"):
        return False  # as under tini, without loading more
    from smentry.sagemaker.layout import Layout

    layout = Layout.of(environment)
    return os.path.isdir(layout.config) or layout.is_processing()


def _supervise(job: Job, settings: Settings, mask: Iterable[int], log: Log, *, explained: bool) -> Report:
    from smentry.pid1.state import Plan
    from smentry.pid1.supervisor import supervise

    program = _program(job, log)
    if job.settle is not None:
        program.settle = lambda: _settled(job, program, log)
    watch, linger = _watch(job, settings, log)
    plan = Plan(
        stop_timeout=job.stop_timeout,
        reserve=job.reserve,
        stopping=job.stopping,
        after=job.after,
        hooks=_hooks(job, settings),
        companions=job.companions if watch is None else [watch.companion, *job.companions],
        linger=linger,
        scope=settings.scope,
        stop_signals=frozenset(settings.stop_signals),
        rewrites=_rewrites(job, settings),
        success=frozenset(settings.success),
        wait_all=settings.wait_all,
        max_runtime=settings.max_runtime,
        inherited=sum(1 << (number - 1) for number in mask),
    )
    report = supervise(
        program,
        plan,
        log=log,
        mask=mask,
        parent_death=settings.parent_death,
        warn_on_reap=settings.warn_on_reap,
        timeline=settings.timeline,
        evidence=explained,
        tap=explained and settings.tap == "auto" and _has_readers(2),
        ended=None if watch is None else watch.ended,
    )
    if watch is not None:
        watch.tell(report)
    return report


def _watch(job: Job, settings: Settings, log: Log) -> tuple[HostWatch | None, float]:
    """The watch of the job's other hosts, where it has some, and the seconds that what is left at the end has."""
    if job.watch is None:
        return None, settings.linger
    from smentry.hostwatch import LINGER, HostWatch

    linger = max(settings.linger, LINGER)
    stops = frozenset(settings.stop_signals)
    try:
        return HostWatch(job.watch, job, linger, frozenset(settings.success), stops, log), linger
    except OSError as error:
        log.warning("watch", f"the other hosts are not watched: no pipe for that ({error.strerror})")
        return None, settings.linger


def _program(job: Job, log: Log) -> Program:
    """The program as the init wants it, having said what was found, and what is odd about it."""
    from smentry.pid1.process import Identity, Program

    for warning in job.warnings:
        log.warning("config", warning)
    job.warnings = []
    if job.found:
        log.info("found", f"{job.verb or 'script'}: {job.label} ({job.found})", path=job.path, why=job.found)
    identity = Identity(*job.identity) if job.identity else None
    return Program(job.argv, job.environment, job.directory, identity, job.label, job.path)


def _settled(job: Job, standing: Program, log: Log) -> Program:
    """The program that is found now, for which `standing` has stood. Raises StartError where there is none."""
    from smentry.errors import RefusedError
    from smentry.pid1.process import StartError

    assert job.settle is not None
    try:
        job.settle()
    except RefusedError as refused:
        raise StartError(refused.code, " ".join([refused.message, "; ".join(refused.details)]).strip()) from None
    # What the program gets, hooks get too, and whatever else was made of the one before.
    standing.environment.clear()
    standing.environment.update(job.environment)
    job.environment = standing.environment
    return _program(job, log)


def _rewrites(job: Job, settings: Settings) -> dict[int, int]:
    """What is passed on in the place of which signal."""
    own = settings.serve_signal if job.verb == "serve" else None
    told = {} if own is None else dict.fromkeys(settings.stop_signals, own)
    return {**told, **dict(settings.rewrite)}


def _hooks(job: Job, settings: Settings) -> tuple[Hook, ...]:
    """What is to be done before the program, by smentry itself and by the user."""
    if not job.steps:
        return settings.hooks
    from smentry.pid1.hooks import START, Hook

    def own(late: bool) -> list[Hook]:
        return [
            Hook(START, step.name, call=step.call, own=step.own, required=True, timeout=float("inf"))
            for step in job.steps
            if step.late == late
        ]

    return (*own(False), *settings.hooks, *own(True))


def _has_readers(descriptor: int) -> bool:
    """Whether a program's output may be listened to on its way: not on a terminal, for which programs write otherwise, nor
    where it was closed and smentry filled it, which the program is to find so."""
    return not os.isatty(descriptor) and os.get_inheritable(descriptor)
