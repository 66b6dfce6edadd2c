"""The documented ways to run a script of one's own, and the examples' requests, by `smentryctl run`."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smentry.ctl.main import main

from .containers import PLAIN, PREPARED, ROOT, build, docker

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = ROOT / "docker/examples"
ENDINGS = ("json", "sh")
CTL = [sys.executable, "-m", "smentry.ctl"]
AT_ONCE = 6
STOP = ("--stop-after", "8s", "--env", "EPOCHS=60")
"""From the start of the container on: a busy machine takes seconds to get to the program's handler."""

SCRIPTS = f"""\
FROM {PLAIN}
COPY bundled-shell/custom_entrypoint.sh bundled-shell/train.py bundled-python/custom_entrypoint.py /mydir/
RUN chmod 644 /mydir/* && ln -sf "$(command -v python3)" /usr/local/bin/python
ENTRYPOINT []
"""
"""The documentation's image: scripts that need not be executable, a `python`, and nothing that minds the job."""

BUCKET = "s3://your-bucket/code"
WAYS = {
    "shell": ("--script", "/mydir/custom_entrypoint.sh"),
    "python": ("--script", "/mydir/custom_entrypoint.py"),
    "channel": ("--script", "code/custom_entrypoint.sh", "--channel", f"code={BUCKET}"),
}
"""The script in the image, the Python script in the image, the script in a channel."""

DOCUMENTED = {
    "shell": (["/bin/sh"], ["/mydir/custom_entrypoint.sh"]),
    "python": (["python"], ["/mydir/custom_entrypoint.py"]),
    "channel": (["/bin/sh"], ["/opt/ml/input/data/code/custom_entrypoint.sh"]),
}
"""ContainerEntrypoint and ContainerArguments as the documentation has them."""


@dataclass
class Ran:
    """A `smentryctl run` that has ended."""

    code: int
    described: dict[str, object]
    log: str
    artifacts: list[str]
    """The files in model.tar.gz."""

    def ended(self, code: int, status: str) -> None:
        """Fails where the job has ended otherwise."""
        assert (self.code, self.described["TrainingJobStatus"]) == (code, status), self.log


@dataclass
class Way:
    """A request's file, and the flags that it is run with."""

    request: Path
    flags: tuple[str, ...]


