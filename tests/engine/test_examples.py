"""The examples in docker/ do what their READMEs say: the commands of each are run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from .containers import PLAIN, ROOT, docker, follow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = ROOT / "docker/examples"


@pytest.fixture
def run_readme(image: str, base: str) -> Iterator[Callable[[str], str]]:
    """Run the commands of an example's README, on the image for the tests; what they made is removed."""
    names: set[str] = set()
    images: set[str] = set()
    volumes: set[str] = set()

    def run(example: str) -> str:
        text = (EXAMPLES / example / "README.md").read_text(encoding="utf-8")
        (commands,) = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        names.update(re.findall(r"--name (\S+)", commands))
        images.update(re.findall(r"docker build -t (\S+)", commands))
        volumes.update(re.findall(r"docker volume create (\S+)", commands))
        commands = commands.replace("docker build ", f"docker build --build-arg SMENTRY_IMAGE={PLAIN} ")
        shown = follow(commands, ROOT)
        assert "Traceback" not in shown
        assert " 0 killed" in shown
        return shown

    yield run
    for name in names:
        docker("rm", "--force", name, check=False)
    for built in images:
        docker("rmi", "--force", built, check=False)
    for volume in volumes:
        docker("volume", "rm", "--force", volume, check=False)


def test_a_bundled_shell_script(run_readme: Callable[[str], str]) -> None:
    shown = run_readme("bundled-shell")
    saved = shown.index("saved after epoch")
    assert saved < shown.index("custom_entrypoint.sh: wrote the summary") < shown.index('{"slope": ')
    assert "train.py ended with 0" in shown


def test_a_bundled_python_script(run_readme: Callable[[str], str]) -> None:
    shown = run_readme("bundled-python")
    assert shown.index("saved after epoch") < shown.index('{"slope": ')


def test_a_script_that_comes_through_a_channel(run_readme: Callable[[str], str]) -> None:
    shown = run_readme("channel-script")
    assert "epoch 1 with arguments: --rate 0.1 0.2\n" in shown
    assert re.search(r"saved after epoch (\d+)\n(.*\n)*\1 epochs\n", shown)


def test_a_program_that_goes_on_where_it_was_stopped(run_readme: Callable[[str], str]) -> None:
    shown = run_readme("graceful-python")
    saved = re.search(r"^SIGTERM: saved after epoch (\d+), 11\d s to spare$", shown, re.MULTILINE)
    assert saved
    assert f"goes on after epoch {saved[1]}\n" in shown[saved.end() :]
    assert '"epochs": 60}' in shown
    assert re.search(r"^checkpoints/save-\d{8}-step-60/complete.json$", shown, re.MULTILINE)


def test_training_and_serving_from_one_image(run_readme: Callable[[str], str]) -> None:
    shown = run_readme("train-and-serve")
    assert shown.index("saved after epoch") < shown.index("serving on port 8080")
    assert shown.index("every request is answered") > 0
    assert " of 120 s: " in shown
    assert " of 30 s: " in shown
    assert re.search(r"^-?\d\.\d+$", shown, re.MULTILINE)


def test_an_image_of_ones_own_answers_a_request_while_it_is_stopped(run_readme: Callable[[str], str]) -> None:
    shown = run_readme("bring-your-own")
    assert shown.index("saved after epoch 300") < shown.index("serving on port 8080")
    assert re.search(r"^0\.\d\d$", shown, re.MULTILINE)
    assert shown.index("told /opt/program/serve") < shown.rindex("exit code 0")
    assert "every request is answered" in shown
    assert re.search(r"done in \d\.\d+ s of 30 s: ", shown)


def test_nginx_and_its_companion_answer_a_request_while_they_are_stopped(run_readme: Callable[[str], str]) -> None:
    shown = run_readme("nginx-gunicorn")
    assert re.search(r"^0\.50$", shown, re.MULTILINE)
    assert re.search(r"SIGQUIT after [\d.]+ s.*told gunicorn", shown, re.DOTALL)
    assert re.search(r"done in \d\.\d+ s of 30 s: .* exit code 0", shown)


def test_the_demo_in_a_container(base: str) -> None:
    environment = {**os.environ, "PYTHON": sys.executable, "SMENTRY_BASE_IMAGE": base}
    ran = subprocess.run(
        [ROOT / "docker/demo.sh", "--docker"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    docker("rmi", "--force", "smentry-demo", check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    saved = ran.stdout.index("model.tar.gz: model.json, ")
    assert saved < ran.stdout.index("SIGKILL to algo-1") < ran.stdout.index("No model: the shell alone had the SIGTERM")
