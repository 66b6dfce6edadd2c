from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from container import Directory, Tree

from smentry.errors import RefusedError
from smentry.sagemaker import distribution, environ, hardware, program
from smentry.sagemaker.distribution import Choice, Spread
from smentry.sagemaker.layout import Layout
from smentry.sagemaker.program import Found

if TYPE_CHECKING:
    from pathlib import Path

PARAMETERS = "input/config/hyperparameters.json"
RESOURCES = "input/config/resourceconfig.json"
HOSTS = {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"], "network_interface_name": "eth0"}
GROUPS = {
    "current_host": "algo-3",
    "hosts": ["algo-1", "algo-2", "algo-3"],
    "current_group_name": "gpu",
    "instance_groups": [
        {"instance_group_name": "cpu", "instance_type": "ml.m5.large", "hosts": ["algo-1"]},
        {"instance_group_name": "gpu", "instance_type": "ml.g5.xlarge", "hosts": ["algo-2", "algo-3"]},
    ],
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A machine without GPUs and NeuronCores, and a job of two hosts."""
    monkeypatch.setattr(hardware, "gpus", lambda environment: 0)
    monkeypatch.setattr(hardware, "neurons", lambda instance_type: 0)
    tree = Tree(tmp_path)
    tree.put(RESOURCES, HOSTS)
    return tree


def spread(tree: Tree, choice: Choice | None = None, kind: str = program.TOOLKIT, **parameters: Any) -> Spread | None:
    if parameters:
        tree.put(PARAMETERS, parameters)
    found = Found(["python3", "train.py"], None, "train.py", "a test", kind=kind)
    return distribution.spread(found, choice or Choice(), Layout(str(tree.base)), {})


def some(tree: Tree, choice: Choice | None = None, kind: str = program.TOOLKIT, **parameters: Any) -> Spread:
    found = spread(tree, choice, kind, **parameters)
    assert found is not None
    return found


# -- which launcher ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sagemaker_torch_distributed_enabled", "torchrun"),
        ("sagemaker_pytorch_ddp_enabled", "torchrun"),
        ("sagemaker_mpi_enabled", "mpirun"),
    ],
)
def test_a_hyperparameter_of_the_sdk_asks_for_a_launcher(tree: Tree, name: str, kind: str) -> None:
    asked = some(tree, **{name: "true"}).asked
    assert (asked.kind, asked.origin) == (kind, f"hyperparameter {name}")
    assert spread(tree, **{name: "false"}) is None
    assert spread(tree, Choice("none"), **{name: "true"}) is None


@pytest.mark.parametrize("name", ["sagemaker_mpi_enabled", "sagemaker_distributed_dataparallel_enabled"])
def test_a_text_that_is_not_true_launches_nothing(tree: Tree, name: str) -> None:
    with pytest.raises(RefusedError, match=rf"hyperparameters\.json: {name}: expected true or false, got 'False'$"):
        spread(tree, **{name: "False"})
    assert spread(tree, sagemaker_mpi_enabled="null", sagemaker_torch_distributed_enabled="") is None
    assert some(tree, sagemaker_mpi_enabled="True").asked.kind == "mpirun"


@pytest.mark.parametrize("kind", [program.COMMAND, program.SDK, program.ON_PATH, program.SCRIPT])
def test_only_a_program_of_the_toolkits_convention_is_launched_for_a_hyperparameter(tree: Tree, kind: str) -> None:
    assert spread(tree, kind=kind, sagemaker_torch_distributed_enabled="true") is None
    assert some(tree, Choice("torchrun"), kind).asked.kind == "torchrun"


def test_mpirun_is_first_where_several_are_asked_for(tree: Tree) -> None:
    both = {"sagemaker_torch_distributed_enabled": "true", "sagemaker_mpi_enabled": "true"}
    assert some(tree, **both).asked.kind == "mpirun"


@pytest.mark.parametrize(
    "name",
    [
        "sagemaker_distributed_dataparallel_enabled",
        "sagemaker_pytorch_xla_multi_worker_enabled",
    ],
)
def test_what_smentry_cannot_launch_is_refused_unless_the_user_says_what_is_to_be(tree: Tree, name: str) -> None:
    with pytest.raises(RefusedError, match=f"^hyperparameter {name}: smentry has no launcher for it: expected sage"):
        spread(tree, **{name: "true"})
    assert spread(tree, Choice("none")) is None
    assert some(tree, Choice("torchrun", launcher_from="--launcher")).asked.origin == "--launcher"


def test_every_hyperparameter_of_a_distributed_run_is_honoured_or_refused_or_known_to_need_no_launcher(
    tree: Tree,
) -> None:
    for name in distribution.UNLAUNCHED:
        assert spread(tree, **{name: "true"}) is None
    for name in set(environ.DISTRIBUTED) - set(distribution.UNLAUNCHED):
        try:
            found = spread(tree, **{name: "true"})
        except RefusedError:
            continue  # the test before has looked at what is said
        assert found is not None


# -- hosts ---------------------------------------------------------------------------------------------


def test_the_hosts_are_the_jobs_in_the_platforms_order(tree: Tree) -> None:
    cluster = some(tree, Choice("torchrun")).cluster
    assert (cluster.hosts, cluster.rank, cluster.master) == (["algo-1", "algo-2"], 1, "algo-1")
    assert (cluster.interface, cluster.instance_type) == ("eth0", "local")


def test_without_a_description_of_hosts_this_one_is_all_and_no_interface_is_named(tmp_path: Path) -> None:
    cluster = some(Tree(tmp_path), Choice("torchrun", processes=1)).cluster
    assert (len(cluster.hosts), cluster.rank, cluster.interface) == (1, 0, "")


def test_of_a_heterogeneous_cluster_the_groups_take_part_that_the_job_names(tree: Tree) -> None:
    tree.put(RESOURCES, GROUPS)
    asked = {"sagemaker_torch_distributed_enabled": "true"}
    cluster = some(tree, **asked).cluster  # none named: this host's own
    assert (cluster.hosts, cluster.rank) == (["algo-2", "algo-3"], 1)
    named = {"sagemaker_distribution_instance_groups": '["cpu", "gpu"]'}
    assert some(tree, **asked, **named).cluster.hosts == ["algo-1", "algo-2", "algo-3"]
    assert some(tree, Choice("torchrun"), **named).cluster.hosts == ["algo-1", "algo-2", "algo-3"]


def test_a_host_of_another_group_starts_its_program_by_itself(tree: Tree) -> None:
    tree.put(RESOURCES, GROUPS)
    named = {"sagemaker_distribution_instance_groups": '["cpu"]'}
    assert spread(tree, sagemaker_torch_distributed_enabled="true", **named) is None
    assert spread(tree, Choice("torchrun"), **named) is None


def test_a_group_that_the_job_has_not_is_refused(tree: Tree) -> None:
    tree.put(RESOURCES, GROUPS)
    named = {"sagemaker_distribution_instance_groups": '["gpu", "gpus"]'}
    with pytest.raises(RefusedError, match=r"_instance_groups: expected some of cpu, gpu, got 'gpus'$"):
        spread(tree, sagemaker_torch_distributed_enabled="true", **named)


def test_without_named_groups_a_launcher_that_the_user_set_takes_all_hosts(tree: Tree) -> None:
    tree.put(RESOURCES, GROUPS)
    assert some(tree, Choice("torchrun")).cluster.hosts == ["algo-1", "algo-2", "algo-3"]


# -- processes and options -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpus", "neurons", "processes", "origin"),
    [
        (8, 2, 8, "this host's GPUs"),
        (0, 2, 2, "this host's NeuronCores"),
        (0, 0, 1, "this host has neither GPUs nor NeuronCores"),
    ],
)
def test_a_host_has_a_process_for_each_gpu_else_neuron_core_else_one(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, gpus: int, neurons: int, processes: int, origin: str
) -> None:
    monkeypatch.setattr(hardware, "gpus", lambda environment: gpus)
    monkeypatch.setattr(hardware, "neurons", lambda instance_type: neurons)
    found = some(tree, Choice("torchrun"))
    assert (found.asked.processes, found.processes_from) == (processes, origin)


def test_the_hyperparameter_counts_over_the_hardware_and_the_option_over_both(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "gpus", lambda environment: 8)
    name = "sagemaker_mpi_num_of_processes_per_host"
    found = some(tree, sagemaker_torch_distributed_enabled="true", **{name: "4"})
    assert (found.asked.processes, found.processes_from) == (4, f"hyperparameter {name}")
    found = some(tree, Choice(processes=2, processes_from="SMENTRY_LAUNCHER_PROCESSES"))
    assert (found.asked.processes, found.processes_from) == (2, "SMENTRY_LAUNCHER_PROCESSES")


@pytest.mark.parametrize("value", ["four", "-1", "1.5", "true", "[4]"])
def test_a_number_of_processes_that_is_none_is_refused(tree: Tree, value: str) -> None:
    name = "sagemaker_mpi_num_of_processes_per_host"
    with pytest.raises(RefusedError, match=rf"{name}: expected a number of processes, got "):
        spread(tree, sagemaker_mpi_enabled="true", **{name: value})


def test_mpirun_gets_the_jobs_own_options_and_its_number_of_processes(tree: Tree) -> None:
    options = {"sagemaker_mpi_custom_mpi_options": "--verbose -x A=1", "sagemaker_mpi_num_processes": "3"}
    found = some(tree, sagemaker_mpi_enabled="true", **options)
    assert (found.asked.options, found.asked.total) == (["--verbose", "-x", "A=1"], 3)
    assert found.options_from == "hyperparameter sagemaker_mpi_custom_mpi_options"
    found = some(tree, Choice(processes=2, options=["-v"], options_from="--launcher-options"))
    assert (found.asked.options, found.asked.total, found.options_from) == (["-v"], 0, "--launcher-options")


@pytest.mark.parametrize(
    ("value", "why"),
    [("-x A=\0", "holds a NUL character"), ("-x A=\ud800", "cannot be written in the locale's encoding")],
)
def test_options_that_the_kernel_cannot_pass_are_refused(tree: Tree, value: str, why: str) -> None:
    with pytest.raises(
        RefusedError, match=rf"^hyperparameter sagemaker_mpi_custom_mpi_options: 'A=.*' {why}, so it can"
    ):
        spread(tree, sagemaker_mpi_enabled="true", sagemaker_mpi_custom_mpi_options=value)


def test_an_interface_that_is_no_name_is_refused(tree: Tree) -> None:
    tree.put(RESOURCES, {**HOSTS, "network_interface_name": "eth0\0"})
    with pytest.raises(RefusedError, match=r"resourceconfig\.json: network_interface_name: expected a name, got 'eth0"):
        spread(tree, Choice("torchrun"))


@pytest.mark.parametrize(
    "name", ["sagemaker_mpi_custom_mpi_options", "sagemaker_distributed_dataparallel_custom_mpi_options"]
)
def test_torchrun_is_not_given_the_options_of_mpirun_and_that_is_said(tree: Tree, name: str) -> None:
    found = some(tree, sagemaker_pytorch_ddp_enabled="true", **{name: "--verbose"})
    assert found.asked.options == []
    assert found.warnings == [f"hyperparameter {name} is for mpirun, and torchrun starts train.py: it is ignored"]


# -- what the SageMaker Python SDK 3 sends -------------------------------------------------------------


def sent(tree: Tree, source: dict[str, Any], distributed: dict[str, Any] | None = None) -> Layout:
    tree.channels(code="File", sm_drivers="File")
    tree.put("input/data/code/train.py", "print()\n")
    tree.put("input/data/sm_drivers/sourcecode.json", source)
    tree.put("input/data/sm_drivers/distributed.json", distributed or {})
    return Layout(str(tree.base))


def test_the_entry_script_is_found_as_a_script_of_the_channel(tree: Tree) -> None:
    found = distribution.entry(sent(tree, {"entry_script": "train.py"}), tree.environment, "--launcher")
    assert found.argv[-1] == f"{tree.base}/input/data/code/train.py"
    assert (found.directory, found.label, found.kind) == (f"{tree.base}/input/data/code", "train.py", program.ENTRY)


def test_an_entry_script_further_down_runs_where_the_sdk_would_run_it(tree: Tree) -> None:
    layout = sent(tree, {"entry_script": "deep/run.py"})
    tree.put("input/data/code/deep/run.py", "print()\n")
    assert distribution.entry(layout, tree.environment, "--launcher").directory == f"{tree.base}/input/data/code"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            {},
            r"sourcecode\.json: entry_script: expected the name of a script, got None: expected a job with an entry_s",
        ),
        ({"entry_script": "", "command": "torchrun train.py"}, "the job runs a command, 'torchrun train.py': expected"),
        ({"entry_script": "no.py"}, r"no file 'no\.py' in channel code"),
        (
            {"entry_script": "train.py", "requirements": "gpu.txt"},
            r"expected requirements\.txt for --launcher, got 'gpu",
        ),
    ],
)
def test_what_only_the_sdks_own_script_does_is_refused(tree: Tree, source: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        distribution.entry(sent(tree, source), tree.environment, "--launcher")


def test_processes_and_options_are_those_of_distributed_json(tree: Tree) -> None:
    sent(tree, {}, {"process_count_per_node": 2, "mpi_additional_options": ["-x", "A=b c"]})
    found = some(tree, Choice("mpirun"), program.ENTRY)
    path = f"{tree.base}/input/data/sm_drivers/distributed.json"
    assert (found.asked.processes, found.processes_from) == (2, path)
    assert (found.asked.options, found.options_from) == (["-x", "A=b c"], path)
    found = some(tree, Choice("torchrun"), program.ENTRY)
    assert (found.asked.processes, found.asked.options) == (2, [])
    sent(tree, {}, {"process_count_per_node": None, "mpi_additional_options": None})
    assert some(tree, Choice("mpirun"), program.ENTRY).asked.processes == 1


@pytest.mark.parametrize(
    ("distributed", "message"),
    [
        (
            {"process_count_per_node": "two"},
            r"distributed\.json: process_count_per_node: expected a number of processes",
        ),
        ({"mpi_additional_options": "-v"}, r"distributed\.json: mpi_additional_options: expected a list of words"),
    ],
)
def test_a_broken_distributed_json_is_refused(tree: Tree, distributed: dict[str, Any], message: str) -> None:
    sent(tree, {}, distributed)
    with pytest.raises(RefusedError, match=message):
        spread(tree, Choice("mpirun"), program.ENTRY)


def test_a_directory_in_the_place_of_the_entry_script_is_refused(tree: Tree) -> None:
    layout = sent(tree, {"entry_script": "package"})
    tree.put("input/data/code/package", Directory())
    with pytest.raises(RefusedError, match="is a directory"):
        distribution.entry(layout, tree.environment, "--launcher")
