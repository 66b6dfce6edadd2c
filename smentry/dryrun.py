"""The YAML that --dry-run prints. It knows what a secret looks like, and shows none."""

from __future__ import annotations

import re

import yaml

from smentry.config import OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from smentry.config import Settings
    from smentry.hookfile import Configured
    from smentry.job import Job
    from smentry.pid1.hooks import Copy

_HIDDEN = "***"
_SECRET = re.compile(r"pass(word|wd|phrase)?|secret|token|credential|(api|access|private|auth)[-_]?key", re.I)
_ASSIGNED = re.compile(r"([^\s=:]+)([=:])(.+)", re.S)
_URL = re.compile(r"(\w+://[^\s/:@]*):[^\s/@]+@")


def render(job: Job, settings: Settings) -> str:
    """What would run, in which surroundings, and where each setting came from."""
    program: dict[str, Any] = {
        "verb": job.verb,
        "found": job.found or "the command line",
        "executes": job.path,
    }
    program["command"] = conceal(job.argv)
    program["directory"] = job.directory or "unchanged"
    if job.identity:
        uid, gid, groups = job.identity
        program["user"] = {"uid": uid, "gid": gid, "groups": groups}
    program["environment"] = {name: job.environment[name] for name in job.added}
    document = {
        "program": program,
        "budget": {
            "stop_timeout": _number(job.stop_timeout),
            "stopping_hooks": _number(job.stopping),
            "program": _number(job.grace),
            "after_hooks": _number(job.after),
            "kill": _number(job.reserve),
        },
        "hooks": [_hook(hook) for hook in sorted(settings.hooks, key=_turn)],
        "settings": {
            option.attribute: {
                "value": _shown(option.attribute, settings, job),
                "from": settings.origins[option.attribute],
            }
            for option in OPTIONS
        },
        "warnings": job.warnings,
    }
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)
    return text


def _turn(hook: Configured) -> tuple[int, int]:
    """Where a hook's event stands in the order in which they can happen; signals' come after the start."""
    from smentry.pid1 import signals
    from smentry.pid1.hooks import EVENTS

    if hook.event in EVENTS:
        place = EVENTS.index(hook.event)
        return (place * 2, 0)
    return (1, signals.number(hook.event))


def _hook(hook: Configured) -> dict[str, Any]:
    from smentry.pid1 import signals

    shown: dict[str, Any] = {"on": hook.event, "name": hook.name}
    if hook.run:
        shown["run"] = conceal(hook.run)
    if hook.signal:
        shown["signal"] = signals.name(hook.signal)
    if hook.wait_for:
        shown["wait_for"] = hook.wait_for
    if hook.copy is not None:
        shown["copy"] = _copy(hook.copy)
    shown["timeout"] = "none" if hook.timeout == float("inf") else _number(hook.timeout)
    if hook.event == "start":
        shown["required"] = hook.required
    shown["place"] = hook.place
    return shown


def _copy(copy: Copy) -> dict[str, Any]:
    if copy.source:
        return {"from": copy.source, "to": copy.to}
    shown: dict[str, Any] = {"newest": copy.newest, "to": copy.to, "settled": _number(copy.settled)}
    if copy.complete:
        shown["complete"] = copy.complete
    return shown


def _shown(name: str, settings: Settings, job: Job) -> Any:
    from smentry.pid1 import signals

    value = getattr(settings, name)
    if name == "stop_timeout":
        return _number(job.stop_timeout)
    if name == "rewrite":
        return [f"{signals.name(start)}:{signals.name(to) if to else 0}" for start, to in value]
    if name == "stop_signals":
        return [signals.name(number) for number in value]
    if name == "parent_death" and value is not None:
        return signals.name(value)
    if isinstance(value, float):
        return _number(value)
    if name in ("train", "serve"):
        return conceal(value) if value else None
    return list(value) if isinstance(value, tuple) else value


def _number(seconds: float) -> float | int:
    return int(seconds) if seconds == int(seconds) else round(seconds, 3)


def conceal(words: list[str]) -> list[str]:
    """The words of a command, with `***` for the value of --api-token and the like and a URL's password."""
    shown: list[str] = []
    hide = False
    for word in words:
        if hide and not word.startswith("-"):
            shown.append(_HIDDEN)
            hide = False
            continue
        assigned = _ASSIGNED.fullmatch(word)
        if assigned and _SECRET.search(assigned[1]):
            shown.append(assigned[1] + assigned[2] + _HIDDEN)
        else:
            shown.append(_URL.sub(rf"\1:{_HIDDEN}@", word))
        hide = word.startswith("-") and not assigned and bool(_SECRET.search(word))
    return shown
