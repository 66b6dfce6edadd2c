"""Whether what a Dockerfile's command installs may bring an executable `train` or `serve`. Pure; it knows no package index."""

from __future__ import annotations

import re

from smentry.ctl.check import shell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PIP = re.compile(r"(?:.*/)?pip[\d.]*")
_PYTHON = re.compile(r"(?:.*/)?python[\d.]*")
_BUILDERS = frozenset(
    ("poetry", "pdm", "pipenv", "pixi", "hatch", "make", "cmake", "ninja", "cargo", "npm", "tar", "unzip")
)
"""What installs or unpacks what cannot be seen here."""
_TOOLKITS = re.compile(r"sagemaker|multi-model-server|toolkit", re.IGNORECASE)
_INDEXED = re.compile(r"[A-Za-z0-9][\w.-]*(?:\[[\w,.-]*\])?(?:[<>=!~].*)?")
"""A requirement by its name; not a directory, an archive or an address, whose programs cannot be told."""
_VALUED = frozenset(("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host", "-c", "--constraint",
                     "-t", "--target", "--prefix", "--root", "--platform", "--python-version", "--timeout", "--retries",
                     "--python", "-p", "--progress-bar", "--index", "--torch-backend", "--cache-dir"))  # fmt: skip


def may_bring_programs(text: str, requirements: Callable[[str], str | None]) -> bool:
    """Whether a RUN's text may put a `train` on PATH that is not spelt out in it.

    `requirements` gives the text of a requirements file, None where it cannot be seen.
    """
    return any(_brings(list(command.program), requirements) for command in shell.commands(text))


def _brings(words: list[str], requirements: Callable[[str], str | None]) -> bool:
    if not words:
        return False
    program = words[0].rpartition("/")[2]
    if _PYTHON.fullmatch(words[0]) and words[1:3] == ["-m", "pip"]:
        words = words[2:]
    elif program == "uv" and words[1:2] == ["pip"]:
        words = words[1:]
    elif not _PIP.fullmatch(words[0]):
        if program == "uv":
            return words[1:2] != ["venv"]
        if program in ("conda", "mamba", "micromamba"):
            return "env" in words or any(_TOOLKITS.search(word) for word in words) or "-f" in words or "--file" in words
        if (
            program in shell.SHELLS
            or program.endswith(".sh")
            or words[0].startswith(("./", "/"))
            or "setup.py" in words
        ):
            return not words[0].startswith(("/bin/", "/usr/bin/"))
        return program in _BUILDERS
    return "install" in words and _of_pip(words[words.index("install") + 1 :], requirements)


def _of_pip(words: list[str], requirements: Callable[[str], str | None]) -> bool:
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in ("-r", "--requirement") and rest:
            text = requirements(rest.pop(0))
            if (
                text is None
                or _TOOLKITS.search(text)
                or re.search(r"^\s*(?:-e|-r|\.|/|git\+|https?:)", text, re.MULTILINE)
            ):
                return True
        elif word in ("-e", "--editable") or word.startswith("-r"):
            return True
        elif word in _VALUED and rest:
            del rest[0]
        elif not word.startswith("-") and (
            _TOOLKITS.search(word) or not _INDEXED.fullmatch(word) or word.endswith(".whl")
        ):
            return True
    return False
