"""What smentry itself would say of its settings: those of smentry.yaml, of hooks.d and of a request. It has no rule of its own
about a key's value: smentry is asked."""

from __future__ import annotations

import re
import stat
import tempfile
from pathlib import Path

from smentry import cli, config, hookfile, job
from smentry.ctl.check.finding import Finding
from smentry.ctl.request import document
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_ELSEWHERE = "unless that changes"
"""What a warning ends in that is about the machine smentry looks at: a container has other files."""

_OPTIONS = {option.attribute: option for option in config.OPTIONS}
_KEY = re.compile(r"[a-z_]+(?:\.[a-z_]+|\[\d+\])*(?=[: ])")
_NO_FILE = ""


def findings(path: Path) -> list[Finding]:
    """What is wrong with smentry.yaml. Raises RefusedError where it cannot be read."""
    file = str(path)
    with tempfile.TemporaryDirectory() as empty:
        try:
            flags = [
                config.Flag(config.CONFIG, file, "--config"),
                config.Flag(_OPTIONS["hooks_dir"], empty, "--hooks-dir"),
            ]
            settings = config.resolve(flags, {}, _NO_FILE)
        except RefusedError as refused:
            if not refused.message.startswith(f"{file}:"):
                raise
            return [_finding(file, "SM501", refused.message)]
    found = [_finding(file, "SM504", warning) for warning in certain(settings.warnings)]
    is_served = (
        settings.serve or settings.serve_signal or any(process.verb == "serve" for process in settings.processes)
    )
    for verb in ("train", "serve") if is_served else ("train",):
        late = beyond(settings, verb)
        if late:
            found.append(_finding(file, "SM503", f"stop_timeout: {late}"))
            break
        try:
            job.budget(job.stop_timeout(verb, settings), settings)
        except RefusedError as refused:
            found.append(_finding(file, "SM502", refused.message))
            break
    return found


def resolved(words: Sequence[str], environment: Mapping[str, str]) -> config.Settings:
    """The settings that smentry's own words and variables make in a container, as far as they can be known outside of it: without
    its files. Raises RefusedError."""
    invocation = cli.Invocation()
    cli.parse(["smentry", *words], invocation)
    elsewhere = (config.CONFIG, _OPTIONS["hooks_dir"], _OPTIONS["timeline"])
    flags = [flag for flag in invocation.flags if flag.option not in elsewhere]
    left = {option.variable for option in elsewhere}
    with tempfile.TemporaryDirectory() as empty:
        own = {name: value for name, value in environment.items() if name not in left}
        return config.resolve(flags, {**own, _OPTIONS["hooks_dir"].variable: empty}, _NO_FILE)


def command(words: Sequence[str]) -> list[str]:
    """The command that smentry's own words end in; empty where they name a verb or a script, or are refused."""
    invocation = cli.Invocation()
    try:
        cli.parse(["smentry", *words], invocation)
    except RefusedError:
        return []
    is_script = any(flag.option is _OPTIONS["script"] for flag in invocation.flags)
    return [] if invocation.verb or is_script else invocation.words


def certain(warnings: Iterable[str]) -> list[str]:
    """The warnings that hold wherever smentry is started."""
    return [warning for warning in warnings if not warning.endswith(_ELSEWHERE)]


def beyond(settings: config.Settings, verb: str) -> str:
    """Why a stop timeout that is set is longer than the platform's, empty where it is not."""
    platform = job.STOP_TIMEOUTS[verb]
    if settings.profile != config.PROFILES[0] or not settings.stop_timeout or settings.stop_timeout <= platform:
        return ""
    source = settings.where("stop_timeout")
    named = "" if source.endswith(": stop_timeout") else f"{source}: "
    return f"{named}smentry would use {settings.stop_timeout:g} s, and the platform kills after {platform:g} s"


def of_directory(path: Path) -> list[Finding]:
    """What is wrong with a file's place or mode where it lies in `hooks.d/EVENT/`, or beside the events."""
    file, settings = str(path), config.Settings()
    parent, above = path.absolute().parent, path.absolute().parent.parent
    is_executable = bool(path.stat().st_mode & stat.S_IXUSR)
    if parent.name == "hooks.d" and is_executable:
        what = "is passed over: expected it in the directory of its event, such as stopping/"
        return [Finding(file, 1, 1, "SM504", what)]
    if above.name != "hooks.d":
        return []
    try:
        hookfile.event(parent.name, f"hooks.d/{parent.name}", settings)
    except RefusedError as refused:
        return [Finding(file, 1, 1, "SM501", refused.message)]
    if not is_executable and not path.name.startswith(".") and not path.name.endswith("~"):
        return [Finding(file, 1, 1, "SM504", "has no executable bit, and is passed over: chmod +x makes a hook of it")]
    return []


def _finding(file: str, code: str, message: str) -> Finding:
    """The finding that a message of smentry's means; it begins with the file, the line and the key, as far as they are known."""
    line, column, key = 0, 0, None
    placed = re.match(rf"{re.escape(file)}(?::(\d+))?(?::(\d+))?: ", message)
    if placed:
        message = message[placed.end() :]
        line, column = int(placed[1] or 0), int(placed[2] or 0)
        key = _KEY.match(message)
    else:  # a budget speaks of the hooks that it is made of, the longest first
        named = re.search(rf"{re.escape(file)}:\d+: (\S+)", message)
        key = _KEY.match(f"{named[1]} ") if named else _KEY.match(message)
    message = re.sub(rf"{re.escape(file)}:\d+: ", "", message)
    text = Path(file).read_text(encoding="utf-8-sig", errors="replace")
    if key and not column:
        try:
            source = document.parse(file, text, as_yaml=True)
        except RefusedError:
            source = None
        steps = tuple(int(step) if step.isdigit() else step for step in re.findall(r"[a-z_]+|\d+", key[0]))
        if source and source.place(steps)[0] >= line:  # the line may be that of what the key is in
            line, column = source.place(steps)
    written = text.splitlines()[line - 1 : line] if line else []
    indented = len(written[0]) - len(written[0].lstrip()) if written else 0
    return Finding(file, line or 1, column or indented + 1, code, message)
