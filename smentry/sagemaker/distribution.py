"""How a job's program is spread over processes and hosts, as the options, the platform and the SDK say. It launches nothing."""

from __future__ import annotations

import os

from smentry.errors import NOT_FOUND, RefusedError
from smentry.launch.asked import MPIRUN, NONE, TORCHRUN, Asked
from smentry.launch.cluster import Cluster
from smentry.sagemaker import arguments, environ, hardware, inputs, program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from smentry.sagemaker.inputs import Inputs
    from smentry.sagemaker.layout import Layout
    from smentry.sagemaker.program import Found

_LAUNCHERS = {
    "sagemaker_mpi_enabled": MPIRUN,
    "sagemaker_pytorch_ddp_enabled": TORCHRUN,
    "sagemaker_torch_distributed_enabled": TORCHRUN,
}
"""What the hyperparameters of a distributed run ask for, in the order in which AWS's framework images ask. Those in no list here
are for launchers that only these images have: that of SageMaker's data parallel library, and that of its training compiler."""

UNLAUNCHED = ("sagemaker_parameter_server_enabled", "sagemaker_multi_worker_mirrored_strategy_enabled")
"""Those for which TensorFlow's images too start the program by itself on each host, in surroundings of their own."""

_PROCESSES = "sagemaker_mpi_num_of_processes_per_host"
_TOTAL = "sagemaker_mpi_num_processes"
_OPTIONS = "sagemaker_mpi_custom_mpi_options"
_OPTIONS_OF_LIBRARY = "sagemaker_distributed_dataparallel_custom_mpi_options"
"""The training toolkit reads the first for every launcher, the others for mpirun only; the last goes with the data parallel
library."""

_GROUPS = "sagemaker_distribution_instance_groups"


class Choice:
    """What the options say: the `launcher`, the number of `processes`, `options`; and for each of them where it is from.

    A launcher of `auto`, and None for the others, is what nobody set.
    """

    __slots__ = ("launcher", "launcher_from", "options", "options_from", "processes", "processes_from")

    def __init__(
        self,
        launcher: str = "auto",
        processes: int | None = None,
        options: list[str] | None = None,
        *,
        launcher_from: str = "",
        processes_from: str = "",
        options_from: str = "",
    ) -> None:
        self.launcher = launcher
        self.processes = processes
        self.options = options
        self.launcher_from = launcher_from
        self.processes_from = processes_from
        self.options_from = options_from


class Spread:
    """What was asked of a launcher, and the hosts; `processes_from` and `options_from` say who set those, empty for nobody."""

    __slots__ = ("asked", "cluster", "options_from", "processes_from", "warnings")

    def __init__(self, asked: Asked, cluster: Cluster, processes_from: str, options_from: str) -> None:
        self.asked = asked
        self.cluster = cluster
        self.processes_from = processes_from
        self.options_from = options_from
        self.warnings: list[str] = []

    @property
    def text(self) -> str:
        """Who asked for how many, for a message."""
        hosts = len(self.cluster.hosts)
        return (
            f"{self.asked.processes} on {f'each of {hosts} hosts' if hosts > 1 else 'this host'} ({self.asked.origin})"
        )


def spread(found: Found, choice: Choice, layout: Layout, environment: Mapping[str, str]) -> Spread | None:
    """How the program is to be launched, None where it is to be started once, by itself. Raises RefusedError.

    Where nobody set a launcher, only a program of the toolkit's convention has one: by its hyperparameters. A host whose instance
    group takes no part in the distributed run starts the program by itself, as under the toolkit.
    """
    kind, origin = choice.launcher, choice.launcher_from
    if kind == "auto":
        kind, origin = _of_hyperparameters(found, layout)
    if kind == NONE:
        return None
    known = inputs.read(layout)
    hosts = _hosts(known, layout)
    if known.resources.current_host not in hosts:
        return None
    sent = inputs.driver(layout.channel("sm_drivers"), "distributed.json") if found.kind == program.ENTRY else {}
    processes, processes_from = _processes(choice, known, sent, layout, environment)
    options, options_from = _options(kind, choice, known, sent, layout)
    for word in options:
        unfit = arguments.why_unfit(word)
        if unfit:
            raise RefusedError(f"{options_from}: {word[:64]!a} {unfit}, so it cannot be an argument")
    total = 0
    if kind == MPIRUN and choice.processes is None:
        total = _count(known.hyperparameters.get(_TOTAL), f"{layout.hyperparameters}: {_TOTAL}")
    interface = known.resources.raw.get("network_interface_name") or ""
    if not interface.isprintable():
        raise RefusedError(f"{layout.resources}: network_interface_name: expected a name, got {interface!a}")
    made = Spread(
        Asked(kind, processes, options, origin, total),
        Cluster(hosts, known.resources.current_host, interface, known.resources.instance_type),
        processes_from,
        options_from,
    )
    if kind == TORCHRUN:
        made.warnings = [
            f"hyperparameter {name} is for mpirun, and torchrun starts {found.label}: it is ignored"
            for name in (_OPTIONS, _OPTIONS_OF_LIBRARY)
            if known.hyperparameters.get(name)
        ]
    return made


