"""What is wrong with a Dockerfile, as far as it can be told without building it. How an image starts is known to starting.py."""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path

from smentry.ctl.check import drivers, instructions, packages, shell, starting
from smentry.ctl.check.copies import Copy, Files, Unseen, copy
from smentry.ctl.check.finding import Finding
from smentry.ctl.check.starting import MISSING, THERE, UNSEEN, File
from smentry.errors import RefusedError
from smentry.sagemaker.layout import BASE, Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smentry.ctl.check.instructions import Instruction, Stage

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The engine's default."""
CODE = Layout(BASE).code
TOOLKIT = ("SAGEMAKER_PROGRAM", "SAGEMAKER_SUBMIT_DIRECTORY")
"""The variables of the training toolkit, which looks for its program in /opt/ml/code."""
IDLE = frozenset(("sh", "bash", "ash", "zsh", "python", "python3", "ipython", "train", "serve"))
"""A CMD of one of these words is for people who start the image by hand, or what the platform says anyway."""

_LARGEST = 1 << 20
_FETCHES = frozenset(
    (
        "curl",
        "wget",
        "cp",
        "mv",
        "git",
        "tar",
        "unzip",
        "aws",
        "s5cmd",
        "gsutil",
        "install",
        "rsync",
        "huggingface-cli",
        "hf",
    )
)
_WRITTEN = re.compile(r">\s*(/opt/ml/[^\s;&|\"']+)")
_BARE = re.compile(
    r"""(?:docker\.io/|public\.ecr\.aws/docker/)?(?:library/)?
    (?:scratch|python|debian|ubuntu|alpine|busybox|amazonlinux|fedora|centos|rockylinux|almalinux|oraclelinux|archlinux|r-base|julia
      |golang|rust|gcc|node|ruby|openjdk|eclipse-temurin|amazoncorretto|opensuse/\w+|redhat/ubi\d+(?:-minimal)?|bitnami/python
      |rayproject/ray(?:-ml)?|ghcr\.io/astral-sh/uv|registry\.access\.redhat\.com/ubi\d+/[\w-]+
      |nvidia/cuda|pytorch/pytorch|tensorflow/tensorflow|continuumio/(?:mini|ana)conda3|condaforge/(?:miniforge3|mambaforge)
      |mambaorg/micromamba|rocker/[\w-]+
      |nvcr\.io/nvidia/(?:pytorch|tensorflow|cuda|jax)|public\.ecr\.aws/(?:ubuntu/ubuntu|amazonlinux/amazonlinux|debian/debian))
    (?:[:@].*)?""",
    re.VERBOSE,
)
"""Base images that are known to have no program for a verb, and no ENTRYPOINT that understands one."""
_OF_PLATFORM = re.compile(r"\.dkr\.ecr\.|sagemaker|djl-inference", re.IGNORECASE)
"""Base images that come with an executable `train` or `serve`."""


def findings(path: Path) -> list[Finding]:
    """What is wrong with a Dockerfile. Raises OSError where it cannot be read, and RefusedError where it is none."""
    if path.stat().st_size > _LARGEST:
        raise RefusedError(f"{path}: is larger than 1 MiB: expected a Dockerfile")
    text = path.read_text(encoding="utf-8", errors="replace")
    stages = instructions.stages(text)
    if not stages:
        raise RefusedError(f"{path}: has no FROM: expected a Dockerfile")
    recipe = Recipe(path, instructions.lineage(stages))
    found = {*_starts(recipe), *_under_base(recipe), *_drivers(recipe)}
    return sorted(finding for finding in found if finding)


