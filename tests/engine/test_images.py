"""What docker/Dockerfile and docker/Dockerfile.gpu make of a base image."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from .containers import PLAIN, ROOT, docker

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCKERFILES = ("Dockerfile", "Dockerfile.gpu")
GPU_TAG = "smentry-test-gpu"


@pytest.fixture(scope="module")
def gpu_image(base: str) -> Iterator[str]:
    """Dockerfile.gpu on the base image for the tests: its instructions are the same on every base."""
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "BASE_IMAGE": base,
        "DOCKERFILE": str(ROOT / "docker/Dockerfile.gpu"),
    }
    built = subprocess.run(
        [str(ROOT / "docker/build.sh"), GPU_TAG],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    yield GPU_TAG
    docker("rmi", "--force", GPU_TAG, check=False)


def run(image: str, *command: str) -> str:
    """What a command writes to stdout in a new container of an image."""
    return docker("run", "--rm", image, *command).stdout


def test_the_entrypoint_is_smentry_in_exec_form_and_there_is_no_command(image: str) -> None:
    config = json.loads(docker("inspect", "--format", "{{json .Config}}", PLAIN).stdout)
    assert config["Entrypoint"] == ["smentry"]
    assert not config.get("Cmd")


def test_the_python_of_the_base_image_is_left_as_it_was(image: str, base: str) -> None:
    listing = "import importlib.metadata as m; print(sorted(d.metadata['Name'] for d in m.distributions()))"
    before = docker("run", "--rm", "--entrypoint", "python3", base, "-c", listing).stdout
    assert run(image, "python3", "-c", listing) == before
    assert "smentry" not in before


def test_what_the_job_installs_or_names_cannot_break_smentry(image: str) -> None:
    names = "yaml psutil select errno re smentry"
    poison = f"mkdir /tmp/p; for name in {names}; do echo 'a b' > /tmp/p/$name.py; done"
    ran = docker(
        "run",
        "--rm",
        "--env",
        "PYTHONPATH=/tmp/p",
        "--env",
        "PYTHONHOME=/tmp/p",
        "--entrypoint",
        "sh",
        image,
        "-c",
        f"{poison}; cd /tmp/p; exec smentry sh -c 'echo $PYTHONPATH'",
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "/tmp/p\n"), ran.stderr


def test_nothing_of_the_build_is_left_in_the_image(image: str) -> None:
    assert run(image, "ls", "-A", "/tmp") == ""


def test_the_gpu_image_holds_no_driver(gpu_image: str) -> None:
    text = (ROOT / "docker/Dockerfile.gpu").read_text(encoding="utf-8")
    installed = re.findall(r"apt-get install [^;&]*", text)
    assert not re.search(r"driver|libnvidia|libcuda|cuda-compat", " ".join(installed))
    found = run(gpu_image, "find", "/", "-xdev", "-name", "libcuda.so*", "-o", "-name", "libnvidia-*")
    assert found == ""


def test_the_gpu_image_asks_for_the_driver_at_run_time(gpu_image: str) -> None:
    variables = run(gpu_image, "env").splitlines()
    assert "NVIDIA_VISIBLE_DEVICES=all" in variables
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in variables


def test_the_gpu_base_is_a_cuda_toolkit_and_only_an_argument() -> None:
    text = (ROOT / "docker/Dockerfile.gpu").read_text(encoding="utf-8")
    first = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert re.fullmatch(r"ARG BASE_IMAGE=nvidia/cuda:[\d.]+-runtime-ubuntu[\d.]+", first[0])
    assert first[1] == "FROM ${BASE_IMAGE}"


@pytest.mark.parametrize("name", DOCKERFILES)
def test_every_entrypoint_is_in_exec_form(name: str) -> None:
    every = [ROOT / "docker" / name, *(ROOT / "docker/examples").glob("*/Dockerfile")]
    for path in every:
        (entrypoint,) = re.findall(r"^ENTRYPOINT (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert json.loads(entrypoint)[0] == "smentry", path
