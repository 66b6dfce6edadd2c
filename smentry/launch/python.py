"""What a command line says about the Python program in it. It does not know what starts the program."""

from __future__ import annotations

import os

from smentry import executable
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_WITH_VALUE = "cmWX"
"""Python's options that take a value (python(1)); the first two end the options."""

_BUILDS = ("", "t", "d", "td")
"""What a Python's name ends with: free-threaded, for debugging, or both."""

_LAUNCHERS = frozenset(("torchrun", "accelerate", "deepspeed", "mpirun", "mpiexec", "horovodrun", "smentry"))
_LAUNCHING = frozenset(("torch.distributed.run", "torch.distributed.launch", "accelerate.commands.launch"))


class Program:
    """A Python program: the `python` that runs it (a path), that Python's own `options`, and its `arguments`.

    It is a `script`, or a `module` as after `-m`; the other is empty.
    """

    __slots__ = ("arguments", "module", "options", "python", "script")

    def __init__(
        self, python: str, options: list[str], arguments: list[str], script: str = "", module: str = ""
    ) -> None:
        self.python = python
        self.options = options
        self.arguments = arguments
        self.script = script
        self.module = module

    @property
    def words(self) -> list[str]:
        """The words that run it."""
        return [self.python, *self.options, *(["-m", self.module] if self.module else [self.script]), *self.arguments]


class NotPythonError(RefusedError):
    """What these words start is no Python program."""


def read(words: list[str], environment: Mapping[str, str], asker: str) -> Program:
    """The Python program that these words start; `asker` says who wants it launched, for a message.

    Raises NotPythonError where it is none, RefusedError where it is a launcher itself, or cannot be found.
    """
    if os.path.basename(words[0]) in _LAUNCHERS:
        raise _launcher(asker, words[0])
    path = executable.lookup(words[0], environment)
    rest = words[1:]
    if not _is_python(words[0], environment):
        python, own = _interpreter(path, environment)
        if not python:
            raise NotPythonError(f"{asker}: {_EXPECTED}, got {_shown(words)}")
        path, rest = executable.lookup(python, environment), [*own, words[0] if "/" in words[0] else path, *rest]
    options: list[str] = []
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word in ("-", "--"):
            break
        letter = "" if word.startswith("--") else next((letter for letter in word[1:] if letter in _WITH_VALUE), "")
        before, _, value = word.partition(letter) if letter else (word, "", "")
        if letter in ("c", "m"):
            value = value or (rest.pop(0) if rest else "")
            if letter == "c" or not value:
                break
            if value in _LAUNCHING:
                raise _launcher(asker, value)
            return Program(path, [*options, *([before] if before != "-" else [])], rest, module=value)
        options.append(word)
        if (letter and not value) or word == "--check-hash-based-pycs":
            options += rest[:1]
            del rest[:1]
    else:
        word = ""
    if word == "--":
        word = rest.pop(0) if rest else ""
    if not word or word.startswith("-"):
        raise NotPythonError(f"{asker}: {_EXPECTED}, got {_shown(words)}")
    if os.path.basename(word) in _LAUNCHERS:
        raise _launcher(asker, word)
    return Program(path, options, rest, script=word)


_EXPECTED = "only a Python program can be launched: expected a script or a module for Python"


def _launcher(asker: str, name: str) -> RefusedError:
    return RefusedError(f"{asker}: {name} is a launcher itself: expected the program for it, or launcher none")


def _shown(words: list[str]) -> str:
    return repr(" ".join(words[:3]) + (" …" if len(words) > 3 else ""))


def _is_python(word: str, environment: Mapping[str, str]) -> bool:
    name = os.path.basename(word)
    for stem in ("python", "pypy"):
        if name.startswith(stem) and name[len(stem) :].lstrip("0123456789.") in _BUILDS:
            return True
    return environment.get("SMENTRY_PYTHON") in (word, name)  # it may be a name, which was looked up


def _interpreter(path: str, environment: Mapping[str, str]) -> tuple[str, list[str]]:
    """The Python of a script's `#!` line and what follows it there, "" where there is none."""
    line = executable.shebang(path, environment) or []
    words = [word for part in line for word in part.split()]
    for index, word in enumerate(words):
        if _is_python(word, environment):
            return word, words[index + 1 :]
    return "", []