class Recipe:
    """The image that a Dockerfile makes, as far as it says."""

    def __init__(self, path: Path, line: list[Stage]) -> None:
        self.path = path
        self.base = line[0].image
        self.start = line[-1].start
        self.entrypoint: Instruction | None = None
        self.command: Instruction | None = None
        self.stop_signal: Instruction | None = None
        self.directory = "/"
        self.copies: list[Copy] = []
        self.runs: list[Instruction] = []
        self.volumes: list[Instruction] = []
        self.variables: dict[str, str] = {}
        for stage in line:
            self._add(stage)
        self.files = Files(path, self.copies, [commands_of(run) for run in self.runs])

    def _add(self, stage: Stage) -> None:
        has_command = False
        for one in stage.instructions:
            if one.name == "ENTRYPOINT":
                self.entrypoint = one if one.value else None
                if not has_command:
                    self.command = None  # that of the base is reset
            elif one.name == "CMD":
                self.command, has_command = one, True
            elif one.name == "STOPSIGNAL":
                self.stop_signal = one
            elif one.name == "WORKDIR":
                self.directory = posixpath.normpath(posixpath.join(self.directory, one.expanded.strip("\"'")))
            elif one.name in ("COPY", "ADD"):
                made = copy(one, self.directory)
                if made:
                    self.copies.append(made)
            elif one.name == "RUN":
                self.runs.append(one)
            elif one.name == "VOLUME":
                self.volumes.append(one)
            self.variables.update(one.variables)

    def finding(self, code: str, message: str, instruction: Instruction, text: str = "") -> Finding:
        """A finding in this Dockerfile."""
        line, column = instruction.place(text)
        return Finding(str(self.path), line, column, code, message, instruction.line)

    def look(self, name: str) -> File | None:
        """A file that an ENTRYPOINT names, where it can be seen."""
        for place in [posixpath.join(self.directory, name)] if "/" in name else self._on_path(name):
            found = self.files.look(posixpath.normpath(place))
            if isinstance(found, File):
                return found
        return None

    def verb(self, name: str) -> tuple[str, File | None]:
        """Whether an executable of this name is on PATH, and the file where it can be seen. The base is not asked."""
        unseen = False
        for place in self._on_path(name):
            found = self.files.look(place)
            if isinstance(found, File):
                return THERE, found
            unseen |= isinstance(found, Unseen) or "$" in place.replace("$PATH", "")
        texts = [re.sub(r"\bmkdir\b[^&;|\n]*", "", commands_of(run)) for run in self.runs]
        if unseen or any(re.search(rf"(?<![\w.-]){name}(?![\w.-])", text) for text in texts):
            return UNSEEN, None
        if any(packages.may_bring_programs(text, self._requirements) for text in texts):
            return UNSEEN, None
        return MISSING, None

    @property
    def follows_toolkit(self) -> bool:
        """Whether the training toolkit is in the image, which looks for code in /opt/ml/code."""
        installed = any(re.search(r"sagemaker[-_](?:training|containers|inference)", run.value) for run in self.runs)
        return installed or any(name in self.variables for name in TOOLKIT) or bool(_OF_PLATFORM.search(self.base))

    def _requirements(self, name: str) -> str | None:
        """The text of a requirements file; None where it cannot be seen."""
        found = self.files.look(posixpath.normpath(posixpath.join(self.directory, name)))
        return found.text if isinstance(found, File) else None

    def _on_path(self, name: str) -> list[str]:
        path = self.variables.get("PATH", PATH)
        path = re.sub(r"\$\{?PATH\}?", PATH, path)
        return [posixpath.join(place, name) for place in path.split(":") if place.startswith(("/", "$"))]


def commands_of(run: Instruction) -> str:
    """The shell's text of a RUN: its own, or its heredocs' where they are what the shell reads."""
    text = run.expanded
    while text.startswith("--"):
        text = text.partition(" ")[2].lstrip()
    listed = _json(text)
    if listed is not None:
        return " ".join(listed)
    if run.heredocs and re.match(r"(?:\S*/)?(?:ba|da|z)?(?:sh)?\s*(?:-\w+\s+)*<<", text):
        return "\n".join(instructions.expand(heredoc.text, run.variables) for heredoc in run.heredocs)
    return text


def _json(text: str) -> list[str] | None:
    try:
        words = json.loads(text)
    except ValueError:
        return None
    return [str(word) for word in words] if isinstance(words, list) else None


# -- how it starts ---------------------------------------------------------------------------------


def _starts(recipe: Recipe) -> Iterator[Finding]:
    entrypoint = recipe.entrypoint
    train, _ = recipe.verb("train")
    if train == MISSING and _OF_PLATFORM.search(recipe.base):
        train = UNSEEN
    words = entrypoint.json if entrypoint else None
    if entrypoint and words is None:
        yield _not_exec(recipe, entrypoint)
    elif entrypoint and words:
        own, others = starting.problems(words, recipe.look, train)
        for code, message in own:
            yield recipe.finding(code, message, entrypoint)
        yield from others
    else:
        yield from _verbs(recipe)
    yield from _command(recipe)
    if recipe.stop_signal:
        yield from _stop_signal(recipe, recipe.stop_signal)


def _not_exec(recipe: Recipe, entrypoint: Instruction) -> Finding:
    value = entrypoint.value
    if value.startswith("["):
        what = f"{value} is no JSON list of strings, so it is handed to /bin/sh -c as it is"
        return recipe.finding("SM111", what, entrypoint)
    words = value.split()
    if words[0] == "exec":  # the shell is replaced, and SIGTERM arrives
        return recipe.finding(
            "SM101", "/bin/sh -c is handed the platform's train or serve as $0, and drops it", entrypoint
        )
    return recipe.finding("SM101", f"/bin/sh -c is PID 1, and {words[0]} its child", entrypoint)


