"""The variables of a training program, those of the AWS training toolkit and of the SageMaker Python SDK's drivers.

It works them out of what it is given, and sets none; whether the kernel can pass them is not its affair.
"""

from __future__ import annotations

import os

from smentry import jsontext
from smentry.errors import RefusedError
from smentry.sagemaker import arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from smentry.sagemaker.inputs import Inputs
    from smentry.sagemaker.layout import Layout

MASTER_PORT = 7777
"""The SDK's drivers' port for the processes of a job to meet at."""

LOG_LEVEL = 20
"""logging.INFO."""

DISTRIBUTED = (
    "sagemaker_mpi_enabled",
    "sagemaker_parameter_server_enabled",
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_pytorch_ddp_enabled",
    "sagemaker_pytorch_xla_multi_worker_enabled",
    "sagemaker_multi_worker_mirrored_strategy_enabled",
    "sagemaker_torch_distributed_enabled",
)
"""Hyperparameters of the SDK that ask for a distributed run; where one does, this host's instance group takes part."""


class Facts:
    """What is known besides the inputs: the program and the machine.

    `entry` is the script's name within `directory`, both empty for a command. `source` and `distributed` are what the SDK's
    drivers' sourcecode.json and distributed.json say, empty where they are not there.
    """

    __slots__ = ("cpus", "directory", "distributed", "entry", "gpus", "neurons", "source")

    def __init__(self, entry: str = "", directory: str = "", *, cpus: int = 1, gpus: int = 0, neurons: int = 0) -> None:
        self.entry = entry
        self.directory = directory
        self.cpus = cpus
        self.gpus = gpus
        self.neurons = neurons
        self.source: dict[str, Any] = {}
        self.distributed: dict[str, Any] = {}


def variables(inputs: Inputs, layout: Layout, environment: Mapping[str, str], facts: Facts) -> dict[str, str]:
    """All variables to set for a training program. Raises RefusedError, and RecursionError where values are nested too deep.

    The toolkit's own are what the platform says, whatever `environment` has under their names, as under the toolkit; those that
    only the SDK's drivers know are not among them where `environment` has them.
    """
    told = _of_toolkit(inputs, layout, environment, facts)
    made = {f"SM_{name.upper()}": text(value) for name, value in told.items()}
    parameters = inputs.hyperparameters
    made["CURRENT_HOST"] = inputs.resources.current_host
    made["SAGEMAKER_JOB_NAME"] = text(parameters.get("sagemaker_job_name"))
    made["SAGEMAKER_REGION"] = text(parameters.get("sagemaker_region")) or _region(environment)
    for name, value in _of_drivers(inputs, layout, facts).items():
        if name not in environment:
            made.setdefault(name, text(value))
    return made


def text(value: Any) -> str:
    """A value as a variable has it: texts as they are, null as nothing, all else as JSON with sorted keys and no blanks."""
    if value is None:
        return ""
    return value if isinstance(value, str) else jsontext.dumps(value)


def _region(environment: Mapping[str, str]) -> str:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "SAGEMAKER_REGION"):
        if environment.get(name):
            return environment[name]
    return ""


# -- the toolkit's ---------------------------------------------------------------------------------


def _of_toolkit(inputs: Inputs, layout: Layout, environment: Mapping[str, str], facts: Facts) -> dict[str, Any]:
    """The variables by the toolkit's own names, not yet texts; those with the same name but for its case: the last."""
    users = arguments.users(inputs.hyperparameters)
    described = _described(inputs, layout, environment, facts, users)
    told = {
        **{name: described[name] for name in _BOTH},
        "hps": users,
        "framework_params": described["additional_framework_parameters"],
        "channels": sorted(inputs.channels),
        "user_args": arguments.arguments(users),
        "training_env": described,
    }
    if inputs.resources.topology:
        told["topology"] = inputs.resources.topology
    for name, path in described["channel_input_dirs"].items():
        told[f"channel_{name}"] = path
    for name, value in users.items():
        told[f"hp_{name}"] = value
    return told


_BOTH = (
    "current_host", "current_instance_group", "current_instance_group_hosts", "current_instance_type",
    "distribution_instance_groups", "framework_module", "hosts", "input_config_dir", "input_data_config", "input_dir",
    "instance_groups", "instance_groups_dict", "is_hetero", "log_level", "model_dir", "module_dir", "module_name",
    "network_interface_name", "num_cpus", "num_gpus", "num_neurons", "output_data_dir", "output_dir",
    "output_intermediate_dir", "resource_config", "user_entry_point",
)  # fmt: skip
"""What has a variable of its own and is in SM_TRAINING_ENV too."""


