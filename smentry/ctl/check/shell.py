"""The simple commands of a shell script, in order. It knows that much of the shell's grammar, and not what a command does."""

from __future__ import annotations

import bisect
import os
import re
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SHELLS = frozenset(("sh", "bash", "dash", "ash", "zsh", "ksh", "mksh"))
"""Those with the grammar of sh(1)."""

_OPENING = {"if": "if", "while": "loop", "until": "loop", "for": "loop", "select": "loop", "case": "case", "{": "{"}
_CLOSING = frozenset(("fi", "done", "esac", "}"))
_PASSING = frozenset(("then", "do", "else", "elif", "!", "time"))
_ENDS = ("&&", "||", ";;", ";&", "|&", ";", "&", "|", "\n")
_REDIRECTION = re.compile(r"&>>?|<<<|<<-?|<>|>>|>\||[<>]&|[<>]")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
_WRAPPERS: dict[str, tuple[str, int]] = {
    "exec": ("a", 0),
    "command": ("", 0),
    "env": ("uC", 0),
    "nohup": ("", 0),
    "nice": ("n", 0),
    "ionice": ("cn", 0),
    "setsid": ("", 0),
    "stdbuf": ("ioe", 0),
    "time": ("fo", 0),
    "timeout": ("ks", 1),
    "sudo": ("ugpChrtTD", 0),
    "gosu": ("", 1),
    "su-exec": ("", 1),
    "taskset": ("", 1),
    "numactl": ("ipPmNC", 0),
    "xvfb-run": ("enfps", 0),
}
"""Programs that become the one named in their words, or wait for it: their letters that take a value, and how many words of
their own come before it."""
_RUNNERS = frozenset(("uv", "poetry", "pdm", "pipenv", "hatch", "pixi", "conda", "mamba", "micromamba"))
"""Those whose `run` does so. None of their long options of which the value is a word by itself is looked for."""


@dataclass(frozen=True)
class Command:
    """A simple command, or the word that closes a compound one."""

    words: tuple[str, ...]
    """Without redirections; quotes and backslashes are taken away, nothing is expanded."""
    start: int
    """Where in the text it begins."""
    line: int
    column: int
    end: str
    """What follows: `&&`, `||`, `|`, `|&`, `&`, `;`, `;;`, `)`, a line break, or nothing at the end of the text."""
    within: tuple[str, ...]
    """What it is inside of, from the outermost: `{` (a function's body too), `(`, `if`, `loop`, `case`."""

    @property
    def program(self) -> tuple[str, ...]:
        """The words without assignments before them, and without exec, nohup, env and the like."""
        words = list(self.words)
        while words:
            name = os.path.basename(words[0])
            if _ASSIGNMENT.match(words[0]):
                del words[0]
            elif name in _WRAPPERS:
                valued, own = _WRAPPERS[name]
                words = _options_passed(words[1:], valued)[own:]
            elif name in _RUNNERS and words[1:2] == ["run"]:
                words = _options_passed(words[2:], "np")
            else:
                break
        return tuple(words)

    @property
    def is_exec(self) -> bool:
        """Whether it takes the place of the shell."""
        return self.words[0] == "exec" and len(self.words) > 1


def _options_passed(words: Sequence[str], valued: str) -> list[str]:
    """The words after the options. `valued`: the letters of those whose value is the next word."""
    rest = list(words)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "--":
            break
        if len(option) == 2 and option[1] in valued and rest:
            del rest[0]
    return rest


