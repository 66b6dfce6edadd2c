"""What `import smentry.training` loads: it is imported by code that may know nothing else of smentry."""

from __future__ import annotations

import subprocess
import sys

from running import surroundings

OWN = {
    "smentry",
    "smentry.training",
    *(f"smentry.training.{name}" for name in ("checkpoint", "disposition", "failure", "stop")),
}
NEVER = {
    "typing",
    "re",
    "json",
    "threading",
    "subprocess",
    "shutil",
    "pathlib",
    "tempfile",
    "logging",
    "ctypes",
    "dataclasses",
}
NEVER |= {"psutil", "yaml", "multiprocessing", "contextlib", "inspect", "warnings"}


def loaded(program: str) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", "-c", program],
        env=surroundings(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines() if line.startswith("import time:")}


def test_it_loads_itself_and_little_of_the_standard_library() -> None:
    root = surroundings()["PYTHONPATH"]
    found = loaded(f"import sys; sys.path.insert(0, {root!r}); from smentry.training import GracefulStop")
    found -= loaded("import sys")
    assert {name for name in found if name.partition(".")[0] == "smentry"} == OWN
    assert not found & NEVER
