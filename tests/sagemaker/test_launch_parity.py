"""torchrun's command line and variables as the AWS training toolkit and the SageMaker Python SDK's driver make them, and smentry.

Both are asked for theirs by the Python that SMENTRY_PARITY_PYTHON names, or by this one; `make parity` sees to that.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from container import Tree

from smentry.config import resolve
from smentry.job import resolve as resolve_job
from smentry.launch import network
from smentry.sagemaker import hardware

PYTHON = os.environ.get("SMENTRY_PARITY_PYTHON") or (
    sys.executable if importlib.util.find_spec("sagemaker_training") else ""
)
needs_toolkit = pytest.mark.skipif(
    not PYTHON, reason="needs sagemaker-training: `make parity`, or SMENTRY_PARITY_PYTHON=a Python that has it"
)

TOOLKIT = """
import json, os, sys
import sagemaker_training
from sagemaker_training import runner
answers = []
known = dict(os.environ)
for processes, hosts, current, instance, neuron in json.loads(sys.stdin.read()):
    os.environ.clear()
    os.environ.update(known)
    os.environ["RUN_NEURON_PARALLEL_COMPILE"] = known["RUN_NEURON_PARALLEL_COMPILE"] = str(int(neuron))
    made = runner.torch_distributed.TorchDistributedRunner(
        "train.py", ["--epochs", "3"], {}, processes, hosts[0], hosts, current, "eth0", instance_type=instance
    )
    command = made._create_command()
    answers.append([command, {name: os.environ[name] for name in os.environ if os.environ[name] != known.get(name)}])
json.dump([answers, sagemaker_training.SM_EFA_NCCL_INSTANCES, sagemaker_training.SM_EFA_RDMA_INSTANCES], sys.stdout)
"""
DRIVER = """
import json, os, sys, types
sys.modules["torch"] = types.SimpleNamespace(__version__="2.13.0")
import sagemaker.train.container_drivers as drivers
sys.path.insert(0, os.path.join(os.path.dirname(drivers.__file__), "distributed_drivers"))
import torchrun_driver
answers = []
for processes, hosts, current, instance, neuron in json.loads(sys.stdin.read()):
    os.environ.update(
        SM_ENTRY_SCRIPT="train.py", SM_DISTRIBUTED_CONFIG=json.dumps({"process_count_per_node": processes}),
        SM_HPS=json.dumps({"epochs": 3, "n": 1, "augment": True, "text": "a b", "layers": [1, {"a": None}]}),
        SM_HOST_COUNT=str(len(hosts)), SM_MASTER_ADDR=hosts[0], SM_MASTER_PORT="7777",
        SM_CURRENT_HOST_RANK=str(hosts.index(current)), RUN_NEURON_PARALLEL_COMPILE=str(int(neuron)),
    )
    answers.append(torchrun_driver.create_commands())