def _of_hyperparameters(found: Found, layout: Layout) -> tuple[str, str]:
    """The launcher that the job's hyperparameters ask for, and which of them does. Raises RefusedError where smentry has none."""
    if found.kind != program.TOOLKIT:
        return NONE, ""
    parameters = inputs.hyperparameters(layout)
    for name in environ.DISTRIBUTED:
        value = parameters.get(name)
        if isinstance(value, str) and value.lower() not in ("", "true"):
            raise RefusedError(f"{layout.hyperparameters}: {name}: expected true or false, got {value!r}")
    for name, kind in _LAUNCHERS.items():
        if parameters.get(name):
            return kind, f"hyperparameter {name}"
    for name in environ.DISTRIBUTED:
        if parameters.get(name) and name not in UNLAUNCHED:
            raise RefusedError(
                f"hyperparameter {name}: smentry has no launcher for it: expected sagemaker_torch_distributed_enabled or"
                f" sagemaker_mpi_enabled; or say with --launcher what starts {found.label} on each host: torchrun, mpirun,"
                f" or none for {found.label} by itself"
            )
    return NONE, ""


def _hosts(known: Inputs, layout: Layout) -> list[str]:
    """The hosts that take part, in the order of their ranks: those of the instance groups that the job names, else all."""
    groups = environ.distributing(known, layout, known.hyperparameters)
    if not groups:
        return known.resources.hosts
    there = [group["instance_group_name"] for group in known.resources.groups]
    unknown = [name for name in groups if there and name not in there]
    if unknown and known.hyperparameters.get(_GROUPS) is not None:
        raise RefusedError(
            f"{layout.hyperparameters}: {_GROUPS}: expected some of {', '.join(there)}, got {unknown[0]!r}"
        )
    return environ.taking_part(known, groups)


def _processes(
    choice: Choice, known: Inputs, sent: Mapping[str, Any], layout: Layout, environment: Mapping[str, str]
) -> tuple[int, str]:
    """The processes on each host, and where the number is from."""
    if choice.processes is not None:
        return choice.processes, choice.processes_from
    count = _count(known.hyperparameters.get(_PROCESSES), f"{layout.hyperparameters}: {_PROCESSES}")
    if count:
        return count, f"hyperparameter {_PROCESSES}"
    path = os.path.join(layout.channel("sm_drivers"), "distributed.json")
    count = _count(sent.get("process_count_per_node"), f"{path}: process_count_per_node")
    if count:
        return count, path
    count = hardware.gpus(environment)
    if count:
        return count, "this host's GPUs"
    count = hardware.neurons(known.resources.instance_type)
    if count:
        return count, "this host's NeuronCores"
    return 1, "this host has neither GPUs nor NeuronCores"


def _options(
    kind: str, choice: Choice, known: Inputs, sent: Mapping[str, Any], layout: Layout
) -> tuple[list[str], str]:
    """Further words for the launcher, and where they are from."""
    if choice.options is not None:
        return choice.options, choice.options_from
    if kind != MPIRUN:
        return [], ""
    text = known.hyperparameters.get(_OPTIONS)
    if text:
        if not isinstance(text, str):
            raise RefusedError(f"{layout.hyperparameters}: {_OPTIONS}: expected options for mpirun, got {text!r}")
        return text.split(), f"hyperparameter {_OPTIONS}"
    words = sent.get("mpi_additional_options")
    if words:
        path = os.path.join(layout.channel("sm_drivers"), "distributed.json")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise RefusedError(f"{path}: mpi_additional_options: expected a list of words, got {words!r}")
        return words, path
    return [], ""


def _count(value: Any, where: str) -> int:
    """A number of processes, 0 where none is given."""
    if value is None or value == "":
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise RefusedError(f"{where}: expected a number of processes, got {value!r}")
    return value


# -- what the SageMaker Python SDK 3 sends ----------------------------------------------------------


def entry(layout: Layout, environment: Mapping[str, str], asker: str) -> Found:
    """The entry script of the SDK's sourcecode.json, to be launched by smentry in the place of the SDK's own script.

    Raises RefusedError where the job has none, or wants what only that script does.
    """
    path = os.path.join(layout.channel("sm_drivers"), "sourcecode.json")
    source = inputs.driver(layout.channel("sm_drivers"), "sourcecode.json")
    instead = f"expected a job with an entry_script for {asker}; without it the SDK's own script is run"
    name = source.get("entry_script")
    if source.get("command"):
        raise RefusedError(f"{path}: the job runs a command, {source['command']!r}: {instead}")
    if not isinstance(name, str) or not name:
        raise RefusedError(f"{path}: entry_script: expected the name of a script, got {name!r}: {instead}", NOT_FOUND)
    wanted = source.get("requirements")
    if wanted not in (None, "", "auto", "requirements.txt"):
        raise RefusedError(
            f"{path}: requirements: expected requirements.txt for {asker}, got {wanted!r}: rename the file; without"
            f" {asker} the SDK's own script is run"
        )
    found = program.script(f"code/{name}", layout, environment)
    found.directory = layout.channel("code")
    found.kind = program.ENTRY
    found.why = f"entry_script of {path} is {name}; {asker} launches it"
    return found