@pytest.fixture(scope="module")
def images(image: str) -> Iterator[dict[str, str]]:
    """The examples' images, and the documentation's as `scripts`."""
    names = {each: f"{PREPARED}-ctl-examples:{each}" for each in ("bundled-shell", "bundled-python", "channel-script")}
    for example, name in names.items():
        build(name, EXAMPLES / example / "Dockerfile", EXAMPLES / example, SMENTRY_IMAGE=PLAIN)
    names["scripts"] = f"{PREPARED}-ctl-examples:scripts"
    subprocess.run(
        ["docker", "build", "--tag", names["scripts"], "--file", "-", str(EXAMPLES)],
        input=SCRIPTS, text=True, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    yield names
    docker("rmi", "--force", *names.values(), check=False)


def write(way: str, file: Path, image: str, *, plain: bool) -> Path:
    """`smentryctl request` into a file, as JSON or, where its name ends in .sh, as the command line."""
    words = ["--image", image, "--name", file.stem, *WAYS[way], *(["--plain"] if plain else []), "--env", "EPOCHS=1"]
    with file.open("w", encoding="utf-8") as stdout, redirect_stdout(stdout):
        assert main(["request", *words, "--format", "command" if file.suffix == ".sh" else "json"]) == 0
    return file


def run(way: Way, output: Path) -> Ran:
    """`smentryctl run` of a request."""
    words = [*CTL, "run", str(way.request), "--json", "--output", str(output), *way.flags]
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    described = json.loads(ran.stdout) if ran.stdout else {}
    artifacts = []
    if (output / "model.tar.gz").exists():
        with tarfile.open(output / "model.tar.gz") as archive:
            artifacts = [Path(name).name for name in archive.getnames()]
    return Ran(ran.returncode, {"TrainingJobStatus": None, **described}, ran.stderr, artifacts)


def readme(example: str, image: str) -> list[Way]:
    """The runs of an example's README: one to its end, and one that is stopped."""
    text = (EXAMPLES / example / "README.md").read_text(encoding="utf-8").replace("\\\n", "")
    commands = [shlex.split(line) for line in re.findall(r"^\$ smentryctl run (.*)$", text, re.MULTILINE)]
    assert len(commands) == 2
    for words in commands:
        del words[words.index("--output") : words.index("--output") + 2]
    return [Way(ROOT / request, (*flags, "--image", image)) for request, *flags in commands]


@pytest.fixture(scope="module")
def runs(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """Every run of this file, some of them at a time: they wait for their programs most of it."""
    directory = tmp_path_factory.mktemp("examples")
    local = ("--s3", f"{BUCKET}={EXAMPLES / 'channel-script/input/data/s3-channel'}")
    scripts = images["scripts"]
    ways: dict[str, Way] = {}
    for way in WAYS:
        for ending in ENDINGS:
            file = directory / f"{way}-plain-{ending}.{ending}"
            ways[f"{way}-plain-{ending}"] = Way(write(way, file, scripts, plain=True), local)
        asjson, command = (directory / f"{way}-smentry-{ending}.{ending}" for ending in ENDINGS)
        ways[f"{way}-smentry"] = Way(write(way, asjson, scripts, plain=False), local)
        ways[f"{way}-smentry-stopped"] = Way(write(way, command, scripts, plain=False), (*local, *STOP))
    ways["shell-plain-stopped"] = Way(ways["shell-plain-json"].request, (*STOP, "--stop-timeout", "2s"))
    for example in ("bundled-shell", "bundled-python", "channel-script"):
        ways[f"readme-{example}"], ways[f"readme-{example}-stopped"] = readme(example, images[example])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        started = {name: pool.submit(run, way, directory / f"{name}-output") for name, way in ways.items()}
    return {name: each.result() for name, each in started.items()}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("way", list(WAYS))
def test_a_documented_way_is_completed(way: str, ending: str, runs: dict[str, Ran]) -> None:
    ran = runs[f"{way}-plain-{ending}"]
    ran.ended(0, "Completed")
    algorithm = ran.described["AlgorithmSpecification"]
    assert isinstance(algorithm, dict)
    assert (algorithm["ContainerEntrypoint"], algorithm["ContainerArguments"]) == DOCUMENTED[way]
    assert "saved after epoch 1" in ran.log
    assert "smentry[1]" not in ran.log
    assert ran.artifacts


@pytest.mark.parametrize("way", list(WAYS))
def test_with_smentry_as_the_entrypoint_it_is_completed_too(way: str, runs: dict[str, Ran]) -> None:
    ran = runs[f"{way}-smentry"]
    ran.ended(0, "Completed")
    assert "smentry[1]" in ran.log
    assert "saved after epoch 1" in ran.log
    assert ran.artifacts


@pytest.mark.parametrize("way", list(WAYS))
def test_with_smentry_as_the_entrypoint_a_stop_saves_the_model(way: str, runs: dict[str, Ran]) -> None:
    ran = runs[f"{way}-smentry-stopped"]
    ran.ended(3, "Stopped")
    assert "saved after epoch" in ran.log
    assert ran.artifacts


def test_with_a_shell_as_the_entrypoint_no_stop_arrives_and_the_model_is_lost(runs: dict[str, Ran]) -> None:
    ran = runs["shell-plain-stopped"]
    ran.ended(3, "Stopped")
    assert "saved after epoch" not in ran.log
    assert "model.json" not in ran.artifacts


@pytest.mark.parametrize("example", ["bundled-shell", "bundled-python", "channel-script"])
def test_an_examples_request_is_completed(example: str, runs: dict[str, Ran]) -> None:
    ran = runs[f"readme-{example}"]
    ran.ended(0, "Completed")
    assert "saved after epoch 5" in ran.log
    assert ran.artifacts


@pytest.mark.parametrize("example", ["bundled-shell", "bundled-python", "channel-script"])
def test_a_stopped_example_has_its_model(example: str, runs: dict[str, Ran]) -> None:
    ran = runs[f"readme-{example}-stopped"]
    ran.ended(3, "Stopped")
    assert re.search(r"saved after epoch [1-5]?\d\b", ran.log), ran.log
    assert ran.artifacts