json.dump(answers, sys.stdout)
"""
HOSTS = [(["algo-1"], "algo-1"), (["algo-1", "algo-2"], "algo-2"), (["algo-1", "algo-10", "algo-2"], "algo-1")]
TYPES = ["ml.m5.xlarge", "ml.g5.48xlarge", "ml.p4d.24xlarge", "ml.trn1.32xlarge"]
CASES = [
    (processes, *hosts, instance, neuron)
    for processes, hosts, instance, neuron in itertools.product([1, 8], HOSTS, TYPES, [False, True])
]


def answers(program: str, directory: Path) -> Any:
    code = directory / "ml/code"
    code.mkdir(parents=True, exist_ok=True)
    (code / "train.py").touch()
    result = subprocess.run(
        [PYTHON, "-W", "ignore", "-c", program], input=json.dumps(CASES), capture_output=True, text=True, timeout=120,
        env={"PATH": os.environ["PATH"], "SAGEMAKER_BASE_DIR": str(code.parent)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setattr(hardware, "gpus", lambda environment: 0)
    tree = Tree(tmp_path / "job")
    for name in ("python3", "torchrun", "neuron_parallel_compile"):
        path = tree.bin / name
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return tree


def ours(
    tree: Tree, case: Any, parameters: dict[str, str], *, launcher: str = "auto"
) -> tuple[list[str], dict[str, str]]:
    """The words that smentry executes, files by their names, and the variables that it adds for the network."""
    processes, hosts, current, instance, neuron = case
    if launcher == "auto":
        parameters = {**parameters, "sagemaker_mpi_num_of_processes_per_host": str(processes)}
    tree.put("input/config/hyperparameters.json", parameters)
    tree.put(
        "input/config/resourceconfig.json",
        {"current_host": current, "hosts": hosts, "network_interface_name": "eth0", "current_instance_type": instance},
    )
    environment = {**tree.environment, "SMENTRY_LAUNCHER": launcher}
    if neuron:
        environment["RUN_NEURON_PARALLEL_COMPILE"] = "1"
    job = resolve_job("train", [], resolve([], environment, "/no/such/file"), environment)
    argv = [os.path.basename(word) if word.startswith(str(tree.base.parent)) else word for word in job.argv]
    names = ("NCCL_", "GLOO_", "FI_", "RDMAV_")
    return argv, {name: job.environment[name] for name in job.added if name.startswith(names)}


@needs_toolkit
def test_the_command_and_the_variables_are_the_toolkits(tree: Tree, tmp_path: Path) -> None:
    theirs, _, _ = answers(TOOLKIT, tmp_path)
    tree.put("code/train.py", "pass\n")
    parameters = {"epochs": "3", "sagemaker_program": "train.py", "sagemaker_torch_distributed_enabled": "true"}
    for case, (command, variables) in zip(CASES, theirs):
        argv, added = ours(tree, case, parameters)
        assert argv == command, case
        # The toolkit has NCCL use its simple protocol everywhere, smentry where EFA is; and says nothing to Gloo.
        assert added.pop("GLOO_SOCKET_IFNAME", None) == ("eth0" if len(case[1]) > 1 else None)
        if "FI_PROVIDER" not in variables:
            del variables["NCCL_PROTO"]
        assert added == variables, case


@needs_toolkit
def test_the_instance_types_with_efa_are_the_toolkits(tmp_path: Path) -> None:
    _, efa, rdma = answers(TOOLKIT, tmp_path)
    assert set(efa) <= network.EFA
    assert set(rdma) <= network.RDMA


@needs_toolkit
def test_the_command_for_an_entry_script_is_the_drivers(tree: Tree, tmp_path: Path) -> None:
    if not list(Path(PYTHON).parent.parent.glob("lib/python3*/site-packages/sagemaker/train")):
        pytest.skip("needs sagemaker-train: `make parity`")
    theirs = answers(DRIVER, tmp_path)
    tree.channels(code="File", sm_drivers="File")
    tree.put("input/data/code/train.py", "pass\n")
    tree.put("input/data/sm_drivers/sm_train.sh", "\necho\n")
    tree.put("input/data/sm_drivers/sourcecode.json", {"entry_script": "train.py"})
    parameters = {"epochs": "3", "n": "1", "augment": "true", "text": "a b", "layers": '[1, {"a": null}]'}
    for case, command in zip(CASES, theirs):
        tree.put("input/data/sm_drivers/distributed.json", {"process_count_per_node": case[0]})
        argv, _ = ours(tree, case, parameters, launcher="torchrun")
        words = [part for word in command for part in (word.split("=") if word.startswith("--") else [word])]
        at, till = words.index("torchrun"), words.index("train.py")
        asked = dict(zip(argv[at + 1 : till : 2], argv[at + 2 : till : 2]))
        assert asked == dict(zip(words[at + 1 : till : 2], words[at + 2 : till : 2])), case
        assert (argv[: at + 1], argv[till:]) == (words[: at + 1], words[till:])
