"""Python packages made by hand, and a Python to install them into, without a network. They know pip, and nothing of smentry."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

BACKEND = """\
import os, sys, zipfile
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
NAME, SLOW = "{name}", {slow!r}


def build_wheel(directory, config_settings=None, metadata_directory=None):
    if SLOW:
        import time
        open(os.path.join(SLOW, "building"), "w").close()
        time.sleep(600)
    name = f"{{NAME}}-1.0-py3-none-any.whl"
    info = f"{{NAME}}-1.0.dist-info"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        for source in ("src", "."):
            root = os.path.join(source, NAME)
            for file in sorted(os.listdir(root)) if os.path.isdir(root) else ():
                if file.endswith(".py"):
                    wheel.write(os.path.join(root, file), f"{{NAME}}/{{file}}")
        wheel.writestr(f"{{info}}/METADATA", f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: 1.0\\n{requires}")
        wheel.writestr(f"{{info}}/WHEEL", "Wheel-Version: 1.0\\nGenerator: hand\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{{info}}/RECORD", "")
    return name
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def project(directory: Path, name: str, *, requires: str = "", slow: Path | None = None) -> None:
    """Make `directory` a project that pip builds by itself; `slow`: it says so there, and takes for ever."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "pyproject.toml").write_text(PROJECT)
    listed = f"Requires-Dist: {requires}\\n" if requires else ""
    (directory / "backend.py").write_text(BACKEND.format(name=name, slow=str(slow or ""), requires=listed))


def wheel(directory: Path, name: str, source: str) -> Path:
    """A wheel of one module."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", source)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def python(directory: Path, *, pip: bool = True) -> Path:
    """A virtual environment of its own, with the pip that the tests are run with, or none."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True, timeout=120)
    if pip:
        import pip as running

        (here,) = directory.glob("lib/python*/site-packages")
        (here / "pip").symlink_to(Path(running.__file__).parent)
    return directory / "bin/python"


def offline(wheels: Path) -> dict[str, str]:
    """The variables for a pip that knows nothing but the wheels of a directory."""
    kept = {name: "" for name in os.environ if name.startswith("PIP_")}
    return {
        **kept,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
    }
