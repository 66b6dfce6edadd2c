"""What is wrong with a script that a job runs. It does not know how it is started: what depends on that is no finding."""

from __future__ import annotations

import ast
import re
import stat
import warnings

from smentry.ctl.check import hooks, shell
from smentry.ctl.check.finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from smentry.ctl.check.shell import Command

SHELL, PYTHON = "shell", "Python"

_LARGEST = 1 << 20
"""Bytes that are looked at: no script is as large as this."""

_MARK = b"\xef\xbb\xbf"
_SHEBANG = re.compile(r"#!\s*(\S+)(?:[ \t]+(\S+))?(?:[ \t]+(\S+))?")
_ALMOST = re.compile(r"(?:#[ \t]+!|!#|#)[ \t]*/(?:usr/)?(?:local/)?bin/[a-z]")
"""What was meant for a `#!` line."""

_PYTHON = re.compile(r"python(?:\d+(?:\.\d+)?)?")
_LAUNCHERS = frozenset(("torchrun", "accelerate", "deepspeed", "mpirun", "mpiexec", "horovodrun"))
_TOOLS = frozenset(("pip", "venv", "ensurepip", "compileall", "site", "json.tool", "http.server", "zipfile", "tarfile"))
"""Modules that are no training: `python -m pip`."""

_AFTERWARDS = frozenset(
    (
        *(
            "echo",
            "printf",
            "aws",
            "cp",
            "mv",
            "rm",
            "tar",
            "zip",
            "gzip",
            "ls",
            "date",
            "sync",
            "mkdir",
            "touch",
            "cat",
        ),
        *("sleep", "true", ":", "chmod", "chown", "du", "df", "find", "rsync", "s5cmd", "disown", "exit"),
    )
)
"""What a script does when the training has ended, and what seldom fails."""


