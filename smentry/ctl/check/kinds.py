"""What a file is to the checks, and which of them looks at it. It knows names and first bytes, and no rule."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from smentry.ctl.check import dockerfile, hooks, request, script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smentry.ctl.check.finding import Finding

DOCKERFILE, REQUEST, SCRIPT, CONFIGURATION = "a Dockerfile", "a request", "a script", "smentry.yaml"

CHECKS: dict[str, Callable[[Path], list[Finding]]] = {
    DOCKERFILE: dockerfile.findings,
    REQUEST: request.findings,
    SCRIPT: script.findings,
    CONFIGURATION: hooks.findings,
}

_PASSED_OVER = frozenset(("node_modules", "site-packages", "__pycache__", "venv"))
_DOCKERFILE = ("dockerfile", "containerfile")
_NO_DOCKERFILE = re.compile(
    r"dockerignore|pyi?|pyc|sh|md|rst|txt|html|json|ya?ml|toml|go|js|ts|rs|lock|png|svg|j2|jinja2?|tmpl|tpl|template|in|erb|bak|orig|"
    r"rej|swp"
)
"""Endings of what is about Dockerfiles, or becomes one: `dockerfile.py`, `Dockerfile.j2`."""
_LARGEST = 1 << 20
"""Bytes: no request is as large as this; data is."""
_KEYS = ("AlgorithmSpecification", "TrainingJobName")
_DESCRIBED = ("TrainingJobArn", "TrainingJobStatus")
"""What DescribeTrainingJob answers has a request's keys, and these, which no request has."""
_JSON_KEY = re.compile(rf'"(?:{"|".join(_KEYS)})"\s*:')
_YAML_KEY = re.compile(rf"^({'|'.join((*_KEYS, *_DESCRIBED))})\s*:", re.MULTILINE)
_FROM = re.compile(rb"^\s*FROM\s", re.MULTILINE | re.IGNORECASE)
_CONFIGURATION = re.compile(r"^(?:hooks|processes|train|serve|stop_timeout)\s*:", re.MULTILINE)


def kind(path: Path, *, asked: bool = True) -> str:
    """What a file is; empty where it is nothing that can be checked. Raises OSError where it cannot be read.

    `asked`: it was named on the command line. Else it was met in a directory, and is a configuration by its name only.
    """
    name = path.name.lower()
    stem, _, ending = name.rpartition(".")
    first = re.split(r"[.\-_]", name, maxsplit=1)[0]
    if ending in _DOCKERFILE or (first in _DOCKERFILE and (not stem or not _NO_DOCKERFILE.fullmatch(ending))):
        return DOCKERFILE if asked or name in _DOCKERFILE or _has_from(path) else ""
    if name in ("smentry.yaml", "smentry.yml"):
        return CONFIGURATION
    if ending in ("json", "yaml", "yml"):
        return _of_text(path, ending, asked)
    if ending in ("sh", "bash", "py") or name in ("train", "serve"):
        return SCRIPT
    with path.open("rb") as file:
        return SCRIPT if file.read(2) == b"#!" else ""


def _has_from(path: Path) -> bool:
    """Whether it is a whole Dockerfile: not a part that is put into one, or a page about them."""
    with path.open("rb") as file:
        return bool(_FROM.search(file.read(_LARGEST)))


def _of_text(path: Path, ending: str, asked: bool) -> str:
    if path.stat().st_size > _LARGEST:
        return REQUEST if asked and ending == "json" else ""  # whose check says how large one may be
    text = path.read_text(encoding="utf-8", errors="replace")
    if asked and "\0" in text:
        return REQUEST  # UTF-16, as PowerShell writes it
    if ending == "json":
        if not _JSON_KEY.search(text):
            return ""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return REQUEST  # a broken one, which its check says
        keys = set(value) if isinstance(value, dict) else set()
    else:
        keys = set(_YAML_KEY.findall(text))
    if keys.intersection(_KEYS):
        return "" if keys.intersection(_DESCRIBED) else REQUEST
    return CONFIGURATION if asked and ending != "json" and _CONFIGURATION.search(text) else ""


def walk(directory: Path) -> Iterator[Path]:
    """The files below a directory, in order; not what others have put there: hidden directories, node_modules, environments."""
    unreadable: list[Path] = []
    for place, directories, files in os.walk(directory, onerror=lambda error: unreadable.append(Path(error.filename))):
        directories[:] = sorted(
            name
            for name in directories
            if not name.startswith(".")
            and name not in _PASSED_OVER
            and not os.path.exists(os.path.join(place, name, "pyvenv.cfg"))
        )
        for name in sorted(files):
            path = Path(place, name)
            if path.is_file():  # no FIFO, no broken link
                yield path
    yield from unreadable  # whoever opens one is told why
