"""How an image starts: what its ENTRYPOINT makes of `train`, and who is PID 1 then. Pure: files are looked up by the caller."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from smentry.ctl.check import script, shell, wrappers
from smentry.ctl.check.finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smentry.ctl.check.shell import Command

THERE, MISSING, UNSEEN = "there", "missing", "unseen"
"""Whether the image has an executable for a verb on its PATH; UNSEEN: that cannot be told."""

_KNOWS_VERB = re.compile(
    r"""["']train["']|^\s*def train\b|^\s*\(?(?:\w+\s*\|\s*)*["']?train["']?(?:\s*\|\s*\w+)*\s*\)""", re.MULTILINE
)
_LONG = re.compile(
    r"(?:.*/)?(?:python[\d.]*|torchrun|accelerate|deepspeed|mpirun|horovodrun|gunicorn|uvicorn|nginx|java|node|Rscript|julia|"
    r"tritonserver|smentry)|\$[@*]"
)
"""What runs as long as a job does. `"$@"` is whatever the platform hands on."""
_SHOWN = 80
_TAKES_ARGUMENTS = re.compile(r"\$[@*1]|\$\{[@*1]")


@dataclass(frozen=True)
class File:
    """A file of the image."""

    name: str
    """As findings name it."""
    content: bytes
    executable: bool | None
    """None: cannot be seen."""
    offset: int = 0
    """Lines before its first one, where it is a part of a Dockerfile."""

    @property
    def text(self) -> str:
        """What is in it."""
        return self.content.decode("utf-8", "replace")

    @property
    def is_shell(self) -> bool:
        """Whether a shell runs it."""
        first = self.text.partition("\n")[0]
        if first.startswith("#!"):
            return any(os.path.basename(word.strip()) in shell.SHELLS for word in first[2:].split())
        return self.name.endswith((".sh", ".bash"))


def problems(
    words: Sequence[str], look: Callable[[str], File | None], train: str
) -> tuple[list[tuple[str, str]], list[Finding]]:
    """What is wrong with an ENTRYPOINT in exec form: code and message of each, and findings in the script that it runs.

    `train` says whether there is an executable of that name on PATH.
    """
    own: list[tuple[str, str]] = []
    init, inner = _behind(words)
    if is_smentry(inner):
        return own, []
    shell_text = _shell_text(inner)
    path, executed = program_file(inner)
    file = look(path) if path else None
    if shell_text is not None:
        waits = _waits_for(shell_text)
        if waits:
            own.append(("SM102", f"{inner[0]} -c waits for {waits}, which the platform's SIGTERM does not reach"))
    elif init and not inner:
        if train == MISSING:
            own.append(("SM103", f"{init} executes what the platform hands it, and no executable train is on PATH"))
    elif init and not _understands(inner, file):
        own.append(("SM103", f"{init} hands train on to {os.path.basename(inner[0])} as an argument"))
    return own, of_file(file, executed=executed) if file else []


def of_file(file: File, *, executed: bool) -> list[Finding]:
    """What is wrong with the file that is started as PID 1; `executed`: by its own name, not as a shell's argument."""
    found = script.problems(file.name, file.content, executed=executed, executable=file.executable)
    if file.is_shell or (not executed and file.name.endswith(".sh")):
        child = waited_for(file.text)
        if child:
            message = (
                f"PID 1 is the shell, which waits for {child.program[0]}: the platform's SIGTERM does not reach it"
            )
            found.append(Finding(file.name, child.line, child.column, "SM110", message))
    if file.offset:
        found = [Finding(one.file, one.line + file.offset, one.column, one.code, one.message) for one in found]
    return found


def waited_for(text: str) -> Command | None:
    """The last program that a shell script runs as its child, where it is one that takes as long as the job.

    None where one of its commands replaces the shell (a branch of it does it well), or it has a trap for SIGTERM.
    """
    found = shell.commands(text)
    if _is_reached(found) or any(command.is_exec for command in found):
        return None
    long = [command for command in found if command.program and _takes_long(command.program)]
    return long[-1] if long else None


def is_smentry(words: Sequence[str]) -> bool:
    """Whether these words start smentry."""
    if not words:
        return False
    if os.path.basename(words[0]) == "smentry":
        return True
    return "python" in os.path.basename(words[0]) and any(
        pair == ("-m", "smentry") for pair in zip(words[1:], words[2:])
    )


def program_file(words: Sequence[str]) -> tuple[str, bool]:
    """The file that these words run, and whether by its own name; empty where that is no script."""
    if not words:
        return "", False
    name = os.path.basename(words[0])
    if name not in shell.SHELLS and not re.fullmatch(r"python[\d.]*", name):
        return words[0], True
    for word in words[1:]:
        if word in ("-c", "-m"):
            return "", False
        if not word.startswith("-"):
            return os.path.join(".", word), False  # not looked up on PATH
    return "", False


def _behind(words: Sequence[str]) -> tuple[str, list[str]]:
    """The init's name and what is behind it; without an init the words themselves. Of `env` nothing is left."""
    rest = list(words[wrappers.of_env(words) :])
    taken = wrappers.of_init(rest)
    behind = rest[taken:]
    return os.path.basename(rest[0]) if taken else "", behind[wrappers.of_env(behind) :]


def _shell_text(words: Sequence[str]) -> str | None:
    """What a shell is given with -c; None where this is no shell, or it is given a file."""
    if not words or os.path.basename(words[0]) not in shell.SHELLS:
        return None
    for word, after in zip(words[1:], [*words[2:], ""]):
        if re.fullmatch(r"-[a-z]*c", word):
            return after
        if not word.startswith(("-", "+")) and word != "pipefail":
            return None
    return None


def _waits_for(text: str) -> str:
    """The program that a shell waits for at the end of what it was given with -c; empty where it is replaced, or has a trap."""
    found = shell.commands(text)
    if not found or found[-1].is_exec or _is_reached(found):
        return ""
    return " ".join(found[-1].words)[:_SHOWN]


def _is_reached(found: Sequence[Command]) -> bool:
    return any("TERM" in signals for _, _, signals in shell.traps(found))


def _takes_long(program: Sequence[str]) -> bool:
    if not _LONG.fullmatch(program[0]) or program[1:2] in (("-c",), ("-V",), ("--version",)):
        return False
    return program[1:2] != ("-m",) or program[2:3] not in (("pip",), ("venv",), ("ensurepip",), ("compileall",))


def _understands(words: Sequence[str], file: File | None) -> bool:
    """Whether a program is known to make something of `train`."""
    if os.path.basename(words[0]) in ("train", "serve"):
        return True
    if file is None:
        return False
    return bool(_KNOWS_VERB.search(file.text)) or (file.is_shell and bool(_TAKES_ARGUMENTS.search(file.text)))
