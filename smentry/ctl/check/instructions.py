"""What a Dockerfile says: its instructions, its stages, and the variables in force. It knows no rule, and nothing of images."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_DIRECTIVE = re.compile(r"\s*#\s*(\w+)\s*=\s*(\S*)\s*$")
_HEREDOC = re.compile(r"(?:^|\s)\d*<<(-?)(['\"]?)([^\s<'\"|&;()]+)\2(?=$|[\s|&;()>])")
_WITH_HEREDOCS = frozenset(("RUN", "COPY", "ADD"))
_VARIABLE = re.compile(r"(?<!\\)\$(?:(\w+)|\{(\w+)(?::?([-+])((?:[^{}]|\{[^}]*\})*))?\})")


@dataclass(frozen=True)
class Heredoc:
    """What stands below an instruction up to a word of its choice."""

    line: int
    """Of its first line, from 1."""
    text: str


@dataclass(frozen=True)
class Instruction:
    """An instruction of a stage."""

    name: str
    """In upper case."""
    value: str
    """What follows the name, its lines joined, without comments and heredocs; variables as they were written."""
    line: int
    """Its first line, from 1."""
    lines: tuple[str, ...]
    """The lines as they were written, heredocs included."""
    heredocs: tuple[Heredoc, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict, hash=False, compare=False)
    """ARG and ENV in force, by name."""

    @property
    def json(self) -> list[str] | None:
        """The words of the exec form; None where Docker takes it for shell form."""
        try:
            words = json.loads(self.value)
        except ValueError:
            return None
        return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else None

    @property
    def expanded(self) -> str:
        """The value with the variables that are known."""
        return expand(self.value, self.variables)

    def place(self, text: str = "") -> tuple[int, int]:
        """Line and column, from 1, of `text` in it, or of its own beginning."""
        if text:
            for number, line in enumerate(self.lines):
                found = re.search(rf"(?<![\w-]){re.escape(text)}", line)
                if found and not line.lstrip().startswith("#"):
                    return self.line + number, found.start() + 1
        first = self.lines[0]
        return self.line, len(first) - len(first.lstrip()) + 1


@dataclass
class Stage:
    """What follows a FROM, up to the next one."""

    image: str
    """What it is built from: an image, or an earlier stage."""
    name: str | None
    instructions: list[Instruction]
    start: Instruction
    """The FROM."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """The text with `$NAME`, `${NAME}`, `${NAME:-word}` and `${NAME:+word}` replaced; a name that is not known is left."""

    def value(found: re.Match[str]) -> str:
        known = variables.get(found[1] or found[2])
        if found[3] == "-":
            return known or expand(found[4], variables)
        if found[3] == "+":
            return expand(found[4], variables) if known else ""
        return found[0] if known is None else known

    return _VARIABLE.sub(value, text)


def stages(text: str) -> list[Stage]:
    """The stages of a Dockerfile, in order; none where it has no FROM."""
    made: list[Stage] = []
    outside: dict[str, str] = {}
    arguments: dict[str, str] = {}
    environments: list[dict[str, str]] = []
    for instruction in _parse(text):
        if instruction.name == "FROM":
            image, name = _source(expand(instruction.value, outside))
            earlier = _index(made, image)
            environments.append({} if earlier is None else dict(environments[earlier]))
            arguments = {}
            made.append(Stage(image, name, [], instruction))
            continue
        variables = {**arguments, **environments[-1]} if made else outside
        if instruction.name == "ARG":
            values = _pairs(instruction)
            (arguments if made else outside).update(
                {name: expand(value or outside.get(name, value), variables) for name, value in values if value or made}
            )
        elif instruction.name == "ENV" and made:
            environments[-1].update({name: expand(value, variables) for name, value in _pairs(instruction)})
        if made:
            now = {**{name: value for name, value in arguments.items() if value}, **environments[-1]}
            made[-1].instructions.append(
                Instruction(
                    instruction.name, instruction.value, instruction.line, instruction.lines, instruction.heredocs, now
                )
            )
    return made


def lineage(made: Sequence[Stage]) -> list[Stage]:
    """The stages that the image is made of: the last one, and before it those it is FROM. Not those that are copied from."""
    line = [made[-1]]
    place = len(made) - 1
    while True:
        earlier = _index(made[:place], line[0].image)
        if earlier is None:
            return line
        line.insert(0, made[earlier])
        place = earlier


def _index(made: Sequence[Stage], name: str) -> int | None:
    for index in reversed(range(len(made))):
        if (made[index].name or "").lower() == name.lower():
            return index
    return None


def _source(value: str) -> tuple[str, str | None]:
    from dockerfile_parse.parser import image_from

    image, name = image_from(value)
    return image or "", name


def _pairs(instruction: Instruction) -> list[tuple[str, str]]:
    """The names and values of an ARG or ENV; none where Docker would refuse them."""
    from dockerfile_parse.util import extract_key_values

    try:
        pairs: list[tuple[str, str]] = extract_key_values(False, {}, {}, instruction.value)
    except (ValueError, IndexError):
        return []
    return pairs


def _parse(text: str) -> Iterable[Instruction]:
    from dockerfile_parse import DockerfileParser

    lines = text.lstrip("\ufeff").replace("\r\n", "\n").split("\n")
    prepared, heredocs = _without_heredocs(lines)
    content = io.BytesIO("\n".join(prepared).encode("utf-8", "replace"))
    for entry in DockerfileParser(fileobj=content, env_replace=False).structure:
        if entry["instruction"] == "COMMENT":
            continue
        first, last = entry["startline"], entry["endline"]
        own = heredocs.get(last, ())
        end = max([last, *(heredoc.line + heredoc.text.count("\n") - 1 for heredoc in own)])
        yield Instruction(entry["instruction"], entry["value"].strip(), first + 1, tuple(lines[first : end + 1]), own)


def _without_heredocs(lines: Sequence[str]) -> tuple[list[str], dict[int, tuple[Heredoc, ...]]]:
    """The lines with comments for what dockerfile-parse does not know: heredocs, and empty lines within an instruction.

    And the heredocs of the instruction whose last line has that index. Source: BuildKit's Dockerfile reference.
    """
    prepared = list(lines)
    heredocs: dict[int, tuple[Heredoc, ...]] = {}
    escape = _escape(lines)
    index, whole = 0, ""
    while index < len(lines):
        line = lines[index].strip()
        if line.startswith("#"):
            pass
        elif whole and not line:
            prepared[index] = "#"
        elif line.endswith(escape) and index + 1 < len(lines):
            whole += line[:-1] + " "
        else:
            whole += line
            name, _, value = whole.strip().partition(" ")
            if name.upper() == "ONBUILD":
                name, _, value = value.strip().partition(" ")
            if name.upper() in _WITH_HEREDOCS and "<<" in value and not value.strip().startswith("["):
                last = index
                found, index = _bodies(lines, index + 1, value)
                for masked in range(last + 1, index + 1):
                    prepared[masked] = "#"
                if found:
                    heredocs[last] = found
            whole = ""
        index += 1
    return prepared, heredocs


def _bodies(lines: Sequence[str], index: int, value: str) -> tuple[tuple[Heredoc, ...], int]:
    """The heredocs that begin at `index`, and the index of the last line of them."""
    found: list[Heredoc] = []
    for dash, _, word in _HEREDOC.findall(value):
        body = []
        began = index
        while index < len(lines):
            line = lines[index].lstrip("\t") if dash else lines[index]
            index += 1
            if line == word:
                break
            body.append(line)
        else:
            return (), began - 1 if not found else index - 1  # no end: no heredoc that Docker would build
        found.append(Heredoc(began + 1, "\n".join(body) + "\n"))
    return tuple(found), index - 1


def _escape(lines: Iterable[str]) -> str:
    for line in lines:
        found = _DIRECTIVE.match(line)
        if not found:
            return "\\"
        if found[1].lower() == "escape":
            return found[2] or "\\"
    return "\\"
