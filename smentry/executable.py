"""How Linux finds and executes a file, and why it will not. It does not know what the file is for."""

from __future__ import annotations

import os
import stat

from smentry.errors import NOT_EXECUTABLE, NOT_FOUND, RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAD = 256
"""Bytes the kernel looks at to tell what a file is (BINPRM_BUF_SIZE, linux/binfmts.h)."""

_SAMPLE = 1 << 16
_SHELLS = frozenset(("sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "busybox"))
_CONVERT = "convert it before it is uploaded or copied (dos2unix, or sed -i 's/\\r$//')"


def lookup(name: str, environment: Mapping[str, str]) -> str:
    """The path of a command as execvp(3) finds it.

    Raises RefusedError: 127 not found, 126 found but not executable.
    """
    if not name:
        raise RefusedError("the command is an empty word: expected the name or path of a program", NOT_FOUND)
    if "/" in name:
        examine(name, needs_bit=True)
        shebang(name, environment)
        return name
    refused: RefusedError | None = None
    searched = environment.get("PATH", os.defpath)
    for directory in searched.split(":"):
        path = os.path.join(directory, name)
        try:
            if os.path.exists(path):
                examine(path, needs_bit=True)
                shebang(path, environment)
                return path
        except RefusedError as error:
            refused = refused or error
    if refused:
        raise refused
    raise RefusedError(f"{name}: not found on PATH ({searched})", NOT_FOUND)


def examine(path: str, *, needs_bit: bool = False) -> os.stat_result:
    """The status of a file that can be a program; with `needs_bit` it must have the executable bit.

    Raises RefusedError: 127 missing; 126 a directory, a FIFO, empty, on a noexec mount, ….
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise RefusedError(f"{path}: {_missing(path)}", NOT_FOUND) from None
    except NotADirectoryError:
        raise RefusedError(f"{path}: not found: a part of its path is not a directory", NOT_FOUND) from None
    except OSError as error:
        raise RefusedError(f"{path}: cannot be looked at: {_reason(error)}", NOT_EXECUTABLE) from None
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        raise RefusedError(f"{path}: is a directory: expected a file to run", NOT_EXECUTABLE)
    if not stat.S_ISREG(mode):
        kind = "a FIFO" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise RefusedError(f"{path}: is {kind}: expected a regular file to run", NOT_EXECUTABLE)
    if status.st_size == 0 and not path.startswith("/proc/"):
        raise RefusedError(f"{path}: is empty: expected a program or a script (was it uploaded whole?)", NOT_EXECUTABLE)
    if mode & 0o111 and os.statvfs(path).f_flag & os.ST_NOEXEC:
        raise RefusedError(
            f"{path}: is on a file system mounted noexec: mount it without noexec, or take away the file's"
            " executable bit so that its interpreter is run instead",
            NOT_EXECUTABLE,
        )
    if needs_bit and not os.access(path, os.X_OK):
        if mode & 0o111:
            message = f"may not be executed by uid {os.getuid()}: chmod a+rx it"
        else:
            message = "has no executable bit: chmod +x it, or name its interpreter (sh, python3) before it"
        raise RefusedError(f"{path}: {message}", NOT_EXECUTABLE)
    return status


def command(
    path: str, environment: Mapping[str, str], *, directory: str | None = None, shell: bool = False
) -> tuple[list[str], str]:
    """The words that run the file `path`, without its arguments, and why it is run like that.

    The executable bit, then the `#!` line, then the ending decide; with `shell` what none of them decides is
    run by sh. Raises RefusedError, with 126 or 127, where it would fail.
    """
    examine(path)
    executable = os.access(path, os.X_OK)
    line = shebang(path, environment, directory)
    if executable and (line or not path.endswith((".py", ".sh"))):
        return [path], "it has the executable bit"
    if line:
        return [*line, path], "its #! line is followed"
    if path.endswith(".py"):
        return [python(environment), path], "a .py is run with Python"
    if path.endswith(".sh") or shell:
        _refuse_windows(path)
        why = "a .sh is run with sh" if path.endswith(".sh") else "nothing says how: run by sh"
        return [_sh(environment), path], why
    raise RefusedError(
        f"{path}: nothing says how to run it: expected the executable bit, a #! line, or a name ending in .py or .sh",
        NOT_EXECUTABLE,
    )


def python(environment: Mapping[str, str]) -> str:
    """Python for scripts: SMENTRY_PYTHON, else python3, else python on PATH; never smentry's own by accident.

    Raises RefusedError where there is none.
    """
    own = environment.get("SMENTRY_PYTHON")
    if own:
        try:
            return lookup(own, environment)
        except RefusedError as error:
            raise RefusedError(f"SMENTRY_PYTHON: expected a Python for scripts: {error}", error.code) from None
    found = _lookup_or_none("python3", environment) or _lookup_or_none("python", environment)
    if found is None:
        raise RefusedError(
            "no Python to run a script with: neither python3 nor python is on PATH; set SMENTRY_PYTHON",
            NOT_FOUND,
        )
    return found


def _lookup_or_none(name: str, environment: Mapping[str, str]) -> str | None:
    try:
        return lookup(name, environment)
    except RefusedError:
        return None


def shebang(path: str, environment: Mapping[str, str], directory: str | None = None) -> list[str] | None:
    """The interpreter and its argument of a file's `#!` line, None where it has none. Raises RefusedError.

    As the kernel reads it (execve(2)): what follows the interpreter is one argument, blanks and all. A shell
    script with an executable bit and no `#!` is examined too: execvp(3) has sh run it.
    """
    executable = os.access(path, os.X_OK)
    head = _read(path, _HEAD, required=not executable)
    if head.startswith(b"\xef\xbb\xbf#!") and (executable or not path.endswith(".py")):
        raise RefusedError(
            f"{path}: a UTF-8 byte order mark hides its #! from the kernel: save it without",
            NOT_EXECUTABLE,
        )
    if not head.startswith(b"#!"):
        if executable and head and b"\0" not in head and not path.endswith(".py"):
            _refuse_windows(path)
        return None
    line = os.fsdecode(head[2:].partition(b"\n")[0])
    if line.endswith("\r"):
        asked = line.strip().split()
        shown = f" asks for {asked[-1] + chr(13)!r}" if asked else " ends in one"
        raise RefusedError(f"{path}: has Windows line ends (CRLF), so its #! line{shown}: {_CONVERT}", NOT_EXECUTABLE)
    words = line.strip(" \t").replace("\t", " ").split(" ", 1)
    interpreter, argument = words[0], words[1].strip() if len(words) == 2 else ""
    if not interpreter:
        raise RefusedError(f"{path}: its #! line names no interpreter: expected such as #!/bin/sh", NOT_EXECUTABLE)
    _check_interpreter(path, os.path.join(directory or "", interpreter), f"#!{line.strip()}")
    program = os.path.basename(interpreter)
    if program == "env":
        program = _through_env(argument)
        if program:
            _check_on_path(path, program, environment, f"#!{line.strip()}")
            program = os.path.basename(program)
    if program in _SHELLS:
        _refuse_windows(path)
    return [interpreter, argument] if argument else [interpreter]


def _through_env(argument: str) -> str:
    """The program that `env` starts, "" where that is not plain to see (env(1))."""
    words = argument.split()
    split = False
    while words:
        word = words.pop(0)
        if word in ("-S", "--split-string", "-vS", "-iS"):
            split = True
        elif word.startswith(("-S", "--split-string=")):
            split = True
            words.insert(0, word[2:] if word.startswith("-S") else word.partition("=")[2])
        elif split and ("=" in word or word in ("-", "-i", "--ignore-environment")):
            continue
        elif word.startswith("-") or any(mark in word for mark in "'\"\\$"):
            return ""
        else:
            return word if split else argument  # without -S all of it is one name, blanks and all
    return ""


def _check_interpreter(path: str, interpreter: str, line: str) -> None:
    if not os.path.exists(interpreter):
        raise RefusedError(
            f"{path}: its interpreter is missing: {line}: there is no {interpreter}: install it, or change the line",
            NOT_FOUND,
        )
    if os.path.isdir(interpreter) or not os.access(interpreter, os.X_OK):
        raise RefusedError(f"{path}: its interpreter cannot be executed: {line}", NOT_EXECUTABLE)


def _check_on_path(path: str, program: str, environment: Mapping[str, str], line: str) -> None:
    try:
        lookup(program, environment)
    except RefusedError as error:
        hint = ""
        if " " in program:
            hint = "; write #!/usr/bin/env -S to give arguments"
        elif program == "python" and _lookup_or_none("python3", environment):
            hint = "; python3 is there, so write #!/usr/bin/env python3"
        what = "is not found on PATH" if error.code == NOT_FOUND else "cannot be executed"
        raise RefusedError(
            f"{path}: its interpreter is missing: {line}: {program!r} {what}{hint}", error.code
        ) from None


def _refuse_windows(path: str) -> None:
    """A shell takes the CR of a CRLF for a part of the word before it, and fails in ways hard to read."""
    sample = _read(path, _SAMPLE)
    first = sample.partition(b"\n")[0]
    if sample.startswith(b"\xef\xbb\xbf"):
        raise RefusedError(
            f"{path}: begins with a UTF-8 byte order mark, which sh takes for a word: save it without", 126
        )
    if first.endswith(b"\r") or sample.count(b"\r\n") * 2 > sample.count(b"\n"):
        raise RefusedError(
            f"{path}: has Windows line ends (CRLF), which a shell cannot read: {_CONVERT}", NOT_EXECUTABLE
        )


def _sh(environment: Mapping[str, str]) -> str:
    return "/bin/sh" if os.access("/bin/sh", os.X_OK) else lookup("sh", environment)


def _read(path: str, length: int, *, required: bool = True) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if not required and isinstance(error, PermissionError):
            return b""  # a binary may be executed without being readable
        raise RefusedError(f"{path}: cannot be read: {_reason(error)}", NOT_EXECUTABLE) from None
    try:
        return os.read(descriptor, length)
    except OSError as error:
        raise RefusedError(f"{path}: cannot be read: {_reason(error)}", NOT_EXECUTABLE) from None
    finally:
        os.close(descriptor)


def _missing(path: str) -> str:
    if os.path.islink(path):
        return f"is a link to {os.readlink(path)}, which is not there"
    return "no such file"


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
