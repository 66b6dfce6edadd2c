"""docs/migrating.md: what it says to write is built and run as it stands, and what stood there before loses what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from running import wait_until

from .containers import PLAIN, ROOT, docker, follow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .containers import Engine

NAME = "smentry-test-migrating"
PAGE = (ROOT / "docs/migrating.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


class Section:
    """A section of the page: the Dockerfile before and after, and the commands to try it."""

    def __init__(self, title: str, text: str) -> None:
        self.title = title
        self.before, self.after = blocks(text, "dockerfile")
        (self.commands,) = blocks(text, "sh")

    def __repr__(self) -> str:
        return self.title


PARTS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
INTRODUCTION = PAGE.partition("\n## ")[0]
STOP = blocks(PARTS.pop("Try a stop"), "sh")[0]
SECTIONS = [Section(title, text) for title, text in PARTS.items()]
TOOLKIT, TINI, DUMB_INIT, PYTHON = SECTIONS


@pytest.fixture
def directory(image: str, tmp_path: Path) -> Iterator[Path]:
    """A directory with the page's scripts. The image and the container that are made of it are removed."""
    (tmp_path / "train.py").write_text(blocks(INTRODUCTION, "python")[0], encoding="utf-8")
    (tmp_path / "entry.sh").write_text(blocks(INTRODUCTION, "sh")[0], encoding="utf-8")
    yield tmp_path
    docker("rm", "--force", NAME, check=False)
    docker("rmi", "--force", NAME, check=False)


def run(commands: str, directory: Path) -> str:
    """Run commands of the page; what they write. Only the name is another: the reader may have one that is called so."""
    return follow(commands.replace("my-job", NAME), directory)


def test_every_section_has_a_before_an_after_and_something_to_try() -> None:
    assert [section.title.split()[1] for section in SECTIONS] == [
        "sagemaker-training",
        "tini",
        "dumb-init",
        "`ENTRYPOINT",
    ]
    for section, text in zip(SECTIONS, PARTS.values()):
        assert "--dry-run" in section.commands
        assert "What changes:" in text
        assert "What to check:" in text


@pytest.mark.parametrize("section", SECTIONS, ids=["sagemaker-training", "tini", "dumb-init", "python"])
def test_after(section: Section, directory: Path) -> None:
    assert section.after.startswith("FROM smentry\n")
    (directory / "Dockerfile").write_text(section.after.replace("FROM smentry\n", f"FROM {PLAIN}\n"), encoding="utf-8")
    tried = run(section.commands, directory)
    plan = yaml.safe_load(tried[tried.index("program:") :])
    assert plan["budget"]["stop_timeout"] == 120
    assert ("entry.sh" if "entry.sh" in section.after else "train.py") in " ".join(plan["program"]["command"])

    shown = run(STOP, directory)
    (epochs,) = re.findall(r"^saved after epoch (\d+) of 500$", shown, re.M)
    assert json.loads(shown[shown.rindex('{"epochs": ') :].partition("}")[0] + "}") == {"epochs": int(epochs)}
    assert re.search(
        r"done in ([3-9]|\d\d)\.\d+ s of 120 s: \d process(es)? ended, 0 orphans reaped, 0 killed; exit code 0", shown
    ), shown
    assert ("entry.sh: the last line" in shown) == ("entry.sh" in section.after)


# -- before --------------------------------------------------------------------------------------------


def before(section: Section, base: str, directory: Path, *lines: str) -> None:
    """Build the image as it was: on the base image of the tests, which has no network to install anything with."""
    text = re.sub(r"^RUN .*\n", "", section.before.replace("FROM python:3.12-slim", f"FROM {base}"), flags=re.M)
    text = text.replace('["python",', '["python3",')  # Debian's name for it
    (directory / "Dockerfile").write_text("\n".join([text, *lines]), encoding="utf-8")
    docker("build", "--tag", NAME, str(directory))


@pytest.mark.parametrize(("section", "init"), [(TINI, "tini"), (DUMB_INIT, "dumb-init")], ids=["tini", "dumb-init"])
def test_before_another_init_ends_with_the_shell_and_nothing_is_saved(
    section: Section, init: str, base: str, directory: Path, engine: Engine
) -> None:
    path = shutil.which(init)
    if path is None:
        pytest.skip(f"there is no {init}")
    before(section, base, directory)
    volume = ["--volume", f"{path}:/usr/local/bin/{init}:ro"]
    container = engine.start("train", image=NAME, options=volume)
    container.end()
    assert "unrecognized arguments: train" in container.output

    container = engine.start(image=NAME, options=volume)
    wait_until(lambda: "epoch 4" in container.output, "epoch 4")
    assert container.stop(20) == 143
    assert container.seconds < 15  # the engine's own kill comes after 20
    assert "saved" not in container.output
    assert "the last line" not in container.output


def test_before_python_alone_takes_the_verb_for_an_argument(base: str, directory: Path, engine: Engine) -> None:
    before(PYTHON, base, directory)
    container = engine.start("train", image=NAME)
    assert container.end() == 2
    assert "unrecognized arguments: train" in container.output


def test_before_the_toolkit_does_not_pass_the_signal_on(base: str, directory: Path, engine: Engine) -> None:
    where = "import os, sagemaker_training, sys; print(os.path.dirname(sagemaker_training.__path__[0]), sys.version_info[:2])"
    made = ROOT / ".venv-parity/bin/python"  # by `make parity`
    python = os.environ.get("SMENTRY_PARITY_PYTHON") or (str(made) if made.exists() else sys.executable)
    asked = subprocess.run([python, "-c", where], capture_output=True, text=True, timeout=60, check=False)
    if asked.returncode:
        pytest.skip(f"{python} has no sagemaker-training: `make parity`, or SMENTRY_PARITY_PYTHON=a Python that has it")
    site, _, version = asked.stdout.strip().partition(" ")
    if (
        docker("run", "--rm", base, "python3", "-c", "import sys; print(sys.version_info[:2])").stdout.strip()
        != version
    ):
        pytest.skip(f"{site} is not of the Python of the image")
    command = "from sagemaker_training.cli.train import main; main()"
    (directory / "train").write_text(f"#!/usr/bin/python3\n{command}\n", encoding="utf-8")
    (directory / "train").chmod(0o755)
    before(TOOLKIT, base, directory, "COPY train /usr/local/bin/train")
    config = directory / "input/config"
    config.mkdir(parents=True)
    for name, content in (
        ("hyperparameters", {}),
        ("inputdataconfig", {}),
        ("resourceconfig", {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}),
    ):
        (config / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    options = ["--volume", f"{site}:/site:ro", "--env", "PYTHONPATH=/site", "--hostname", "algo-1"]
    options += ["--volume", f"{directory}/input:/opt/ml/input:ro"]
    container = engine.start("train", image=NAME, options=options)
    wait_until(lambda: "epoch 4" in container.output, "epoch 4", limit=60)
    assert container.stop(8) == 137
    assert "saved" not in container.output
