"""Shells that complete a line: bash and zsh as a person has them, with a terminal; fish by its own `complete -C`.

In bash and zsh all matches are put into the line, which is then run: a function in the program's place says what it got.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pexpect
import pytest
from running import LIMIT

if TYPE_CHECKING:
    from pathlib import Path

ALL = "\x1b*"
"""Alt-*: in bash that is insert-completions, readline's own; in zsh it is bound below."""

SAYS = "printf 'GOT<%s>' \"$@\"; printf 'EN''D>'"
QUIET_ZSH = "PS1= PS2=; unsetopt PROMPT_SP; unset zle_bracketed_paste; autoload -Uz compinit; compinit -D -u"
ALL_ZSH = r"_every() { _main_complete; compstate[insert]=all }; zle -C every complete-word _every; bindkey '\e*' every"
LEFT_OUT = {"ENV", "BASH_ENV", "ZDOTDIR", "COMP_WORDBREAKS", "FIGNORE", "PROMPT_COMMAND"}


class Interactive:
    """bash or zsh, without anybody's settings, in `directory`."""

    def __init__(self, name: str, script: Path, programs: tuple[str, ...], directory: Path) -> None:
        own, settings = {
            "bash": (["--norc", "--noprofile", "-i"], "PS1= PS2=; bind 'set enable-bracketed-paste off'"),
            "zsh": (["-f", "-i"], f"{QUIET_ZSH}; {ALL_ZSH}"),
        }[name]
        environment: Any = {key: value for key, value in os.environ.items() if key not in LEFT_OUT}
        environment |= {"TERM": "dumb", "LC_ALL": "C.UTF-8", "HOME": str(directory)}
        self._shell = pexpect.spawn(
            name,
            own,
            cwd=str(directory),
            env=environment,
            encoding="utf-8",
            echo=False,
            timeout=LIMIT,
            dimensions=(50, 2000),
        )
        functions = "; ".join(f"{program}() {{ {SAYS}; }}" for program in programs)
        self._shell.send(f"{settings}; eval \"$(cat {script})\"; {functions}; printf 'RE''ADY>'\r")
        self._shell.expect("READY>")

    def words(self, line: str) -> list[str]:
        """The words after the program, when the last one has been replaced by everything that it can become."""
        self._shell.send(f"{line}{ALL}\r")
        self._shell.expect("END>")
        return re.findall("GOT<([^>]*)>", self._shell.before or "")

    def completions(self, line: str) -> list[str]:
        """What the last word of the line can become; sorted. Without what stays before it in the same word."""
        before, _, last = line.rpartition(" ")
        words = self.words(line)[len(before.split()) - 1 :]
        fixed = re.match(r"--[^=]*=|", last)
        assert fixed
        return sorted(word.removeprefix(fixed[0]) for word in words if word != last)

    def close(self) -> None:
        """End it."""
        self._shell.close(force=True)


class Fish:
    """fish, asked what it would offer."""

    def __init__(self, script: Path, directory: Path) -> None:
        self._script = script
        self._directory = directory

    def completions(self, line: str) -> list[str]:
        """What the last word of the line can become; sorted."""
        command = ["fish", "--no-config", "-c", f"source {self._script}; complete -C $argv[1]", line]
        ran = subprocess.run(command, cwd=self._directory, capture_output=True, text=True, timeout=LIMIT, check=False)
        assert (ran.returncode, ran.stderr) == (0, "")
        fixed = re.match(r"--[^=]*=|", line.rpartition(" ")[2])
        assert fixed
        found = [said.partition("\t")[0] for said in ran.stdout.splitlines()]
        return sorted(word.removeprefix(fixed[0]).removesuffix("/") for word in found)

    def close(self) -> None:
        """Nothing is left of it."""


Shell = Interactive | Fish if TYPE_CHECKING else object


def start(name: str, script: Path, programs: tuple[str, ...], directory: Path) -> Shell:
    """One of the shells, which has read the script. The test is skipped where the machine has no such shell."""
    if shutil.which(name) is None:
        pytest.skip(f"there is no {name}")
    return Fish(script, directory) if name == "fish" else Interactive(name, script, programs, directory)
