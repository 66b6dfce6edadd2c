"""A small /opt/ml of a test's own, and smentry run on it as a real process."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from running import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
TOUCH = ["sh", "-c", 'touch "$MARKER"']
"""A command that leaves a trace when it runs."""

SHELL = 'touch "$MARKER"; echo "ran $0 in $(pwd) with $#:" "$@"\n'
PYTHON = (
    "import os, sys\nopen(os.environ['MARKER'], 'w')\n"
    "print('ran', sys.argv[0], 'in', os.getcwd(), f'with {len(sys.argv) - 1}:', *sys.argv[1:])\n"
)


class Executable(NamedTuple):
    """The content of a file with the executable bit."""

    content: str | bytes


class Link(NamedTuple):
    """A symbolic link; `{base}` and `{other}` are the tree and a directory outside of it."""

    target: str


class Fifo(NamedTuple):
    """A FIFO."""


class Directory(NamedTuple):
    """An empty directory."""


class Result(NamedTuple):
    """How smentry ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What smentry said, without its prefix."""
        return [re.sub(r"^smentry\[\d+\]: ", "", line) for line in self.err.splitlines()]


class Loaded:
    """smentry in a process that has loaded it and forks for each run (programs/refusing.py): for hundreds of short ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAMS / "refusing.py")],
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._process

    def run(self, arguments: tuple[str, ...], environment: dict[str, str], cwd: Path, scratch: Path) -> Result:
        """Run `smentry ARGUMENTS` to its end, with what it writes in two files of `scratch`."""
        out, err = scratch / "out", scratch / "err"
        with self._lock:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps([arguments, environment, str(cwd), str(out), str(err)]) + "\n")
            process.stdin.flush()
            if not select.select([process.stdout], [], [], 60)[0]:
                pytest.fail(f"has not ended 60 s later: {arguments}")
            code = int(process.stdout.readline())
        return Result(code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8"))


LOADED = Loaded()


class Tree:
    """The tree under SAGEMAKER_BASE_DIR, `bin` first on PATH, and a place outside."""

    def __init__(self, directory: Path) -> None:
        self.base = directory / "ml"
        self.bin = directory / "bin"
        self.other = directory / "other"
        self.marker = directory / "marker"
        self.environment = {
            "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin:{Path(sys.executable).parent}",
            "SAGEMAKER_BASE_DIR": str(self.base),
            "MARKER": str(self.marker),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
        }
        for path in (self.base, self.bin, self.other):
            path.mkdir(parents=True)

    def put(self, path: str, content: Any) -> Path:
        """Make a file of the tree; a dict or list is written as JSON."""
        file = self.base / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, (dict, list)):
            content = json.dumps(content)
        if isinstance(content, Link):
            file.symlink_to(content.target.format(base=self.base, other=self.other))
        elif isinstance(content, Fifo):
            os.mkfifo(file)
        elif isinstance(content, Directory):
            file.mkdir()
        else:
            mode = 0o644
            if isinstance(content, Executable):
                content, mode = content.content, 0o755
            file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape"))
            file.chmod(mode)
        return file

    def channels(self, **modes: str | dict[str, str]) -> None:
        """Write inputdataconfig.json; a text is the mode of a FullyReplicated channel."""
        replicated = {"S3DistributionType": "FullyReplicated"}
        described = {
            name: {"TrainingInputMode": mode, **replicated} if isinstance(mode, str) else mode
            for name, mode in modes.items()
        }
        self.put("input/config/inputdataconfig.json", described)

    def run(
        self, *arguments: str, prefix: tuple[str, ...] = (), cwd: Path | None = None, **variables: str | None
    ) -> Result:
        """Run `smentry ARGUMENTS` to its end; a variable that is None is taken out of the environment."""
        environment = {**self.environment, **variables}
        process = subprocess.run(
            [*prefix, sys.executable, "-m", "smentry", *arguments],
            env={name: value for name, value in environment.items() if value is not None},
            cwd=cwd or self.other,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )
        return Result(process.returncode, process.stdout.decode(), process.stderr.decode())

    def refused(self, *arguments: str, **variables: str) -> Result:
        """The same for a command line that starts nothing, without loading smentry anew."""
        return LOADED.run(arguments, {**self.environment, **variables}, self.other, self.base.parent)

    @property
    def failure(self) -> str | None:
        """The failure file's text."""
        file = self.base / "output/failure"
        return file.read_text() if file.exists() else None


@contextmanager
def unanswering(directory: Path) -> Iterator[None]:
    """Nobody who opens a file in the directory gets an answer meanwhile. Skips where that cannot be had."""
    pipe = subprocess.PIPE
    command = [sys.executable, str(PROGRAMS / "slow_open.py"), str(directory)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as slow:
        assert slow.stdout is not None
        if slow.stdout.readline() != "waiting\n":
            pytest.skip(f"no file system can be made to wait: {slow.communicate()[1].strip()}")
        yield
        slow.communicate()
