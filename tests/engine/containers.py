"""Containers and images for the tests, by the `docker` command. It knows the engine, and no expectations."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running import LIMIT, PROGRAMS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]
STATE = "/state"
"""Where a container has the directory in which the programs write what they did."""

PREPARED = "smentry-test"
"""The repository of the images that the tests build; the tag says what they were built from."""

PLAIN = f"{PREPARED}:plain"
"""The image as docker/build.sh makes it, without the programs of the tests."""

BUILT_FROM = (
    "smentry",
    "pyproject.toml",
    "docker/Dockerfile",
    "docker/build.sh",
    "tests/programs",
    "tests/engine/Dockerfile",
)
"""What decides whether the image for the tests is built anew; of smentry without ctl, which never runs in an image."""


def docker(*arguments: str, check: bool = True, limit: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a docker command. Where it fails and `check` is set, so does the test."""
    with _no_image_goes_while_one_is_built(arguments[0]):
        ran = subprocess.run(
            ["docker", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    if check and ran.returncode:
        pytest.fail(f"docker {' '.join(arguments)}: exit code {ran.returncode}\n{ran.stdout}{ran.stderr}")
    return ran


@contextlib.contextmanager
def _no_image_goes_while_one_is_built(verb: str) -> Iterator[None]:
    """Files of tests that run side by side build alike images: what one removes may be what another's build goes on from."""
    if verb not in ("build", "rmi"):
        yield
        return
    with open(Path(tempfile.gettempdir()) / "smentry-test-images.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH if verb == "build" else fcntl.LOCK_EX)
        yield


def follow(commands: str, directory: Path, *, limit: float = 300, **environment: str) -> str:
    """Run the commands of a page as a reader would, in bash; what they write. Where one of them fails, so does the test."""
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=directory,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def why_no_engine() -> str:
    """Why the engine tests cannot run; empty where an engine answers."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    answered = docker("version", "--format", "{{.Server.Version}}", check=False, limit=30)
    return "" if answered.returncode == 0 else f"no container engine answers: {answered.stderr.strip()}"


def base_image() -> str:
    """The image to build on: $SMENTRY_BASE_IMAGE, else smentry-base, else the Dockerfile's own choice."""
    local = docker("images", "--quiet", "smentry-base:latest").stdout.strip()
    return os.environ.get("SMENTRY_BASE_IMAGE") or ("smentry-base:latest" if local else "python:3.12-slim")


def prepare(base: str) -> str:
    """The name of the image for the tests: smentry as docker/build.sh installs it, and their programs.

    It is built anew only where something of it has changed; by one session of tests, while others wait for it.
    """
    with open(Path(tempfile.gettempdir()) / "smentry-test-image.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _prepare(base)


def _prepare(base: str) -> str:
    identity = docker("images", "--no-trunc", "--quiet", base).stdout
    tag = f"{PREPARED}:{_digest(identity)}"
    if docker("image", "inspect", tag, check=False).returncode:
        for old in docker("images", "--quiet", PREPARED).stdout.split():
            docker("rmi", "--force", old, check=False)
        environment = {**os.environ, "PYTHON": sys.executable, "BASE_IMAGE": base}
        command = [str(ROOT / "docker/build.sh"), PLAIN]
        built = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert built.returncode == 0, built.stdout + built.stderr
        build(tag, Path(__file__).parent / "Dockerfile", PROGRAMS, SMENTRY_IMAGE=PLAIN)
    return tag


def build(tag: str, dockerfile: Path, context: Path, **arguments: str) -> None:
    """Build an image."""
    options = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    docker("build", "--file", str(dockerfile), "--tag", tag, *options, str(context), limit=300)


def _digest(identity: str) -> str:
    digest = hashlib.sha256(identity.encode())
    for part in BUILT_FROM:
        path = ROOT / part
        for file in sorted(path.rglob("*") if path.is_dir() else [path]):
            if file.is_file() and "__pycache__" not in file.parts and ROOT / "smentry/ctl" not in file.parents:
                digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_mode & 0o111}\0".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


class Container:
    """A container that runs, or has ended."""

    def __init__(self, identity: str, state: Path) -> None:
        self.identity = identity
        self.state = state
        self.seconds = 0.0

    def ready(self, name: str = "ready", limit: float = LIMIT) -> None:
        """Wait until the program has written the file `name`."""
        looked = time.monotonic()

        def there() -> bool:
            nonlocal looked
            if not self.has(name) and time.monotonic() - looked > 1:
                looked = time.monotonic()
                if not self.runs() and not self.has(name):
                    pytest.fail(f"ended with {self.code} before {name!r} was there:\n{self.output}")
            return self.has(name)

        wait_until(there, f"{name!r} of {self.identity}", limit)

    def stop(self, seconds: int = 120) -> int:
        """`docker stop -t SECONDS`. The exit code; how long it took is in `seconds`."""
        began = time.monotonic()
        docker("stop", "-t", str(seconds), self.identity, limit=seconds + 60)
        self.seconds = time.monotonic() - began
        return self.code

    def kill(self, signal: str) -> None:
        """`docker kill -s SIGNAL`."""
        docker("kill", "-s", signal, self.identity)

    def end(self, limit: float = LIMIT) -> int:
        """Wait until it ends by itself. The exit code."""
        try:
            return int(docker("wait", self.identity, limit=limit).stdout)
        except subprocess.TimeoutExpired:
            pytest.fail(f"has not ended {limit:g} s later:\n{self.output}")

    def execute(self, *command: str) -> str:
        """Run another command in the container. What it writes to stdout."""
        return docker("exec", self.identity, *command).stdout

    def inspect(self, template: str) -> str:
        """`docker inspect --format TEMPLATE`."""
        return docker("inspect", "--format", template, self.identity).stdout.strip()

    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.inspect("{{.State.Running}}") == "true"

    @property
    def code(self) -> int:
        """Its exit code."""
        return int(self.inspect("{{.State.ExitCode}}"))

    @property
    def output(self) -> str:
        """What was written to stdout, and then what was written to stderr."""
        logs = docker("logs", self.identity)
        return logs.stdout + logs.stderr

    @property
    def last_line(self) -> str:
        """What smentry said last."""
        return docker("logs", self.identity).stderr.splitlines()[-1]

    def killed_by_smentry(self) -> int:
        """How many processes smentry says it has killed, in its last line about the stop; fails where it does not say."""
        found = re.findall(r"done in [\d.]+ s of [\d.]+ s: .*\b(\d+) killed", self.output)
        assert found, self.output
        return int(found[-1])

    def has(self, name: str) -> bool:
        """Whether the program has written the file `name`."""
        return (self.state / name).exists()

    def read(self, name: str) -> str:
        """What the program has written to the file `name`; empty where there is none."""
        return (self.state / name).read_text(encoding="utf-8").strip() if self.has(name) else ""

    def lines(self, name: str) -> list[str]:
        """The lines of the file `name`."""
        return self.read(name).splitlines()


class Engine:
    """Starts containers, and removes them all at the end."""

    def __init__(self, image: str, directory: Path) -> None:
        self.image = image
        self._directory = directory
        self._started: list[str] = []
        self._built: list[str] = []

    def command(
        self,
        *command: str,
        options: Sequence[str] = (),
        image: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> tuple[list[str], str, Path]:
        """The words after `docker run` for a command; the container's name; its state directory."""
        number = len(self._started)
        state = self._directory / f"state{number}"
        state.mkdir()
        state.chmod(0o777)  # whatever user the container has
        name = f"smentry-test-{os.getpid()}-{self._directory.name}-{number}"
        self._started.append(name)
        variables = {"STATE": STATE, "PROGRAMS": "/opt/programs", **(environment or {})}
        words = ["--name", name, "--volume", f"{state}:{STATE}", *options]
        for key, value in variables.items():
            words += ["--env", f"{key}={value}"]
        return [*words, image or self.image, *command], name, state

    def start(
        self,
        *command: str,
        options: Sequence[str] = (),
        image: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Container:
        """`docker run --detach OPTIONS IMAGE COMMAND`."""
        words, name, state = self.command(*command, options=options, image=image, environment=environment)
        docker("run", "--detach", *words)
        return Container(name, state)

    def build(self, dockerfile: str, context: Path) -> str:
        """Build an image of a Dockerfile's text; it is removed at the end. Its name."""
        file = self._directory / f"Dockerfile{len(self._built)}"
        file.write_text(dockerfile, encoding="utf-8")
        tag = f"{PREPARED}-{self._directory.name.lower()}:{len(self._built)}"
        self._built.append(tag)
        build(tag, file, context)
        return tag

    def close(self) -> None:
        """Remove every container and image."""
        if self._started:
            docker("rm", "--force", "--volumes", *self._started, check=False)
        if self._built:
            docker("rmi", "--force", *self._built, check=False)
