"""The verb `request`: from flags to a request on stdout. It does not know how a request is put together."""

from __future__ import annotations

import argparse
import sys
import time

from smentry.ctl import options
from smentry.ctl.request import commandline, compose, flags, reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMATS = ("json", "command")


def add(commands: Any) -> None:
    """Add the verb to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "request",
        help="write a CreateTrainingJob request for an image and a script",
        description="Write a valid CreateTrainingJob request to stdout: for `aws sagemaker create-training-job"
        " --cli-input-json file://FILE` and for `smentryctl run`. What is not known yet gets a placeholder, and a line on"
        " stderr says so.",
        allow_abbrev=False,
    )
    parser.set_defaults(call=call)
    what = parser.add_argument_group("what runs")
    what.add_argument("--image", metavar="IMAGE", required=True, help="TrainingImage: the image's name in its registry")
    what.add_argument(
        "--script",
        metavar="CHANNEL/PATH",
        help="the script to run, in a channel; or /PATH of one in the image. Without: the image's own entrypoint",
    )
    what.add_argument(
        "--argument",
        metavar="WORD",
        action="append",
        default=[],
        help="an argument of the script; repeat it for each; one that begins with a hyphen as --argument=--WORD",
    )
    what.add_argument(
        "--plain",
        action="store_true",
        help="without smentry, as the platform documents it: /bin/sh or python is the ContainerEntrypoint",
    )
    job = parser.add_argument_group("the job")
    job.add_argument("--name", metavar="NAME", help="TrainingJobName; default: the image's, with the time")
    job.add_argument("--role", metavar="ARN", help="RoleArn: the role that the job takes")
    job.add_argument(
        "--channel",
        metavar="NAME=S3URI[:MODE]",
        action="append",
        type=flags.channel,
        default=[],
        help="an input data channel; MODE is File, FastFile or Pipe (default: File)",
    )
    job.add_argument("--output", metavar="S3URI", help="S3OutputPath: where the artifacts go")
    job.add_argument(
        "--instance-type", metavar="TYPE", default=compose.INSTANCE_TYPE, help="InstanceType (default: %(default)s)"
    )
    job.add_argument(
        "--instances", metavar="N", type=options.count, default=1, help="InstanceCount (default: %(default)s)"
    )
    job.add_argument(
        "--volume",
        metavar="GB",
        type=options.count,
        default=compose.VOLUME,
        help="VolumeSizeInGB (default: %(default)s)",
    )
    job.add_argument(
        "--max-runtime",
        metavar="DUR",
        type=flags.runtime,
        default=compose.MAX_RUNTIME,
        help="MaxRuntimeInSeconds, such as 90, 90s, 2m or 1h (default: 24h)",
    )
    flags.add_values(job)
    spot = parser.add_argument_group("spot instances")
    spot.add_argument("--spot", action="store_true", help="EnableManagedSpotTraining, with a CheckpointConfig")
    spot.add_argument(
        "--max-wait",
        metavar="DUR",
        type=flags.runtime,
        help="MaxWaitTimeInSeconds, the run included; default: --max-runtime",
    )
    spot.add_argument("--checkpoint", metavar="S3URI", help="CheckpointConfig: where /opt/ml/checkpoints is kept")
    parser.add_argument(
        "--format", choices=FORMATS, default="json", help="JSON, or the whole `aws` command line (default: %(default)s)"
    )


def call(arguments: argparse.Namespace) -> int:
    """Write the request to stdout, and its placeholders to stderr. Raises RefusedError."""
    request, placeholders = compose.compose(_wanted(arguments), time.time())
    reading.refuse_problems(request)
    as_command = arguments.format == "command"
    sys.stdout.write(commandline.write(request) if as_command else commandline.laid_out(request) + "\n")
    for line in placeholders:
        print(f"smentryctl: {line}", file=sys.stderr)
    return 0


def _wanted(arguments: argparse.Namespace) -> compose.Wanted:
    return compose.Wanted(
        image=arguments.image,
        script=arguments.script,
        arguments=arguments.argument,
        plain=arguments.plain,
        name=arguments.name,
        channels=arguments.channel,
        role=arguments.role,
        output=arguments.output,
        instance_type=arguments.instance_type,
        instances=arguments.instances,
        volume=arguments.volume,
        max_runtime=arguments.max_runtime,
        hyperparameters=dict(arguments.hyperparameter),
        environment=dict(arguments.env),
        spot=arguments.spot,
        max_wait=arguments.max_wait,
        checkpoint=arguments.checkpoint,
    )
