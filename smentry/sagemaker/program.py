"""Where the program of a verb is: the order of the search, and why. It does not start it."""

from __future__ import annotations

import os

from smentry import executable
from smentry.errors import NOT_EXECUTABLE, NOT_FOUND, USAGE, RefusedError
from smentry.sagemaker import inputs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from smentry.sagemaker.inputs import Channel
    from smentry.sagemaker.layout import Layout

COMMAND, TOOLKIT, SDK, ENTRY, ON_PATH, SCRIPT = "command", "toolkit", "sdk", "entry script", "on PATH", "script"
"""How a program is found: configured, by the training toolkit's convention, by the SDK's, as the entry script that the SDK's own
script would start, by its name on PATH, or as a script."""

_PACKAGE = ("setup.py", "pyproject.toml")
_TABLES = ("[build-system]", "[project]")
"""What is in a pyproject.toml of something that can be installed; many hold the settings of tools only."""
DRIVERS = "sm_drivers/sm_train.sh"
"""What the SageMaker Python SDK sends along from its version 3 on, and wants to be run."""
_LISTED = 12


class Found:
    """The program: its words, the directory it runs in (None: as it is), its name, and why it is this one.

    `path` is the file that is executed: `argv[0]`, where that is not a name that was looked up. `python` is the Python that runs
    it, empty where that is not known or none; `project` the directory of a package that is to be installed, or empty.
    """

    __slots__ = ("argv", "directory", "kind", "label", "path", "project", "python", "warnings", "why")

    def __init__(
        self, argv: list[str], directory: str | None, label: str, why: str, path: str = "", kind: str = SCRIPT
    ) -> None:
        self.argv = argv
        self.path = path or argv[0]
        self.directory = directory
        self.label = label
        self.why = why
        self.kind = kind
        self.python = ""
        self.project = ""
        self.warnings: list[str] = []

    @property
    def has_requirements(self) -> bool:
        """Whether something is to be installed for it: it is Python, and a package or beside a requirements.txt."""
        if not self.python or self.directory is None:
            return False
        return bool(self.project) or os.path.isfile(os.path.join(self.directory, "requirements.txt"))


def script(text: str, layout: Layout, environment: Mapping[str, str]) -> Found:
    """The file CHANNEL/PATH. Raises RefusedError: 127 no such channel or file, 126 one that cannot be run."""
    name, _, path = text.partition("/")
    path = os.path.normpath(path)
    known = inputs.channels(layout)
    warnings = []
    channel = known.get(name)
    if channel is None and os.path.isdir(layout.channel(name)):
        channel = inputs.Channel(name, declared=False)
        warnings.append(f"channel {name} is a directory, but {layout.channels} does not name it")
    if channel is None:
        there = f"the channels are {', '.join(known)}" if known else f"there are no channels in {layout.data}"
        raise RefusedError(f"no channel {name!r} for the script {text}: {there}", NOT_FOUND)
    if channel.mode == inputs.PIPE:
        raise RefusedError(
            f"the script {text} cannot be in channel {name}, which has InputMode Pipe: a FIFO holds no files;"
            " use InputMode File",
            NOT_EXECUTABLE,
        )
    directory = layout.channel(name)
    file = os.path.join(directory, path)
    if not os.path.lexists(file):
        raise RefusedError(f"no file {path!r} in channel {name} ({directory}): {_content(directory)}", NOT_FOUND)
    found = _in_channel(channel, path, layout, environment)
    found.warnings = warnings + found.warnings
    return found


def find(
    verb: str,
    layout: Layout,
    environment: Mapping[str, str],
    *,
    command: list[str] | None,
    command_from: str,
    own: str,
) -> Found:
    """The program of a verb where no script is named: first that is set or exists wins. Raises RefusedError.

    `command` is what is configured for the verb, `command_from` where; `own` is smentry's own script, which
    is not taken for the program when it is found under the name of the verb.
    """
    if command:
        path = executable.lookup(command[0], environment)
        return Found([*command], None, os.path.basename(path), command_from, path, COMMAND)
    looked = [f"--script, --{verb}: not given"]
    if verb == "train":
        found = _of_toolkit(layout, environment)
        if found:
            found.kind = TOOLKIT
            return found
        looked.append(f"SAGEMAKER_PROGRAM and sagemaker_program in {layout.hyperparameters}: not set")
        found = _of_drivers(layout, environment)
        if found:
            return found
        looked.append(f"{layout.channel(DRIVERS)}: no such file")
    found = _on_path(verb, environment, own, looked)
    return found or _in_code(verb, layout, environment, looked)


