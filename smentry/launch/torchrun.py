"""torchrun's command line. It does not know who asked for it, and starts nothing."""

from __future__ import annotations

import os

from smentry import executable
from smentry.launch import network, python
from smentry.launch.launched import Launched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from smentry.launch.asked import Asked
    from smentry.launch.cluster import Cluster

MODULE = "torch.distributed.run"
PORT = "7777"
"""Where the hosts meet if SM_MASTER_PORT does not say: the training toolkit's and the SDK's."""

_NEURON = "neuron_parallel_compile"


def command(asked: Asked, cluster: Cluster, words: list[str], environment: Mapping[str, str]) -> Launched:
    """torchrun for the Python program that `words` start. Raises RefusedError.

    It is the one beside the program's Python, else the module that it stands for: torchrun on PATH may belong to another Python.
    A single host is left to meet itself at a port of torchrun's own choice. What is asked for comes last, and so counts.
    """
    program = python.read(words, environment, asked.origin)
    beside = os.path.join(os.path.dirname(program.python), "torchrun")
    argv = [beside] if os.access(beside, os.X_OK) else [program.python, "-m", MODULE]
    if environment.get("RUN_NEURON_PARALLEL_COMPILE") == "1":
        argv.insert(0, executable.lookup(_NEURON, environment))
    argv += ["--nnodes", str(len(cluster.hosts)), "--nproc_per_node", str(asked.processes)]
    if len(cluster.hosts) > 1:
        argv += ["--master_addr", cluster.master, "--master_port", environment.get("SM_MASTER_PORT") or PORT]
        argv += ["--node_rank", str(cluster.rank)]
    argv += asked.options
    if [option for option in program.options if option != "-u"]:
        # torchrun's own way to start Python knows none of its options but -u, which it always gives.
        argv += ["--no_python", *program.words]
    else:
        argv += [*(["-m", program.module] if program.module else [program.script]), *program.arguments]
    return Launched(argv, argv[0], network.variables(cluster, environment), "torchrun")
