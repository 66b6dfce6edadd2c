"""The verb `explain`: what smentry would do in an image, by smentry's own dry run in a container of it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
from pathlib import Path

from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from smentry.ctl.data.tree import HostTree
    from smentry.ctl.engine.base import Mount
    from smentry.ctl.request.job import Job

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

DRY_RUN = {"SMENTRY_DRY_RUN": "1"}
"""A variable, not --dry-run: after an ENTRYPOINT that ends in a command, a further word would be the command's."""


def add(commands: Commands) -> None:
    """Add the verb to the parser."""
    made = commands.add_parser(
        "explain",
        help="what smentry would run in an image, and why",
        description="Print as YAML what smentry would do in an image, and where each value comes from, as smentry --dry-run "
        "does in a container of it. The program is not started.",
        epilog="Example: smentryctl explain IMAGE -- --scope all train",
        allow_abbrev=False,
    )
    made.add_argument(
        "image", metavar="IMAGE|DIRECTORY", help="an image, or a directory whose Dockerfile is built for this"
    )
    made.add_argument(
        "words",
        metavar="ARG",
        nargs="*",
        help="what comes after the image's ENTRYPOINT: train, unless --request says otherwise; after -- also options of smentry",
    )
    made.add_argument(
        "--request",
        metavar="FILE",
        help="a CreateTrainingJob request: algo-1 finds its hyperparameters, channels and variables; its image is not used",
    )
    made.add_argument(
        "--s3",
        metavar="s3://BUCKET/PREFIX=DIR",
        action="append",
        default=[],
        help="a directory that stands for a part of S3, for the channels of the request; repeatable",
    )
    made.set_defaults(call=_call)


def _call(arguments: argparse.Namespace) -> int:
    from smentry.ctl.engine.images import Images

    with contextlib.ExitStack() as stack:
        entrypoint: tuple[str, ...] | None = None
        words: tuple[str, ...] = ("train",)
        environment = DRY_RUN
        mounts: tuple[Mount, ...] = ()
        if arguments.request is not None:
            job = _job(arguments.request)
            entrypoint, words = job.command
            tree = stack.enter_context(_laid_out(job, arguments.s3))
            environment, mounts = {**tree.environment, **DRY_RUN}, tree.mounts
        images = stack.enter_context(contextlib.closing(Images()))
        image = arguments.image
        if os.path.isdir(image):
            image = stack.enter_context(images.built(Path(image), _say))
        if entrypoint is None:
            refuse_all_but_smentry(images.entrypoint(image), f"the ENTRYPOINT of {arguments.image}")
        else:
            refuse_all_but_smentry(entrypoint, f"the ContainerEntrypoint of {arguments.request}")
        code, printed, said = images.printed(image, entrypoint, arguments.words or words, environment, mounts)
    sys.stderr.write(said.decode("utf-8", "replace"))
    sys.stdout.write(printed.decode("utf-8", "replace"))
    if code:
        _say(f"smentry would start nothing, and exit with {code}")
    return 1 if code else 0


def _say(line: str) -> None:
    print(f"smentryctl: {line}", file=sys.stderr, flush=True)


def _job(path: str) -> Job:
    from smentry.ctl.request import document, reading

    source = document.load(path)
    reading.refuse_problems(source.value, source)
    return reading.job(source.value)


@contextlib.contextmanager
def _laid_out(job: Job, mappings: Sequence[str]) -> Iterator[HostTree]:
    """What algo-1 of the job finds, in a temporary directory."""
    import tempfile

    from smentry.ctl.data.storage import Storage, mapping
    from smentry.ctl.data.tree import lay_out

    with tempfile.TemporaryDirectory(prefix="smentryctl-") as directory:
        yield lay_out(job, Storage([mapping(text) for text in mappings]), Path(directory))[0]


def refuse_all_but_smentry(entrypoint: Sequence[str], what: str) -> None:
    """Raise RefusedError where it is anything else: that would be started, and nothing of the image's is to be."""
    if not entrypoint:
        raise RefusedError(f'{what}: there is none, so that no smentry runs in it; expected ENTRYPOINT ["smentry"]')
    program = os.path.basename(entrypoint[0])
    if program == "smentry" or (re.fullmatch(r"python[\d.]*", program) and list(entrypoint[1:3]) == ["-m", "smentry"]):
        return
    raise RefusedError(
        f"{what} is {json.dumps(list(entrypoint))}, not smentry, so that there is nothing to explain it; "
        'expected ["smentry"], or ["smentry", "--train", "CMD"], in exec form'
    )