# -- the training toolkit's convention -------------------------------------------------------------


def named(layout: Layout, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """The name of the program in the code directory, and what names it: SAGEMAKER_PROGRAM or the hyperparameter.

    None where nothing does. Raises RefusedError.
    """
    name, source = environment.get("SAGEMAKER_PROGRAM"), "SAGEMAKER_PROGRAM"
    if not name:
        name, source = inputs.program(layout), "hyperparameter sagemaker_program"
    if not name:
        return None
    code = layout.code
    path = os.path.normpath(os.path.join(code, name))
    if name.startswith("-") or not path.startswith(code + os.sep):
        raise RefusedError(f"{source}: expected the name of a file in {code}, got {name!r}", USAGE)
    return os.path.relpath(path, code), source


def to_come(layout: Layout, environment: Mapping[str, str], source: str) -> Found:
    """What stands for a program until its code has been fetched from `source`. Raises RefusedError."""
    known = named(layout, environment)
    name = known[0] if known else "train"
    why = f"its code comes from {source}: it is looked for when that is there"
    return Found([os.path.join(layout.code, name)], layout.code, name, why, kind=TOOLKIT if known else SCRIPT)


def _of_toolkit(layout: Layout, environment: Mapping[str, str]) -> Found | None:
    """The program that SAGEMAKER_PROGRAM or the hyperparameter names, in the code directory."""
    known = named(layout, environment)
    if known is None:
        return None
    name, source = known
    code = layout.code
    path = os.path.join(code, name)
    why = f"{source} is {name}"
    if not os.path.isfile(path):
        package = _package(code, name, environment)
        if package:
            package.why = f"{why}; {package.why}"
            return package
    if not os.path.lexists(path):
        raise RefusedError(f"{source}: no {name!r} in {code}: {_content(code)}", NOT_FOUND)
    if name.endswith(".py"):
        executable.examine(path)
        found = Found([executable.python(environment), path], code, name, f"{why}; a .py is run with Python")
        found.python = found.path
        # Only this mark: what has a pyproject.toml beside its program is no package for the training toolkit.
        found.project = code if os.path.isfile(os.path.join(code, "setup.py")) else ""
        return found
    argv, how = executable.command(path, environment, directory=code, shell=True)
    return Found(argv, code, name, f"{why}; {how}")


def _package(code: str, name: str, environment: Mapping[str, str]) -> Found | None:
    """A package, run with `python -m`: its setup.py or pyproject.toml is in its own directory, or in that above it."""
    module = name[:-3] if name.endswith(".py") else name
    for directory in (os.path.join(code, name), code):
        if not name.endswith(".sh") and any(os.path.isfile(os.path.join(directory, mark)) for mark in _PACKAGE):
            beside = os.path.isfile(os.path.join(code, module, "__main__.py"))
            python = executable.python(environment)
            found = Found([python, "-m", module], code if beside else directory, name, "a package is run as a module")
            found.python = python
            found.project = directory if _can_be_installed(directory) else ""
            return found
    return None


def _can_be_installed(directory: str) -> bool:
    if os.path.isfile(os.path.join(directory, "setup.py")):
        return True
    with open(os.path.join(directory, "pyproject.toml"), encoding="utf-8", errors="replace") as file:
        return any(line.partition("#")[0].strip() in _TABLES for line in file)


def _of_drivers(layout: Layout, environment: Mapping[str, str]) -> Found | None:
    """The script with which the SageMaker Python SDK starts a program, in the channel that it made for that."""
    channel, _, name = DRIVERS.partition("/")
    path = os.path.join(layout.channel(channel), name)
    if not os.path.isfile(path):
        return None
    # As the SDK's own command does; the script's first line is empty, so that its #! line is none.
    argv = [executable.lookup("bash", environment), path]
    return Found(argv, None, name, f"{name} is in channel {channel}, where the SageMaker Python SDK puts it", kind=SDK)


# -- on PATH ---------------------------------------------------------------------------------------


def _on_path(verb: str, environment: Mapping[str, str], own: str, looked: list[str]) -> Found | None:
    searched = environment.get("PATH", os.defpath)
    passed = []
    for directory in searched.split(":"):
        path = os.path.join(directory, verb)
        if not os.path.isfile(path):
            continue
        if is_smentry(path, own) or path == environment.get("SMENTRY_PROGRAM"):
            # The latter: a script that runs `smentry VERB`, and was started for just that.
            passed.append(f"{path} is smentry itself")
        elif not os.stat(path).st_mode & 0o111:
            passed.append(f"{path} has no executable bit")
        else:
            executable.examine(path, needs_bit=True)
            executable.shebang(path, environment)
            return Found([path], None, path, f"{verb} is on PATH", kind=ON_PATH)
    looked.append(f"{verb} on PATH ({searched}): {', '.join(passed) or 'none'}")
    return None


def is_smentry(path: str, own: str) -> bool:
    """Whether a file is smentry under another name: the same file, a link to it, or a copy of its script."""
    try:
        if own and os.path.exists(own) and os.path.samefile(path, own):
            return True
        if os.path.basename(os.path.realpath(path)) == "smentry":
            return True
        with open(path, "rb") as file:
            head = file.read(1024)
    except OSError:
        return False
    return head.startswith(b"#!") and b"from smentry.__main__ import main" in head


# -- in the code channel and the code directory ----------------------------------------------------


def _in_code(verb: str, layout: Layout, environment: Mapping[str, str], looked: list[str]) -> Found:
    entrypoints = ("custom_entrypoint.sh", "custom_entrypoint.py")
    names = (*entrypoints, verb, f"{verb}.sh", f"{verb}.py")
    channels = inputs.channels(layout)
    code = channels.get("code")
    if code is None:
        looked.append("channel code: no such channel")
    elif code.mode == inputs.PIPE:
        looked.append("channel code: has InputMode Pipe, so no files")
    else:
        for name in names:
            if _is_there(layout.channel("code"), name):
                return _in_channel(code, name, layout, environment)
        looked.append(f"channel code ({layout.channel('code')}): none of {', '.join(names)}")
    for name in names:
        if _is_there(layout.code, name):
            path = os.path.join(layout.code, name)
            argv, how = executable.command(path, environment, directory=layout.code)
            found = Found(argv, layout.code, name, f"{name} is in {layout.code}; {how}")
            found.python = _python(path, argv, environment)
            return found
    missing = "" if os.path.isdir(layout.code) else " is not there, so"
    looked.append(f"{layout.code}:{missing} none of {', '.join(names)}")
    others = [channel for channel in channels.values() if channel.mode == inputs.FILE and channel.name != "code"]
    candidates = []
    for channel in others:
        there = [name for name in entrypoints if _is_there(layout.channel(channel.name), name)]
        if there:
            candidates.append((channel, there[0]))
    if len(candidates) > 1:
        listed = ", ".join(f"{channel.name}/{name}" for channel, name in candidates)
        raise RefusedError(
            f"more than one channel has a program for {verb}: {listed}: say which with --script", NOT_FOUND
        )
    if candidates:
        return _in_channel(*candidates[0], layout, environment)
    listed = ", ".join(channel.name for channel in others) or "there are none"
    looked.append(f"other File channels ({listed}): no {' or '.join(entrypoints)}")
    raise RefusedError(f"no program for {verb}; looked at:", NOT_FOUND, tuple(looked))


def _is_there(directory: str, name: str) -> bool:
    """Whether a candidate exists. A directory is none: `train/` is how a package of that name looks."""
    path = os.path.join(directory, name)
    return os.path.lexists(path) and not os.path.isdir(path)


def _in_channel(channel: Channel, path: str, layout: Layout, environment: Mapping[str, str]) -> Found:
    directory = layout.channel(channel.name)
    file = os.path.join(directory, path)
    real, root = os.path.realpath(file), os.path.realpath(directory)
    if real != root and not real.startswith(root + os.sep):
        raise RefusedError(
            f"{file}: is a link out of channel {channel.name}, to {real}: expected a file inside the channel",
            NOT_EXECUTABLE,
        )
    argv, how = executable.command(file, environment, directory=os.path.dirname(file))
    found = Found(argv, os.path.dirname(file), path, f"{path} is in channel {channel.name}; {how}")
    found.python = _python(file, argv, environment)
    if channel.sharded:
        found.warnings.append(
            f"channel {channel.name} is ShardedByS3Key, so other hosts may not have {path}:"
            " use FullyReplicated for code"
        )
    return found


def _python(path: str, argv: list[str], environment: Mapping[str, str]) -> str:
    """The Python that runs the script `path` by `argv`, empty where its name does not say that it is Python's."""
    if not path.endswith(".py"):
        return ""
    words = (executable.shebang(path, environment) or []) if argv == [path] else argv[:-1]
    for word in [word for part in words for word in part.split()]:
        if "python" in os.path.basename(word):
            return executable.lookup(word, environment)
    return executable.python(environment)


def _content(directory: str) -> str:
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        return f"the directory cannot be listed: {(error.strerror or str(error)).lower()}"
    if not names:
        return "it is empty"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"it holds {', '.join(names[:_LISTED])}{more}"