def findings(path: Path) -> list[Finding]:
    """What is wrong with a script. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        data = file.read(_LARGEST)
    is_executable = bool(path.stat().st_mode & stat.S_IXUSR)
    return hooks.of_directory(path) + problems(str(path), data, executable=is_executable)


def problems(name: str, data: bytes, *, executed: bool | None = None, executable: bool | None = None) -> list[Finding]:
    """What is wrong with a script of that name, which is the findings' file, and of that content.

    `executed`: whether it is started by its own name (True) or as the argument of an interpreter (False). `executable`: whether
    it has the bit. None: that is not known.
    """
    if b"\0" in data:
        return []  # an executable called `train`
    base = name.rpartition("/")[2]
    language = language_of(base, data)
    stem = base.partition(".")[0]
    is_program = stem in ("train", "serve") or "entrypoint" in stem
    text = data.decode("utf-8-sig", "replace")
    found = list(_line_ends(data, language))
    wants_line = _is_executed(base, language, is_program, bool(executable)) if executed is None else executed
    found += _shebang(data, text, language, wants_line)
    if executed and executable is False:
        found.append((1, 1, "SM409", "is executed by itself, and has no executable bit"))
    if language == SHELL:
        found += _shell(text.replace("\r\n", "\n"), is_program or text.startswith("#!") or not text.strip())
    elif language == PYTHON:
        found += _python(text, is_program)
    return [Finding(name, line, column, code, message) for line, column, code, message in found]


def language_of(name: str, data: bytes) -> str:
    """SHELL or PYTHON by the `#!` line, else by the ending; empty where it is neither, or cannot be known."""
    head = data.removeprefix(_MARK).lstrip()[:256].decode("utf-8", "replace") if data else ""
    found = _SHEBANG.match(head)
    if found:
        words = [word.rpartition("/")[2] for word in found.groups() if word and not word.startswith("-")]
        program = words[1] if words[:1] == ["env"] and len(words) > 1 else words[0] if words else ""
        return SHELL if program in shell.SHELLS else PYTHON if _PYTHON.fullmatch(program) else ""
    ending = name.rpartition(".")[2]
    return SHELL if ending in ("sh", "bash") else PYTHON if ending == "py" else ""


Rule = tuple[int, int, str, str]
"""Line, column, code and message."""


# -- the bytes, and the first line -----------------------------------------------------------------


def _line_ends(data: bytes, language: str) -> Iterator[Rule]:
    if language == SHELL:
        number = next((number for number, line in enumerate(data.split(b"\n"), 1) if line.endswith(b"\r")), 0)
        if number:
            yield number, 1, "SM401", "ends with CRLF, and a shell takes the CR for a part of the last word"
    elif data.startswith(b"#!") and data.partition(b"\n")[0].endswith(b"\r"):
        yield (
            1,
            1,
            "SM401",
            "the #! line ends with CRLF, and the kernel takes the CR for a part of the interpreter's name",
        )


def _shebang(data: bytes, text: str, language: str, wants_line: bool) -> Iterator[Rule]:
    if data.startswith(b"#!"):
        found = _SHEBANG.match(text)
        if found and found[1].endswith("/env") and found[2] and not found[2].startswith("-") and found[3]:
            words = text.partition("\n")[0][2:].strip()
            yield (
                1,
                1,
                "SM403",
                f"env gets all that follows as one word: expected #!{words.replace('env ', 'env -S ', 1)}",
            )
        return
    if data.startswith(_MARK + b"#!"):
        yield 1, 1, "SM403", "a UTF-8 byte order mark is before the #!, and hides it from the kernel"
    elif data.startswith(_MARK) and language == SHELL:
        yield 1, 1, "SM403", "begins with a UTF-8 byte order mark, which a shell takes for a part of the first word"
    elif text.lstrip().startswith("#!/"):
        line = text[: text.index("#!")].count("\n") + 1
        yield line, 1, "SM403", "the #! line is not the first, and means nothing"
    elif _ALMOST.match(text):
        yield 1, 1, "SM403", f"{text.partition(chr(10))[0].strip()!r} is a comment, and no #! line"
    elif data.strip() and wants_line:
        yield 1, 1, "SM402", "has no #! line: executed by itself, it is refused with `exec format error`"


def _is_executed(name: str, language: str, is_program: bool, executable: bool) -> bool:
    """Whether a file is meant to be executed by itself, as far as it can be seen."""
    if "." not in name:
        return name in ("train", "serve")
    return executable and (language == SHELL or (language == PYTHON and is_program))


# -- shell -----------------------------------------------------------------------------------------


def _shell(text: str, wanted: bool) -> Iterator[Rule]:
    found = shell.commands(text)
    if not found:
        if wanted:
            yield 1, 1, "SM404", "has no command in it: the job would be Completed at once"
        return
    yield from _traps(found)
    outer = [command for command in found if not command.within]
    yield from _left_behind(text, outer)
    yield from _lost(text, found, outer)


def _traps(found: Sequence[Command]) -> Iterator[Rule]:
    set_for_term = [trap for trap in shell.traps(found) if "TERM" in trap[2]]
    for index, (command, action, _) in enumerate(set_for_term):
        if not action and not {"{", "("} & set(command.within) and index + 1 == len(set_for_term):
            what = "SIGTERM is ignored from here on, by everything that is started too"
            yield command.line, command.column, "SM406", what
        kills = [inner for inner in shell.commands(action) if inner.words[0] in ("kill", "pkill", "killall")]
        if kills and _is_hard(kills[0].words):
            what = "SIGTERM becomes SIGKILL here: nothing can be saved"
            yield command.line, command.column, "SM407", what


def _is_hard(words: Sequence[str]) -> bool:
    joined = " ".join(words[1:]).upper()
    return bool(re.match(r"(?:-9|-KILL|-SIGKILL|-S (?:SIG)?KILL|-S 9|-N 9)\b", joined))


def _is_training(words: Sequence[str]) -> bool:
    """Whether these words start a Python program or a launcher of one."""
    program = words[0].rpartition("/")[2] if words else ""
    if program in _LAUNCHERS:
        return True
    if not _PYTHON.fullmatch(program):
        return False
    for index, word in enumerate(words[1:], 1):
        if word == "-m":
            return index + 1 < len(words) and words[index + 1].partition(".")[0] not in _TOOLS | {"json", "http"}
        if not word.startswith("-"):
            return word.endswith(".py") and word.rpartition("/")[2] != "setup.py"
        if word == "-c":
            return False
    return False


def _left_behind(text: str, outer: Sequence[Command]) -> Iterator[Rule]:
    """The training is started in the background, and the script ends."""
    last = next((command for command in reversed(outer) if command.words[0] not in _AFTERWARDS), None)
    if last and last.end == "&" and _is_training(last.program) and not re.search(r"\bwait\b", text):
        what = f"`{_short(last)} &` is left in the background, and the script ends: the container does with it"
        yield last.line, last.column, "SM408", what


def _lost(text: str, found: Sequence[Command], outer: Sequence[Command]) -> Iterator[Rule]:
    """The training's exit code is not the script's."""
    index = next((index for index in reversed(range(len(outer))) if _is_training(outer[index].program)), None)
    if index is None:
        return
    command, behind = outer[index], list(outer[index + 1 :])
    rest = text[command.start :]
    if command.is_exec or re.search(r"\$\{?(?:\?|PIPESTATUS|pipestatus)|\berrexit\b", rest) or _has_trap(found):
        return
    last = command
    while last.end in ("|", "|&") and behind:
        if "pipefail" not in text:
            what = (
                f"the pipe's exit code is that of `{_short(behind[0])}`: when the training fails, the job is Completed"
            )
            yield command.line, command.column, "SM405", what
            return
        last = behind.pop(0)
    if last.end == "&":
        waits = [index for index, other in enumerate(behind) if other.words[0] == "wait"]
        if not waits:
            return
        last, behind = behind[waits[0]], behind[waits[0] + 1 :]
    if last.end not in (";", "\n", "") or any(other.words[0] not in _AFTERWARDS for other in behind):
        return
    if last.words == ("wait",):
        what = "`wait` without a process ends with 0, whatever the training ends with: expected `wait $!`"
        yield last.line, last.column, "SM405", what
        return
    if _is_strict(text, found, last) or not behind or behind[0].words == ("exit",):
        return
    last = behind[-1]
    if last.words[0] != "exit" or last.words[1:] in ((), ("0",)):
        what = f"the script goes on when the training fails, and its exit code is that of `{_short(last)}`"
        yield command.line, command.column, "SM405", what


def _has_trap(found: Sequence[Command]) -> bool:
    return any({"EXIT", "ERR"} & set(signals) for _, _, signals in shell.traps(found))


def _is_strict(text: str, found: Sequence[Command], command: Command) -> bool:
    """Whether the script ends where this command fails."""
    is_strict = bool(re.match(r"#!\S*sh\s+-\w*e", text))
    for other in found:
        if other.start < command.start and other.words[0] == "set" and "(" not in other.within:
            for word, after in zip(other.words[1:], [*other.words[2:], ""]):
                if re.fullmatch(r"[-+][a-zA-Z]*e[a-zA-Z]*", word) or (word in ("-o", "+o") and after == "errexit"):
                    is_strict = word.startswith("-")
    return is_strict


def _short(command: Command) -> str:
    words = " ".join(command.words)
    return words if len(words) <= 60 else f"{words[:59]}…"


# -- Python ----------------------------------------------------------------------------------------


def _python(text: str, is_program: bool) -> Iterator[Rule]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the script's own literals, they are not ours
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # written for another Python than this one, perhaps
    if is_program and all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in tree.body):
        yield 1, 1, "SM404", "has no statement in it: the job would be Completed at once"
        return
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _sets_term(node)]
    if not calls or not all(_name(call.args[1]) == "SIG_IGN" for call in calls):
        return  # ignored for a while only
    outside = [node for node in _of_module(tree.body) if node in calls]
    for call in outside:
        yield (
            call.lineno,
            call.col_offset + 1,
            "SM406",
            "SIGTERM is ignored from here on, by everything that is started too",
        )


def _sets_term(call: ast.Call) -> bool:
    return _name(call.func) == "signal" and len(call.args) == 2 and _is_term(call.args[0])


def _is_term(node: ast.expr) -> bool:
    return _name(node) == "SIGTERM" or (isinstance(node, ast.Constant) and node.value == 15)


def _name(node: ast.expr) -> str:
    """The last name of `a.b.c` or `c`."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _of_module(body: Sequence[ast.stmt]) -> list[ast.AST]:
    """What is run with the module, and by its main() where that is called: not what a worker's start, or a handler, does."""
    found: list[ast.AST] = []
    todo: list[ast.AST] = list(body)
    mains = []
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            mains += [node] if node.name == "main" else []
        elif not isinstance(node, (ast.Lambda, ast.ClassDef)):
            found.append(node)
            todo.extend(ast.iter_child_nodes(node))
    if any(isinstance(node, ast.Call) and _name(node.func) == "main" for node in found):
        found += [inner for main in mains for inner in _of_module(main.body)]
    return found
