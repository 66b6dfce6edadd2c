"""Which inits are measured, how each is started, and the installation of smentry. It measures nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""What everything measured is started with: no PYTHON* variable of the caller's and no locale."""


@dataclass(frozen=True)
class Contender:
    """An init: its `name`, its `version`, and the words that come before the program's own."""

    name: str
    version: str
    prefix: tuple[str, ...]
    subreaper: bool
    """Whether it reaps orphans without being PID 1."""

    def command(self, *words: str, options: tuple[str, ...] = ()) -> list[str]:
        """The command line that runs `words` under this init."""
        return [*self.prefix, *options, "--", *words]

    def as_pid_1(self, *words: str) -> list[str]:
        """The same as PID 1 of a PID namespace of its own, with its own /proc. Root only."""
        return ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *self.command(*words)]


def others() -> tuple[list[Contender], list[str]]:
    """The inits to compare with that this machine has, and the names of those it lacks."""
    known = [
        ("tini", ("tini", "-s"), True),
        ("dumb-init", ("dumb-init",), False),
        ("catatonit", ("catatonit",), False),
    ]
    found, missing = [], []
    for name, (program, *options), subreaper in known:
        path = shutil.which(program, path=ENVIRONMENT["PATH"])
        if path is None:
            missing.append(name)
            continue
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
        version = (said.stdout + said.stderr).split("version ")[-1].split("_")[0]
        version = version.replace("dumb-init", "").strip().lstrip("v")
        found.append(Contender(name, version, (path, *options), subreaper))
    return found, missing


def smentry(program: Path) -> Contender:
    """An installed smentry."""
    said = subprocess.run([str(program), "--version"], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return Contender("smentry", said.stdout.split()[-1], (str(program),), True)


def install(directory: Path) -> Path:
    """Build a wheel of this tree and install it into a new virtual environment, byte code and all.

    Returns the path of its `smentry`; the `python` to compare with is beside it.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*command: str | Path) -> None:
        subprocess.run([str(word) for word in command], env=environment, check=True, stdout=subprocess.DEVNULL)

    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", directory, ROOT)
    (wheel,) = directory.glob("smentry-*.whl")
    home = directory / "venv"
    venv.create(home, with_pip=True, symlinks=True)
    run(home / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    return home / "bin/smentry"


def compiled(directory: Path) -> Path | None:
    """`program.c`, compiled; None where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    program = directory / "program"
    source = Path(__file__).with_name("program.c")
    subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(source)], check=True)
    return program