def _described(
    inputs: Inputs, layout: Layout, environment: Mapping[str, str], facts: Facts, users: dict[str, Any]
) -> dict[str, Any]:
    """SM_TRAINING_ENV: the toolkit's keys, and those that only the drivers' has."""
    parameters, resources = inputs.hyperparameters, inputs.resources
    framework = {
        name: value
        for name, value in parameters.items()
        if name.startswith(arguments.PREFIX) and name not in arguments.RESERVED
    }
    groups = distributing(inputs, layout, framework)
    hosts = taking_part(inputs, groups)
    master = (hosts or resources.hosts)[0]
    parallel = environment.get("SM_HP_MP_PARAMETERS")
    port = environment.get("SM_MASTER_PORT", "")
    return {
        "additional_framework_parameters": framework,
        "channel_input_dirs": {name: layout.channel(name) for name in inputs.channels},
        "current_host": resources.current_host,
        "current_instance_group": resources.group,
        "current_instance_group_hosts": _hosts_of(inputs, resources.group),
        "current_instance_type": resources.instance_type,
        "distribution_hosts": hosts,
        "distribution_instance_groups": groups,
        "framework_module": environment.get("SAGEMAKER_TRAINING_MODULE"),
        "hosts": resources.hosts,
        "hyperparameters": users,
        "input_config_dir": layout.config,
        "input_data_config": {name: channel.raw for name, channel in inputs.channels.items()},
        "input_data_dir": layout.data,
        "input_dir": os.path.dirname(layout.config),
        "instance_groups": [group["instance_group_name"] for group in resources.groups],
        "instance_groups_dict": {group["instance_group_name"]: group for group in resources.groups},
        "is_hetero": len(resources.groups) > 1,
        "is_master": resources.current_host == master,
        "is_modelparallel_enabled": parallel and parallel != "{}",
        "is_smddpmprun_installed": _is_on_path("smddpmprun", environment),
        "is_smddprun_installed": _is_on_path("smddprun", environment),
        "job_name": environment.get("TRAINING_JOB_NAME"),
        "log_level": parameters.get("sagemaker_container_log_level", LOG_LEVEL),
        "master_addr": environment.get("SM_MASTER_ADDR") or sorted(resources.hosts)[0],
        "master_hostname": master,
        "master_port": int(port) if port.isdigit() else port or MASTER_PORT,
        "model_dir": layout.model,
        "module_dir": _module_directory(inputs, layout, environment, facts),
        "module_name": facts.entry[:-3] if facts.entry.endswith(".py") else facts.entry,
        "network_interface_name": resources.network_interface,
        "num_cpus": facts.cpus,
        "num_gpus": facts.gpus,
        "num_neurons": facts.neurons,
        "output_data_dir": os.path.join(layout.output, "data"),
        "output_dir": layout.output,
        "output_intermediate_dir": os.path.join(layout.output, "intermediate"),
        "resource_config": resources.raw,
        "topology": resources.topology,
        "user_entry_point": facts.entry,
    }


def distributing(inputs: Inputs, layout: Layout, framework: dict[str, Any]) -> list[str]:
    """The names of the instance groups that a distributed run is spread over."""
    named = framework.get("sagemaker_distribution_instance_groups")
    if named is None:
        return [inputs.resources.group] if any(framework.get(name) for name in DISTRIBUTED) else []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise RefusedError(
            f"{layout.hyperparameters}: sagemaker_distribution_instance_groups: expected a list of names, got {named!r}"
        )
    return named


def taking_part(inputs: Inputs, named: list[str]) -> list[str]:
    """The hosts of those groups; without any groups, all hosts."""
    groups = inputs.resources.groups
    if not groups:
        return inputs.resources.hosts
    return [host for group in groups if group["instance_group_name"] in named for host in group["hosts"]]


def _hosts_of(inputs: Inputs, name: str) -> list[str]:
    for group in inputs.resources.groups:
        if group["instance_group_name"] == name:
            hosts: list[str] = group["hosts"]
            return hosts
    return []


def _module_directory(inputs: Inputs, layout: Layout, environment: Mapping[str, str], facts: Facts) -> str:
    """Where the code came from: what the job says, else where it lies."""
    said = inputs.hyperparameters.get("sagemaker_submit_directory") or environment.get("SAGEMAKER_SUBMIT_DIRECTORY")
    return text(said) or facts.directory or layout.code


def _is_on_path(name: str, environment: Mapping[str, str]) -> bool:
    for directory in environment.get("PATH", os.defpath).split(":"):
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return True
    return False


# -- the drivers' ----------------------------------------------------------------------------------


def _of_drivers(inputs: Inputs, layout: Layout, facts: Facts) -> dict[str, Any]:
    """What only the drivers of the SageMaker Python SDK v3 set.

    They write `-` in a hyperparameter's name as `_`, so that a shell can read the variable.
    """
    resources = inputs.resources
    told: dict[str, Any] = {
        "SM_INPUT_DATA_DIR": layout.data,
        "SM_OUTPUT_FAILURE": layout.failure,
        "SM_HOST_COUNT": len(resources.hosts),
        "SM_CURRENT_HOST_RANK": resources.rank,
        "SM_MASTER_ADDR": sorted(resources.hosts)[0],
        "SM_MASTER_PORT": MASTER_PORT,
    }
    entry = facts.source.get("entry_script") or facts.entry
    if entry:
        told["SM_SOURCE_DIR"] = facts.directory or layout.channel("code")
        told["SM_ENTRY_SCRIPT"] = entry
    if facts.distributed:
        told["SM_DISTRIBUTED_DRIVER_DIR"] = os.path.join(layout.channel("sm_drivers"), "distributed_drivers")
        told["SM_DISTRIBUTED_CONFIG"] = facts.distributed
    for name, value in arguments.users(inputs.hyperparameters).items():
        if "-" in name:
            told[f"SM_HP_{name.replace('-', '_').upper()}"] = value
    return told
