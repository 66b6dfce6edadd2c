"""The verb serve: an image as hosting runs it, asked once and stopped. It knows the flags and where the model comes from."""

from __future__ import annotations

import argparse
import json
import mimetypes
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from smentry import config
from smentry.ctl.request.flags import pair
from smentry.errors import RefusedError

from .limits import PORT, STARTUP_SECONDS, STOP_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from smentry.ctl.engine.base import Engine

DESCRIPTION = """Start an image as hosting does (docker run IMAGE serve), wait until /ping answers 200, send a file to
/invocations, and stop the container as hosting does, while requests are in flight. Exits 0 where all of it is as the platform
wants it, 1 where it is not."""


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the subcommand `serve`."""
    parser = commands.add_parser(
        "serve",
        help="start an image as hosting does, ask it, and stop it",
        description=DESCRIPTION,
        allow_abbrev=False,
    )
    parser.add_argument("image", metavar="IMAGE", nargs="?", help="the image; with --engine process there is none")
    parser.add_argument(
        "--model",
        metavar="PATH",
        type=Path,
        help="model.tar.gz, or a directory: what the container has in /opt/ml/model",
    )
    parser.add_argument("--request", metavar="FILE", type=Path, help="the body of the requests to /invocations")
    parser.add_argument(
        "--content-type", metavar="TYPE", help="its Content-Type; without it, what the file's name says"
    )
    parser.add_argument("--accept", metavar="TYPE", help="the Accept of the requests")
    parser.add_argument(
        "--concurrent", metavar="N", type=_count, default=1, help="how many requests are sent at once (1)"
    )
    parser.add_argument(
        "--env", metavar="K=V", action="append", type=pair, default=[], help="one of the container's Environment"
    )
    parser.add_argument("--gpus", metavar="N", default="", help="all, or a number, as docker run has it")
    parser.add_argument(
        "--port",
        metavar="N",
        type=_port,
        default=PORT,
        help=f"the port, which SAGEMAKER_BIND_TO_PORT says too ({PORT})",
    )
    parser.add_argument(
        "--startup-limit",
        metavar="DUR",
        type=_duration,
        default=STARTUP_SECONDS,
        help="how long /ping may take to answer 200: ContainerStartupHealthCheckTimeoutInSeconds (8m)",
    )
    parser.add_argument(
        "--grace",
        metavar="DUR",
        type=_duration,
        default=STOP_SECONDS,
        help="from SIGTERM to SIGKILL (the platform's 30s)",
    )
    parser.add_argument("--engine", choices=("docker", "process"), default="docker", help="where it runs (docker)")
    parser.add_argument(
        "--colour", "--color", metavar="WHEN", choices=("auto", "always", "never"), default="auto",
        help="auto, always or never",
    )  # fmt: skip
    parser.add_argument(
        "--no-colour", "--no-color", dest="colour", action="store_const", const="never", help="as --colour never"
    )
    parser.add_argument("--json", action="store_true", help="the report as JSON on stdout, the log on stderr")
    parser.set_defaults(call=call)


def call(arguments: argparse.Namespace) -> int:
    """Run the verb; its exit code."""
    from smentry.ctl.display.screen import open_display

    from .course import HOST, Plan, visit
    from .report import as_json, findings, text

    if arguments.image is None and arguments.engine == "docker":
        raise RefusedError("no image: expected smentryctl serve IMAGE, or --engine process")
    body = _body(arguments.request)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # nothing of the container outlives it
    scratch = Path(tempfile.mkdtemp(prefix="smentryctl-serve-"))
    engine: Engine | None = None
    try:
        model = _model(arguments.model, scratch)
        engine = _engine(arguments.engine, arguments.image or "serve")
        stream = sys.stderr if arguments.json else sys.stdout
        with open_display([HOST], stream=stream, colour=arguments.colour) as display:
            for line in engine.cannot_show():
                display.say(f"not shown here: {line}")
            if arguments.engine == "process":
                _check_free(arguments.port)
            engine.prepare(arguments.image or "")
            plan = Plan(
                image=arguments.image or "",
                environment={**dict(arguments.env), "SAGEMAKER_BIND_TO_PORT": str(arguments.port)},
                model=model,
                gpus=arguments.gpus,
                port=arguments.port,
                same_port=arguments.engine == "process",
                body=body,
                headers=_headers(arguments),
                concurrent=arguments.concurrent,
                startup_limit=arguments.startup_limit,
                grace=arguments.grace,
            )
            report = visit(engine, plan, display)
            found = findings(report)
            if not arguments.json:
                display.result(f"\n{text(report, found)}")
        if arguments.json:
            print(json.dumps(as_json(report, found), indent=2))
        return 1 if found else 0
    finally:
        if engine is not None:
            engine.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _body(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise RefusedError(f"--request {path} cannot be read: {(error.strerror or str(error)).lower()}") from None


def _model(path: Path | None, scratch: Path) -> Path | None:
    """The directory for /opt/ml/model: unpacked, or as it is."""
    if path is None:
        return None
    if path.is_dir():
        return path.resolve()
    if not path.exists():
        raise RefusedError(f"--model {path} does not exist: expected a model.tar.gz or a directory")
    from smentry.sagemaker.unpack import UnpackError, unpack

    directory = scratch / "model"
    directory.mkdir()
    try:
        unpack(str(path), str(directory))
    except UnpackError as error:
        told = str(error).replace("an archive of source code", "a model").replace("sourcedir", "model")
        raise RefusedError(f"--model {path} {told}") from None
    return directory


def _headers(arguments: argparse.Namespace) -> dict[str, str]:
    if arguments.request is None:
        return {}
    guessed = mimetypes.guess_type(arguments.request.name)[0] or "application/octet-stream"
    headers = {"Content-Type": arguments.content_type or guessed}
    return {**headers, "Accept": arguments.accept} if arguments.accept else headers


def _engine(kind: str, name: str) -> Engine:
    if kind == "process":
        from smentry.ctl.engine.process import ProcessEngine

        return ProcessEngine(name)
    from smentry.ctl.engine.docker import DockerEngine

    return DockerEngine(name)


def _check_free(port: int) -> None:
    """Without a network of its own, another program would be asked where it already listens. Raises RefusedError."""
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return
    raise RefusedError(
        f"port {port} of this machine is in use: end what listens there, or choose another one with --port"
    )


def _count(word: str) -> int:
    if not (word.isascii() and word.isdigit() and int(word)):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {word!r}")
    return int(word)


def _port(word: str) -> int:
    if not (word.isascii() and word.isdigit() and 0 < int(word) < 65536):
        raise argparse.ArgumentTypeError(f"expected a port, got {word!r}")
    return int(word)


def _duration(word: str) -> float:
    try:
        return config.duration(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
