"""Open MPI's command line, and that of the hosts that mpirun comes to. It does not know who asked for it, and starts nothing."""

from __future__ import annotations

import os
import sys

from smentry import executable
from smentry.errors import RefusedError
from smentry.launch import network, python
from smentry.launch.launched import Launched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from smentry.launch.asked import Asked
    from smentry.launch.cluster import Cluster

_PROGRAMS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "openmpi")
"""Where the programs are that run beside mpirun: files, run by themselves."""

_NCCL_DEBUG = "--NCCL_DEBUG"
"""An option that is none of mpirun's: the training toolkit takes it for the variable."""


def command(asked: Asked, cluster: Cluster, words: list[str], environment: Mapping[str, str]) -> Launched:
    """mpirun for the program that `words` start, on the first host; on another one, what waits for mpirun to come.

    Raises RefusedError. The options are the training toolkit's, but for variables: each host's ranks have those of their own
    container. What is asked for comes last, as there.
    """
    variables = network.variables(cluster, environment)
    options = _options(asked, variables)
    if cluster.rank:
        receive = [sys.executable, "-I", os.path.join(_PROGRAMS, "receive.py"), cluster.master]
        return Launched(receive, sys.executable, variables, "mpirun")
    path = _lookup("mpirun", asked, environment)
    argv = ["mpirun", *_general(asked, cluster), *options, *_program(asked, words, environment)]
    others = cluster.hosts[1:]
    if others:
        _lookup("ssh", asked, environment)
        argv = [sys.executable, "-I", os.path.join(_PROGRAMS, "lead.py"), ",".join(others), *argv]
        path = sys.executable
    return Launched(argv, path, variables, "mpirun")


def _general(asked: Asked, cluster: Cluster) -> list[str]:
    """Where ranks run, and how they find each other."""
    slots = f":{asked.processes}" if asked.processes > 1 else ""
    argv = ["--host", ",".join([f"{host}{slots}" for host in cluster.hosts])]
    argv += ["-np", str(asked.total or asked.processes * len(cluster.hosts))]
    argv += ["--allow-run-as-root", "--tag-output"]
    if len(cluster.hosts) > 1:
        if cluster.interface:
            argv += ["-mca", "btl_tcp_if_include", cluster.interface, "-mca", "oob_tcp_if_include", cluster.interface]
        agent = f"{sys.executable} -I {os.path.join(_PROGRAMS, 'handover.py')}"
        argv += ["-mca", "plm_rsh_no_tree_spawn", "1", "-mca", "orte_launch_agent", agent]
    argv += ["-bind-to", "none", "-map-by", "slot", "-mca", "pml", "ob1", "-mca", "btl", "^openib"]
    argv += ["-mca", "orte_abort_on_non_zero_status", "1"]
    # Cross-memory attach wants ptrace(2), which a container has not.
    argv += ["-mca", "btl_vader_single_copy_mechanism", "none"]
    return argv


def _options(asked: Asked, variables: dict[str, str]) -> list[str]:
    """What was asked for, without the one that is a variable, which goes there."""
    rest, kept = list(asked.options), []
    while rest:
        word = rest.pop(0)
        name, _, value = word.partition("=")
        if name != _NCCL_DEBUG:
            kept.append(word)
            continue
        if "=" not in word:
            if not rest:
                raise RefusedError(f"{asked.origin}: {_NCCL_DEBUG}: expected a value, as in {_NCCL_DEBUG} WARN")
            value = rest.pop(0)
        variables["NCCL_DEBUG"] = value
    return kept


def _program(asked: Asked, words: list[str], environment: Mapping[str, str]) -> list[str]:
    """The words of a rank. mpi4py ends all ranks when an exception ends one, which else might wait for each other for ever.

    mpirun can start anything, and the training toolkit has it do so: a shell script too.
    """
    try:
        program = python.read(words, environment, asked.origin)
    except python.NotPythonError:
        return words
    return [program.python, *program.options, "-m", "mpi4py", *program.words[1 + len(program.options) :]]


def _lookup(name: str, asked: Asked, environment: Mapping[str, str]) -> str:
    try:
        return executable.lookup(name, environment)
    except RefusedError as refused:
        raise RefusedError(
            f"{asked.origin}: mpirun needs Open MPI and ssh in the image: {refused.message}", refused.code
        ) from None