def commands(text: str) -> list[Command]:
    """The commands of a script. What is no shell script gives some as well, and what is nested beyond reason none."""
    try:
        return _Reader(text).read()
    except RecursionError:
        return []


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.breaks = [-1, *(found.start() for found in re.finditer("\n", text))]
        self.at = 0
        self.found: list[Command] = []
        self.words: list[str] = []
        self.start = 0
        self.stack: list[str] = []
        self.documents: list[tuple[str, bool]] = []

    def read(self) -> list[Command]:
        text = self.text
        while self.at < len(text):
            character = text[self.at]
            if character in " \t\r" or text.startswith("\\\n", self.at):
                self.at += 2 if character == "\\" else 1
            elif character == "#":
                end = text.find("\n", self.at)
                self.at = len(text) if end < 0 else end
            elif not (self._redirection() or self._parenthesis() or self._end()):
                self._word()
        self._emit("")
        return self.found

    def _word(self) -> None:
        start = self.at
        self.at = _word_end(self.text, start)
        word = self.text[start : self.at]
        if self.at < len(self.text) and self.text[self.at] in "<>" and word.isdigit():
            return  # the descriptor of a redirection
        if not self.words:
            self.start = start
            if word == "[[":
                end = self.text.find("]]", self.at)
                self.at = len(self.text) if end < 0 else end + 2
        self.words.append(_plain(word))
        if self.words[0] == "function" and word == "{":
            self.words.clear()
            self.stack.append("{")
            return
        if len(self.words) == 1 and (word in _PASSING or word in ("{", "if", "while", "until")):
            self.words.clear()
            if word in _OPENING:
                self.stack.append(_OPENING[word])

    def _redirection(self) -> bool:
        found = _REDIRECTION.match(self.text, self.at)
        if not found or self.text.startswith(("<(", ">("), self.at):
            return False
        self.at = found.end()
        while self.at < len(self.text) and self.text[self.at] in " \t":
            self.at += 1
        start = self.at
        self.at = _word_end(self.text, start)
        if found[0] in ("<<", "<<-"):
            self.documents.append((_plain(self.text[start : self.at]), found[0] == "<<-"))
        return True

    def _parenthesis(self) -> bool:
        text = self.text
        if text.startswith(("<(", ">("), self.at):
            self.at = _balanced(text, self.at + 1, "()")
            self.words.append("")
        elif text.startswith("((", self.at) and not self.words:
            self.start, self.words = self.at, ["(("]
            self.at = _balanced(text, self.at, "()")
        elif text[self.at] == "(":
            function = re.compile(r"\(\s*\)").match(text, self.at)
            if function and self.words:
                self.words.clear()
                self.at = function.end()
            elif self.words:  # an array's values
                self.at = _balanced(text, self.at, "()")
            else:
                self.stack.append("(")
                self.at += 1
        elif text[self.at] == ")":
            if self.words[:1] == ["case"]:
                self.stack.append("case")
                self.words.clear()
            elif self.stack[-1:] == ["case"]:
                self.words.clear()  # a pattern
            else:
                self._emit(")")
                if "(" in self.stack:
                    self._leave("(")
                    self.start, self.words = self.at, [")"]
            self.at += 1
        else:
            return False
        return True

    def _end(self) -> bool:
        for end in _ENDS:
            if self.text.startswith(end, self.at):
                self._emit(end)
                self.at += len(end)
                if end == "\n":
                    self._skip_documents()
                return True
        return False

    def _emit(self, end: str) -> None:
        words, self.words = self.words, []
        if not words:
            return
        if words[0] == "function":  # its body is in the next line
            return
        if words[0] in _OPENING:  # for, select, case: the words after it are no command
            self.stack.append(_OPENING[words[0]])
            return
        if words[0] in _CLOSING:
            self._leave({"fi": "if", "done": "loop", "esac": "case", "}": "{"}[words[0]])
        line = bisect.bisect_left(self.breaks, self.start)
        column = self.start - self.breaks[line - 1]
        self.found.append(Command(tuple(words), self.start, line, column, end, tuple(self.stack)))

    def _leave(self, kind: str) -> None:
        while self.stack:
            if self.stack.pop() == kind:
                return

    def _skip_documents(self) -> None:
        for tag, is_indented in self.documents:
            while self.at < len(self.text):
                end = self.text.find("\n", self.at)
                line = self.text[self.at : end if end >= 0 else len(self.text)]
                self.at = end + 1 if end >= 0 else len(self.text)
                if (line.lstrip("\t") if is_indented else line) == tag:
                    break
        self.documents.clear()


def _word_end(text: str, at: int) -> int:
    """Where the word ends that begins here; at least one character on, unless the text ends."""
    start = at
    while at < len(text) and (at == start or text[at] not in " \t\r\n;&|()<>"):
        at = _piece_end(text, at)
    return min(at, len(text))


def _piece_end(text: str, at: int) -> int:
    character = text[at]
    if character == "\\":
        return at + 2
    if character == "'":
        return _after(text, "'", at + 1)
    if character == "`":
        return _after_escaped(text, "`", at + 1)
    if character == '"':
        at += 1
        while at < len(text) and text[at] != '"':
            at = at + 1 if text[at] == "'" else _piece_end(text, at)
        return at + 1
    if text.startswith("$'", at):
        return _after_escaped(text, "'", at + 2)
    if text.startswith("$(", at):
        return _balanced(text, at + 1, "()")
    if text.startswith("${", at):
        return _balanced(text, at + 1, "{}")
    return at + 1


def _balanced(text: str, at: int, pair: str) -> int:
    """The place after the bracket that closes the one here."""
    depth = 0
    while at < len(text):
        if text[at] == pair[0]:
            depth += 1
        elif text[at] == pair[1]:
            depth -= 1
            if not depth:
                return at + 1
        if text[at] == "#" and pair == "()" and text[at - 1] in " \t\n;(":
            at = _after(text, "\n", at)  # a comment, which may have one quote
        else:
            at = _piece_end(text, at) if text[at] in "\\'\"`$" else at + 1
    return len(text)


def _after(text: str, mark: str, at: int) -> int:
    end = text.find(mark, at)
    return len(text) if end < 0 else end + 1


def _after_escaped(text: str, mark: str, at: int) -> int:
    while at < len(text) and text[at] != mark:
        at += 2 if text[at] == "\\" else 1
    return at + 1


def _plain(word: str) -> str:
    """The word without the quotes and backslashes that a shell would take away."""
    return re.sub(
        r"'([^']*)'|\"((?:[^\"\\]|\\.)*)\"|\\(.)",
        lambda found: found[1] if found[1] is not None else found[3] or re.sub(r'\\([$`"\\])', r"\1", found[2] or ""),
        word,
        flags=re.DOTALL,
    )


def traps(found: Sequence[Command]) -> list[tuple[Command, str, tuple[str, ...]]]:
    """The `trap` commands: what each does, and the signals for which it does that, by their names without SIG."""
    made = []
    for command in found:
        if command.words[0] == "trap":
            words = command.words[2:] if command.words[1:2] == ("--",) else command.words[1:]
            if len(words) > 1:
                made.append((command, words[0], tuple(_signal(word) for word in words[1:])))
    return made


def _signal(word: str) -> str:
    name = word.upper()
    return {"15": "TERM", "0": "EXIT", "2": "INT", "1": "HUP"}.get(name, name[3:] if name.startswith("SIG") else name)