def _verbs(recipe: Recipe) -> Iterator[Finding]:
    """No ENTRYPOINT, or an empty one: what is called train or serve on PATH is PID 1."""
    verdicts = [recipe.verb(name) for name in ("train", "serve")]
    for _, file in verdicts:
        if file:
            yield from starting.of_file(file, executed=True)
    if any(verdict != MISSING for verdict, _ in verdicts) or not _BARE.fullmatch(recipe.base):
        return
    if any("custom_entrypoint." in source for one in recipe.copies for source in one.sources):
        return  # the documented name of what a request's ContainerEntrypoint starts
    what = "there is no ENTRYPOINT, and no executable train or serve on PATH"
    if recipe.command:
        yield recipe.finding("SM104", f"{what}; the platform's train replaces CMD", recipe.command)
    else:
        yield recipe.finding("SM104", what, recipe.start)


def _command(recipe: Recipe) -> Iterator[Finding]:
    command = recipe.command
    if command is None or (recipe.entrypoint is None and _BARE.fullmatch(recipe.base)):
        return  # the latter: SM104, or there is a train, and CMD is for people
    words = command.json
    words = command.value.split() if words is None else words
    if any(words) and not (len(words) == 1 and posixpath.basename(words[0]) in IDLE):
        yield recipe.finding("SM105", f"the platform's train or serve replaces {command.value}", command)


def _stop_signal(recipe: Recipe, instruction: Instruction) -> Iterator[Finding]:
    value = instruction.expanded.strip("\"'")
    if not is_term(value):
        yield recipe.finding("SM109", f"the platform sends SIGTERM, not {value}", instruction)


def is_term(signal: str) -> bool:
    """Whether that is SIGTERM, or not known."""
    return signal.upper() in ("SIGTERM", "TERM", "15", "") or "$" in signal


# -- what is in it ---------------------------------------------------------------------------------


def _under_base(recipe: Recipe) -> Iterator[Finding]:
    follows_toolkit = recipe.follows_toolkit
    for one in recipe.copies:
        if is_hidden(one.target, follows_toolkit):
            what = f"{one.target} may be hidden by the platform's mounts"
            yield recipe.finding("SM106", what, one.instruction)
    for run in recipe.runs:
        for command in shell.commands(commands_of(run)):
            target = _fetched(command.program)
            if target and is_hidden(target, follows_toolkit):
                yield recipe.finding("SM106", f"{target} may be hidden by the platform's mounts", run, target)
        for written in _WRITTEN.findall(commands_of(run)):
            if is_hidden(written, follows_toolkit):
                yield recipe.finding("SM106", f"{written} may be hidden by the platform's mounts", run, written)
    for volume in recipe.volumes:
        for place in volume.json or volume.expanded.split():
            if is_below(place.rstrip("/")):
                yield recipe.finding("SM107", f"{place} is the platform's to mount", volume)


def is_below(path: str) -> bool:
    """Whether that is /opt/ml or below it."""
    return path == BASE or path.startswith(BASE + "/")


def is_hidden(path: str, follows_toolkit: bool) -> bool:
    """Whether what an image has there may be hidden. The training toolkit's images have their code in /opt/ml/code."""
    of_toolkit = follows_toolkit and (path == CODE or path.startswith(CODE + "/"))
    return is_below(path) and not of_toolkit


def _fetched(words: Iterable[str]) -> str:
    """Where a command puts a file that it copies or fetches, if that is below /opt/ml."""
    program, *rest = words or ("",)
    if posixpath.basename(program) not in _FETCHES:
        return ""
    if posixpath.basename(program) in ("cp", "mv", "install", "rsync"):
        rest = rest[-1:]
    places = [re.sub(r"^(?:--?[\w-]+=|-[a-zA-Z]*[oOPdC])(?=/)", "", word) for word in rest]
    return next((place for place in places if is_below(place.rstrip("/"))), "")


def _drivers(recipe: Recipe) -> Iterator[Finding]:
    for run in recipe.runs:
        for command in shell.commands(commands_of(run)):
            for word in drivers.in_command(list(command.program)):
                yield recipe.finding("SM108", f"{word} brings an NVIDIA driver", run, word)
    for one in recipe.copies:
        for source in one.sources:
            if drivers.is_library(source):
                yield recipe.finding("SM108", f"{source} is a part of an NVIDIA driver", one.instruction, source)
