"""The verb serve: an image as hosting runs it, asked once and stopped. It knows the flags and where the model comes from."""

from __future__ import annotations

import argparse
import json
import mimetypes
import shutil
import sys
import tempfile
from pathlib import Path

from smentry.ctl import options
from smentry.ctl.serve.limits import BODY_BYTES, PORT, STARTUP_SECONDS, STOP_SECONDS
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from smentry.ctl.engine.base import Engine

DESCRIPTION = """Start an image as hosting does (docker run IMAGE serve), wait until /ping answers 200, send a file to
/invocations, and stop the container as hosting does, while requests are in flight. Exits 0 where all of it is as the platform
wants it, 1 where it is not."""

_LARGEST = 4 * BODY_BYTES
"""Bytes of a request that is still sent, to see what the image says to one that is too large."""


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the verb to the parser."""
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
        "--content-type",
        metavar="TYPE",
        type=_header,
        help="its Content-Type; without it, what the file's name says",
    )
    parser.add_argument("--accept", metavar="TYPE", type=_header, help="the Accept of the requests")
    parser.add_argument(
        "--concurrent", metavar="N", type=options.count, default=1, help="how many requests are sent at once (1)"
    )
    parser.add_argument(
        "--env",
        metavar="K=V",
        action="append",
        type=options.pair,
        default=[],
        help="one of the container's Environment",
    )
    options.add_gpus(parser)
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
        type=options.duration,
        default=STARTUP_SECONDS,
        help="how long /ping may take to answer 200: ContainerStartupHealthCheckTimeoutInSeconds (8m)",
    )
    options.add_stop_timeout(parser, STOP_SECONDS)
    parser.add_argument(
        "--engine",
        choices=options.ENGINES,
        default=options.DOCKER,
        help="process: without a container engine (%(default)s)",
    )
    options.add_colour(parser)
    parser.add_argument("--json", action="store_true", help="the report as JSON on stdout, the log on stderr")
    parser.set_defaults(call=call)


def call(arguments: argparse.Namespace) -> int:
    """Run the verb; its exit code."""
    from smentry.ctl.display.screen import open_display
    from smentry.ctl.serve.course import HOST, Plan, visit
    from smentry.ctl.serve.report import as_json, findings, text

    if arguments.image is None and arguments.engine == options.DOCKER:
        raise RefusedError("no image: expected smentryctl serve IMAGE, or --engine process")
    body = _body(arguments.request)
    scratch = Path(tempfile.mkdtemp(prefix="smentryctl-serve-"))
    engine: Engine | None = None
    try:
        model = _model(arguments.model, scratch)
        engine = _engine(arguments.engine, arguments.image or "serve")
        stream = sys.stderr if arguments.json else sys.stdout
        with open_display([HOST], stream=stream, colour=arguments.colour) as display:
            for line in engine.cannot_show():
                display.say(f"not shown: {line}")
            if arguments.engine == options.PROCESS:
                _check_free(arguments.port)
            engine.prepare(arguments.image or "")
            plan = Plan(
                image=arguments.image or "",
                environment={**dict(arguments.env), "SAGEMAKER_BIND_TO_PORT": str(arguments.port)},
                model=model,
                gpus=arguments.gpus or "",
                port=arguments.port,
                same_port=arguments.engine == options.PROCESS,
                body=body,
                headers=_headers(arguments),
                concurrent=arguments.concurrent,
                startup_limit=arguments.startup_limit,
                stop_timeout=arguments.stop_timeout,
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
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            body = file.read(_LARGEST + 1)
    except OSError as error:
        raise RefusedError(f"--request {path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if len(body) > _LARGEST:
        raise RefusedError(
            f"--request {path} is larger than {_LARGEST >> 20} MiB: the platform takes {BODY_BYTES >> 20} MiB at most"
        )
    return body


def _model(path: Path | None, scratch: Path) -> Path | None:
    """The directory for /opt/ml/model: unpacked, or as it is."""
    if path is None:
        return None
    if path.is_dir():
        return path.resolve()
    if not path.is_file():
        what = "is neither a file nor a directory" if path.exists() else "does not exist"
        raise RefusedError(f"--model {path} {what}: expected a model.tar.gz or a directory")
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
    if kind == options.PROCESS:
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


def _header(word: str) -> str:
    if not (word and word.isascii() and word.isprintable()):
        raise argparse.ArgumentTypeError(f"expected a media type such as text/csv, got {word!r}")
    return word


def _port(word: str) -> int:
    if not (word.isascii() and word.isdigit() and 0 < int(word) < 65536):
        raise argparse.ArgumentTypeError(f"expected a port, got {word!r}")
    return int(word)
