"""The verb run: a training job's request on this machine, as the platform would run it. It knows the flags, not the course."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path

from smentry.ctl import options
from smentry.ctl.request import flags
from smentry.ctl.run.course import STOP_SECONDS
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from smentry.ctl.engine.base import Engine
    from smentry.ctl.request.job import Job

HELP = "run a CreateTrainingJob request on this machine"
EPILOG = """\
exit code: 0 Completed, 1 Failed, 3 Stopped, 2 nothing was started, 130 ^C before that.
The first ^C (or SIGTERM) is StopTrainingJob: SIGTERM, 120 s, SIGKILL; the second kills at once."""

NO_IMAGE = "local"
"""TrainingImage, and so the job's name, of a job that is made of flags alone and whose engine uses no image."""


def add(commands: Any) -> None:
    """Add the verb to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "run",
        help=HELP,
        description="Run a CreateTrainingJob request, or its flags, on this machine as the platform would.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "request",
        metavar="REQUEST",
        nargs="?",
        help="the file that `aws sagemaker create-training-job --cli-input-json` takes; - is stdin",
    )
    flags.add_flags(parser)
    here = parser.add_argument_group("this machine")
    here.add_argument(
        "--s3",
        metavar="s3://BUCKET/PREFIX=DIR",
        action="append",
        default=[],
        help="what is below this URI is in DIR; other URIs are read from S3 itself",
    )
    here.add_argument("--output", metavar="DIR", type=Path, help="where the artifacts go (./JOB-NAME)")
    here.add_argument(
        "--checkpoints",
        metavar="DIR",
        type=Path,
        help="in the place of CheckpointConfig.S3Uri: restored at the start, kept at the end (OUTPUT/checkpoints)",
    )
    here.add_argument("--stop-after", metavar="DUR", type=options.duration, help="ask for a stop after so long")
    here.add_argument(
        "--interrupt-after", metavar="DUR", type=options.duration, help="a spot interruption after so long"
    )
    options.add_stop_timeout(here, STOP_SECONDS)
    here.add_argument(
        "--engine",
        choices=options.ENGINES,
        default=options.DOCKER,
        help="process: without a container engine, and then without an image (%(default)s)",
    )
    options.add_gpus(here)
    here.add_argument("--keep", action="store_true", help="do not remove what the hosts had under /opt/ml")
    here.add_argument(
        "--json", action="store_true", help="print the result as DescribeTrainingJob; the log is on stderr"
    )
    options.add_colour(here)
    parser.set_defaults(call=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the job. The exit code, by its status. Raises RefusedError, or KeyboardInterrupt before the hosts are started."""
    from smentry.ctl.data.storage import Storage, mapping
    from smentry.ctl.display.screen import open_display
    from smentry.ctl.request import reading
    from smentry.ctl.run import result
    from smentry.ctl.run.conduct import Asking, Setting, conduct
    from smentry.ctl.run.course import Plan

    if arguments.engine == options.PROCESS and arguments.request is None and arguments.image is None:
        arguments.image = NO_IMAGE
    job = reading.asked(arguments.request, arguments, _region())
    storage = Storage([mapping(text) for text in arguments.s3])
    output: Path = arguments.output or Path(job.name)
    stream = sys.stderr if arguments.json else sys.stdout
    created = time.time()
    hosts = [host.name for host in job.hosts]
    plan = Plan(tuple(hosts), job.max_runtime, arguments.stop_timeout, arguments.stop_after, arguments.interrupt_after)
    checkpoints = _checkpoints(job, arguments, output)
    with contextlib.ExitStack() as closing:
        asking = closing.enter_context(Asking())
        display = closing.enter_context(open_display(hosts, stream=stream, colour=arguments.colour))
        with asking.raising():
            engine, views = _engine(arguments.engine, job, display.say)
            closing.callback(engine.close)
            engine.prepare(job.image)
        for line in (*(f"not shown: {what}" for what in engine.cannot_show()), *_warnings(job, arguments)):
            display.say(line)
        made = _make(output) + ([] if checkpoints is None else _make(checkpoints))
        setting = Setting(
            job, plan, engine, storage, display, output, checkpoints, views, arguments.gpus or "",
            arguments.keep, display.shows_status,
        )  # fmt: skip
        try:
            outcome = conduct(setting, asking, created)
        finally:
            for directory in reversed(made):
                with contextlib.suppress(OSError):  # there is something in it
                    directory.rmdir()
        described = result.describe(job, outcome.course, outcome.failure)
        if outcome.trees is not None:
            display.say(f"kept: {outcome.trees}")
        if not arguments.json:
            display.result("\n" + result.short(described, outcome.course, outcome.ended, outcome.kept))
    if arguments.json:
        print(result.as_json(described))
    return result.EXIT_CODES[result.status(outcome.course)]


def _engine(kind: str, job: Job, say: Callable[[str], None]) -> tuple[Engine, bool]:
    """The engine, and whether it can mount a user's own directory read-only."""
    if kind == options.PROCESS:
        from smentry.ctl.engine.process import ProcessEngine

        processes = ProcessEngine(job.name)
        return processes, not processes.without
    from smentry.ctl.engine.docker import DockerEngine, NoEngineError

    try:
        return DockerEngine(job.name, isolated=bool(job.request.get("EnableNetworkIsolation")), say=say), True
    except NoEngineError as error:
        raise RefusedError(f"{error.message}; or run it without one: --engine process") from None


def _warnings(job: Job, arguments: argparse.Namespace) -> list[str]:
    from smentry.ctl.request import reading

    lines = [f"not shown: {what}" for what in reading.unseen(job.request)]
    if arguments.interrupt_after is not None and not _keeps(job, arguments):
        lines.append("the request has no CheckpointConfig: nothing outlives the interruption, as on the platform")
    return lines


def _keeps(job: Job, arguments: argparse.Namespace) -> bool:
    """Whether checkpoints are kept: where the request says so, or there is none to say it."""
    made_of_flags = arguments.request is None and arguments.interrupt_after is not None
    return job.checkpoint_path is not None or arguments.checkpoints is not None or made_of_flags


def _checkpoints(job: Job, arguments: argparse.Namespace, output: Path) -> Path | None:
    if not _keeps(job, arguments):
        return None
    directory: Path = arguments.checkpoints or output / "checkpoints"
    return directory


def _make(directory: Path) -> list[Path]:
    """Make a directory that will be written to, before anything else is done; which ones were made."""
    missing = [path for path in reversed((directory, *directory.parents)) if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RefusedError(f"{directory} cannot be made: {error.strerror}; expected a directory") from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise RefusedError(f"{directory} may not be written to: expected a directory of yours; give another")
    return missing


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
