"""The parts of a request that the rules look at. It has no rule, and expects nothing: a request may hold anything at all."""

from __future__ import annotations

from typing import NamedTuple

from smentry.ctl.request.job import FILE, REPLICATED, SHARDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    Steps = tuple["str | int", ...]


class Breach(NamedTuple):
    """A rule that is broken, and the part of the request where that is to be seen."""

    code: str
    path: Steps
    message: str


def at(value: object, *steps: str | int) -> Any:
    """What these steps lead to, None where they lead nowhere."""
    for step in steps:
        if isinstance(step, int):
            if not isinstance(value, list) or step >= len(value):
                return None
            value = value[step]
        elif isinstance(value, dict):
            value = value.get(step)
        else:
            return None
    return value


def text(value: object, *steps: str | int) -> str:
    """The text that these steps lead to, empty where there is none."""
    found = at(value, *steps)
    return found if isinstance(found, str) else ""


def channels(request: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The channels with their places in the list, as far as they are any."""
    listed = at(request, "InputDataConfig")
    for index, channel in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(channel, dict):
            yield index, channel


def mode(request: Mapping[str, Any], channel: Mapping[str, Any]) -> str:
    """A channel's input mode: its own, else that of the job."""
    return text(channel, "InputMode") or text(request, "AlgorithmSpecification", "TrainingInputMode") or FILE


def distribution(channel: Mapping[str, Any]) -> str:
    """How a channel's objects are shared out among the hosts. What is no S3 source is the same on all of them."""
    return text(channel, "DataSource", "S3DataSource", "S3DataDistributionType") or REPLICATED


def groups(request: Mapping[str, Any]) -> list[str]:
    """The names of the job's instance groups."""
    listed = at(request, "ResourceConfig", "InstanceGroups")
    return [text(group, "InstanceGroupName") for group in (listed if isinstance(listed, list) else ())]


def shards(request: Mapping[str, Any], channel: Mapping[str, Any]) -> str:
    """Why a channel is not whole on every host, empty where it is."""
    if distribution(channel) == SHARDED:
        return f"S3DataDistributionType is {SHARDED}: with several instances only one of them gets the script"
    named = at(channel, "DataSource", "S3DataSource", "InstanceGroupNames")
    left = [group for group in groups(request) if group not in named] if isinstance(named, list) and named else []
    return f"the instances of {', '.join(left)} do not get it (InstanceGroupNames)" if left else ""
