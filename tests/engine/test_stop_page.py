"""The recipes of docs/stop.md: each is run as it stands, in a copy of the repository, and leaves the right model."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from .containers import ROOT, docker, follow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMAGE = "smentry-test-stop-page"
EXAMPLES = ROOT / "docker/examples"
BEFORE, _, PAGE = (ROOT / "docs/stop.md").read_text(encoding="utf-8").partition("## Recipes\n")


class Recipe:
    """A section of the page: its commands, and the example that it is about."""

    def __init__(self, title: str) -> None:
        (section,) = re.findall(rf"^### {re.escape(title)}\n(.*?)(?=^### |\Z)", PAGE, re.M | re.S)
        blocks: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```", section, re.M | re.S)
        (self.commands,) = [text for language, text in blocks if language == "sh"]
        self.shown = [text for language, text in blocks if language != "sh"]
        (self.name,) = set(re.findall(r"docker build -t (\S+)", self.commands))
        self.directory = EXAMPLES / self.name.removeprefix("example-")

    def run(self, checkout: Path, base: str) -> str:
        """Run the commands; what they wrote. What they made is removed."""
        # The image for the tests has another name than the reader's own; and the example's page, whose test may run at the same
        # time, has the same name for its container.
        name = f"{self.name}-recipe"
        commands = self.commands.replace(self.name, name)
        commands = commands.replace("docker build ", f"docker build --build-arg SMENTRY_IMAGE={IMAGE} ")
        try:
            written = follow(commands, checkout, BASE_IMAGE=base, IMAGE=IMAGE)
        finally:
            docker("rm", "--force", name, check=False)
            docker("rmi", "--force", name, check=False)
        assert re.search(r"done in [\d.]+ s of 120 s: .* 0 killed", written), written
        assert "failed" not in written
        return written


SAVES = Recipe("The program saves by itself")
ON_USR1 = Recipe("The program saves on USR1")
KEEPS = Recipe("The program cannot save when it is stopped")
RECIPES = (SAVES, ON_USR1, KEEPS)


@pytest.fixture(scope="module")
def checkout(base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the repository, as a reader has just cloned it; but for the virtual environment, which is ours: how `make`
    sets that up is in test_readme.py."""
    directory = tmp_path_factory.mktemp("clone") / "smentry"
    shutil.copytree(ROOT, directory, ignore=shutil.ignore_patterns(".git", ".venv*", "__pycache__", "dist"))
    python = directory / ".venv-demo/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    (directory / ".venv-demo/ready").touch()
    yield directory
    docker("rmi", "--force", IMAGE, check=False)


def model(shown: str) -> Any:
    """The model.json of the model directory, which the commands show at the end."""
    return json.loads(shown[shown.rindex('{"slope": ') :].partition("}")[0] + "}")


def test_there_are_no_other_recipes() -> None:
    assert len(re.findall(r"^```sh$", PAGE, re.M)) == len(re.findall(r"^### ", PAGE, re.M)) == len(RECIPES)


def test_the_page_shows_hooks_that_smentry_takes(tmp_path: Path) -> None:
    (shown,) = re.findall(r"^```yaml\n(.*?)^```", BEFORE, re.M | re.S)
    file = tmp_path / "smentry.yaml"
    file.write_text(shown, encoding="utf-8")
    command = [sys.executable, "-m", "smentry", "--config", str(file), "--dry-run", "true"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "budget: {stop_timeout: 120, stopping_hooks: 40, program: 45, after_hooks: 30, kill: 5}\n" in ran.stdout
    assert "budget: {stop_timeout: 120, stopping_hooks: 40, program: 45, after_hooks: 30, kill: 5}\n" in BEFORE


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_page_shows_what_is_in_the_example(recipe: Recipe) -> None:
    files = [path.read_text(encoding="utf-8") for path in recipe.directory.iterdir()]
    for block in recipe.shown:
        assert any(block in text for text in files), block
    readme = (recipe.directory / "README.md").read_text(encoding="utf-8")
    assert f"```sh\n{recipe.commands.partition('make image' + chr(10))[2]}```" in readme


def test_a_program_that_saves_by_itself(checkout: Path, base: str) -> None:
    shown = SAVES.run(checkout, base)
    assert re.findall(r"^saved after epoch (\d+)$", shown, re.M) == [str(model(shown)["epochs"])]
    assert "it asked for it" in shown
    assert "exit code 0" in shown


def test_a_program_that_saves_on_usr1(checkout: Path, base: str) -> None:
    shown = ON_USR1.run(checkout, base)
    first, last = re.findall(r"^saved epoch (\d+)$", shown, re.M)
    assert int(first) < int(last) == model(shown)["epochs"]
    # The first was asked for without a stop; the last before the program was told.
    order = [
        f"epoch-{first}/done is there",
        "SIGTERM came",
        f"epoch-{last}/done is there",
        "told python3",
        "copy: copied ",
    ]
    assert sorted(map(shown.index, order)) == [shown.index(text) for text in order]


def test_a_program_that_cannot_save(checkout: Path, base: str) -> None:
    shown = KEEPS.run(checkout, base)
    epochs = [int(number) for number in re.findall(r"^checkpoints/epoch-(\d+)/done$", shown, re.M)]
    assert len(epochs) >= 2
    assert model(shown)["epochs"] == max(epochs)
    assert f"copied /opt/ml/checkpoints/epoch-{max(epochs)} to /opt/ml/model: 2 files" in shown
