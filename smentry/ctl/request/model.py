"""What CreateTrainingJob accepts, by the service model that botocore brings. It knows neither files nor what a job does."""

from __future__ import annotations

import difflib
import functools
import json
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    Path = tuple["str | int", ...]

LOCAL = "file://"
"""What the S3Uri of a directory of this machine begins with, in requests that never leave it."""

_KINDS = {
    "structure": (dict, "an object"),
    "map": (dict, "an object"),
    "list": (list, "a list"),
    "string": (str, "text"),
    "boolean": (bool, "true or false"),
    "integer": (int, "a whole number"),
    "long": (int, "a whole number"),
}
_BITS = {"integer": 31, "long": 63}

_EXAMPLES = {
    "RoleArn": "arn:aws:iam::111122223333:role/NAME",
    "S3Uri": "s3://BUCKET/PREFIX",
    "TrainingJobName": "my-job-1: letters, digits and hyphens between them",
    "ChannelName": "training: letters, digits, '.', '-' and '_'",
    "TrainingEnvironmentKey": "MY_NAME: letters, digits and '_', no digit first",
}
"""By the model's names of its shapes: what says more than their pattern."""

_FEW = 8
"""Values that a message still lists; of more it says the nearest."""

_SHOWN = 80
"""Characters of a value that a message repeats."""


@dataclass(frozen=True)
class Problem:
    """One thing that the service would refuse. `path` leads to it; of what is missing, to where it should be."""

    path: Path
    message: str
    """What was expected and what was got, without the path."""

    def __str__(self) -> str:
        return f"{written(self.path)}: {self.message}" if self.path else self.message


def problems(request: object, *, local: bool = False) -> list[Problem]:
    """Everything in the request that breaks a constraint of the service model, in its order; no network is asked.

    With `local` the S3Uri of a data source may also be `file://` and an absolute path.
    """
    return list(_Walk(local).value(_input(), request, ()))


def shapes() -> Mapping[str, Any]:
    """The members that a request may have, by name, as botocore's shapes."""
    members: Mapping[str, Any] = _input().members
    return members


def written(path: Path) -> str:
    """A path as people write it: `InputDataConfig[0].ChannelName`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.replace("-", "_").isidentifier():
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text


def meant(name: str, known: Iterable[str]) -> str:
    """What may stand there instead of this name, for the end of a message."""
    names = list(known)
    folded = {other.lower(): other for other in names}
    nearest = [folded[close] for close in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.6)]
    if len(names) <= _FEW:
        listed = "expected one of " + ", ".join(names) if len(names) > 1 else f"expected {names[0]}"
        return f"{listed}; the nearest is {nearest[0]}" if nearest and len(names) > 3 else listed
    if nearest:
        return f"the nearest {'is' if len(nearest) == 1 else 'are'} {', '.join(nearest)}"
    return f"expected one of {len(names)} names, such as {', '.join(names[:3])}"


@functools.cache
def _input() -> Any:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    # Without a session, which reads the user's configuration and may not like it.
    described = Loader().load_service_model("sagemaker", "service-2")
    return ServiceModel(described, "sagemaker").operation_model("CreateTrainingJob").input_shape


class _Walk:
    """Goes through a value and its shape side by side."""

    def __init__(self, local: bool) -> None:
        self.local = local

    def value(self, shape: Any, value: object, path: Path) -> Iterator[Problem]:
        python, expected = _KINDS[shape.type_name]
        if not isinstance(value, python) or (isinstance(value, bool) and python is not bool):
            yield Problem(path, f"expected {expected}, got {shown(value)}")
            return
        yield from getattr(self, f"_{shape.type_name}")(shape, value, path)

    def _structure(self, shape: Any, value: Mapping[str, object], path: Path) -> Iterator[Problem]:
        for name in shape.required_members:
            if name not in value:
                kind = _KINDS[shape.members[name].type_name][1]
                yield Problem((*path, name), f"is required, and is not there: expected {kind}")
        for name, inner in value.items():
            if name in shape.members:
                yield from self.value(shape.members[name], inner, (*path, name))
            else:
                yield Problem((*path, name), f"is not known here: {meant(name, shape.members)}")

    def _map(self, shape: Any, value: Mapping[str, object], path: Path) -> Iterator[Problem]:
        yield from self._size(shape, value, path, "entries")
        for name, inner in value.items():
            for problem in self.value(shape.key, name, (*path, name)):
                yield Problem(problem.path, f"the name: {problem.message}")
            yield from self.value(shape.value, inner, (*path, name))

    def _list(self, shape: Any, value: Sequence[object], path: Path) -> Iterator[Problem]:
        yield from self._size(shape, value, path, "items")
        for index, inner in enumerate(value):
            yield from self.value(shape.member, inner, (*path, index))

    def _string(self, shape: Any, value: str, path: Path) -> Iterator[Problem]:
        if shape.enum and value not in shape.enum:
            yield Problem(path, f"got {shown(value)}: {meant(value, shape.enum)}")
        if self.local and shape.name == "S3Uri" and value.startswith(f"{LOCAL}/") and path[0] == "InputDataConfig":
            return
        if not value.isprintable() and any("\ud800" <= character <= "\udfff" for character in value):
            yield Problem(path, "expected Unicode text, got bytes that are no UTF-8")
            return
        pattern = shape.metadata.get("pattern")
        if len(value) > shape.metadata.get("max", len(value)) or pattern is None or _matches(pattern, value):
            yield from self._size(shape, value, path, "characters")
            return
        example = _EXAMPLES.get(shape.name)
        expected = f"text such as {example}" if example else f"text that matches {pattern}"
        if "\n" in value and _matches(pattern, value.replace("\n", " ")):
            expected = "text without line breaks"
        yield Problem(path, f"expected {expected}, got {shown(value)}")

    def _boolean(self, shape: Any, value: bool, path: Path) -> Iterator[Problem]:
        yield from ()

    def _integer(self, shape: Any, value: int, path: Path) -> Iterator[Problem]:
        most: int = 2 ** _BITS[shape.type_name] - 1
        lowest, highest = shape.metadata.get("min", -most - 1), shape.metadata.get("max", most)
        if not lowest <= value <= highest:
            limits = f"of {lowest} or more" if highest == most and value < lowest else f"from {lowest} to {highest}"
            yield Problem(path, f"expected a whole number {limits}, got {value}")

    _long = _integer

    def _size(
        self, shape: Any, value: Mapping[str, object] | Sequence[object], path: Path, of: str
    ) -> Iterator[Problem]:
        lowest, highest = shape.metadata.get("min", 0), shape.metadata.get("max")
        if len(value) < lowest or (highest is not None and len(value) > highest):
            limits = (
                f"{lowest} or more" if highest is None else f"{lowest} to {highest}" if lowest else f"at most {highest}"
            )
            yield Problem(path, f"expected {limits} {of}, got {len(value)}")


@functools.cache
def _matches(pattern: str, value: str) -> bool:
    """Whether all of the text matches. The patterns are Java's, where \\d and \\w are ASCII and \\p{…} is not."""
    import regex

    flags = regex.UNICODE if r"\p" in pattern else regex.ASCII
    return regex.fullmatch(pattern, value, flags) is not None


def shown(value: object) -> str:
    """A value as a message repeats it, in JSON's words, not too long."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
