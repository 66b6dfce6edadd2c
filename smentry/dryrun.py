"""The YAML that --dry-run prints. It starts nothing, and shows no secret."""

from __future__ import annotations

import yaml

from smentry import processfile
from smentry.config import OPTIONS
from smentry.masking import conceal, mask, shown, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from smentry.config import Settings
    from smentry.hookfile import Configured
    from smentry.job import Job
    from smentry.pid1.hooks import Copy
    from smentry.sagemaker.distribution import Spread
    from smentry.sagemaker.steps import Step


def render(job: Job, settings: Settings) -> str:
    """What would run, in which surroundings, and where each setting came from."""
    program: dict[str, Any] = {
        "verb": job.verb,
        "found": job.found or "the command line",
        "executes": job.path,
    }
    secrets = values(job.environment)
    program["command"] = [mask(word, secrets) for word in conceal(job.argv)]
    program["directory"] = job.directory or "unchanged"
    if job.identity:
        uid, gid, groups = job.identity
        program["user"] = {"uid": uid, "gid": gid, "groups": groups}
    program["environment"] = _Lines(
        (name, mask(shown(name, job.environment[name]), secrets)) for name in sorted(job.added)
    )
    document = {
        "program": program,
        **({"launcher": _launcher(job.spread)} if job.spread else {}),
        "budget": {
            "stop_timeout": _number(job.stop_timeout),
            "stopping_hooks": _number(job.stopping),
            "program": _number(job.grace),
            "after_hooks": _number(job.after),
            "kill": _number(job.reserve),
        },
        "before": [_step(step) for step in job.steps],
        "hooks": [_hook(hook) for hook in sorted(settings.hooks, key=_turn)],
        **({"watch": str(job.watch)} if job.watch else {}),
        "processes": [_companion(companion) for companion in job.companions],
        "settings": {
            option.attribute: {
                "value": _shown(option.attribute, settings, job),
                "from": settings.origins[option.attribute],
            }
            for option in OPTIONS
        },
        "warnings": job.warnings,
    }
    text: str = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None
    )
    return text


class _Lines(dict[str, str]):
    """What is written one entry a line: a training program has some sixty variables."""


class _Dumper(yaml.SafeDumper):
    """Writes what is short on one line, but not _Lines."""


_Dumper.add_representer(
    _Lines, lambda dumper, lines: dumper.represent_mapping("tag:yaml.org,2002:map", lines, flow_style=False)
)


def _launcher(spread: Spread) -> dict[str, Any]:
    """What starts the program, on which hosts, and who asked for it."""
    asked, cluster = spread.asked, spread.cluster
    processes: dict[str, Any] = {"value": asked.processes, "from": spread.processes_from}
    shown = {
        "kind": {"value": asked.kind, "from": asked.origin},
        "hosts": cluster.hosts,
        "node_rank": cluster.rank,
        "processes": processes,
    }
    if asked.total:
        processes["of_all_hosts"] = asked.total
    if asked.options:
        shown["options"] = {"value": conceal(asked.options), "from": spread.options_from}
    return shown


def _step(step: Step) -> dict[str, str]:
    """What smentry itself does before the program, around the user's start hooks."""
    return {"name": step.name, "does": step.what, "when": f"{'after' if step.late else 'before'} the start hooks"}


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


def _companion(companion: processfile.Configured) -> dict[str, Any]:
    from smentry.pid1 import signals

    shown: dict[str, Any] = {"name": companion.name, "run": conceal(companion.run)}
    shown["stop_signal"] = signals.name(companion.stop_signal)
    shown["required"] = companion.required
    shown["restart"] = processfile.ON_FAILURE if companion.restarts else processfile.NEVER
    if companion.restarts:
        shown["restarts"] = companion.restarts
    if companion.verb:
        shown["verb"] = companion.verb
    shown["place"] = companion.place
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
    if name in ("parent_death", "serve_signal") and value is not None:
        return signals.name(value)
    if isinstance(value, float):
        return _number(value)
    if name in ("train", "serve", "launcher_options"):
        return conceal(value) if value else None
    return list(value) if isinstance(value, tuple) else value


def _number(seconds: float) -> float | int:
    return int(seconds) if seconds == int(seconds) else round(seconds, 3)
