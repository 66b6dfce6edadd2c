"""How the programs of the tests tell what they did: files in the directory $STATE. It sends no signals."""

import os
import sys
from _json import encode_basestring_ascii as quoted  # `json` loads `re`, which is a third of a program's start

DIRECTORY = os.environ["STATE"]
SECONDS = float(os.environ.get("SAVE_SECONDS", "1"))


def note(name: str, text: str = "") -> None:
    """Write the file `name` whole: whoever waits for it never reads half of it."""
    path = os.path.join(DIRECTORY, name)
    with open(f"{path}.{os.getpid()}", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(f"{path}.{os.getpid()}", path)


def add(name: str, line: str) -> None:
    """Append one line to the file `name`."""
    descriptor = os.open(os.path.join(DIRECTORY, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(descriptor, (line + "\n").encode())
    os.close(descriptor)


def ready(name: str = "ready") -> None:
    """Say that every handler is installed, and as what this program runs."""
    facts = {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "group": os.getpgrp(),
        "argv": sys.argv,
        "directory": os.getcwd(),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "environment": dict(os.environ),
    }
    note(name, _json(facts))


def _json(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)}: {_json(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    return quoted(value) if isinstance(value, str) else str(value)
