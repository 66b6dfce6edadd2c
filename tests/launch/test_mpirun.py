from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

import pytest

from smentry.errors import RefusedError
from smentry.launch import mpirun
from smentry.launch.asked import MPIRUN, Asked
from smentry.launch.cluster import Cluster

if TYPE_CHECKING:
    from pathlib import Path

    from smentry.launch.launched import Launched

HOSTS = ["algo-1", "algo-2", "algo-3"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    for name in ("python3", "mpirun", "ssh"):
        (tmp_path / name).symlink_to(sys.executable)
    return {"PATH": str(tmp_path)}


def launched(
    environment: dict[str, str],
    words: str = "python3 train.py --lr 1",
    host: str = "algo-1",
    hosts: list[str] = HOSTS,
    options: str = "",
    **asked: int,
) -> Launched:
    cluster = Cluster(hosts, host, "eth1", "ml.m5.xlarge")
    return mpirun.command(
        Asked(MPIRUN, options=options.split(), origin="--launcher", **asked), cluster, words.split(), environment
    )


def value(argv: list[str], name: str) -> str:
    """What follows the only word `name`."""
    assert argv.count(name) == 1
    return argv[argv.index(name) + 1]


def test_one_host_has_mpirun_alone(environment: dict[str, str]) -> None:
    made = launched(environment, hosts=["algo-1"], processes=4)
    assert made.path == f"{environment['PATH']}/mpirun"
    assert made.argv[0] == "mpirun"
    assert value(made.argv, "--host") == "algo-1:4"
    assert value(made.argv, "-np") == "4"
    assert "orte_launch_agent" not in made.argv
    assert "btl_tcp_if_include" not in made.argv  # it may have no network at all


def test_the_first_of_several_has_what_waits_for_the_others_around_mpirun(environment: dict[str, str]) -> None:
    made = launched(environment, processes=2)
    assert made.path == made.argv[0] == sys.executable
    lead, others, name = made.argv[2:5]
    assert os.path.isfile(lead)
    assert (others, name) == ("algo-2,algo-3", "mpirun")
    assert value(made.argv, "--host") == "algo-1:2,algo-2:2,algo-3:2"
    assert value(made.argv, "-np") == "6"
    assert value(made.argv, "btl_tcp_if_include") == value(made.argv, "oob_tcp_if_include") == "eth1"
    python, isolated, handover = shlex.split(value(made.argv, "orte_launch_agent"))
    assert (python, isolated) == (sys.executable, "-I")
    assert os.path.isfile(handover)


@pytest.mark.parametrize("host", HOSTS[1:])
def test_another_host_waits_for_mpirun_and_needs_none_of_its_own(tmp_path: Path, host: str) -> None:
    made = launched({"PATH": str(tmp_path)}, host=host)
    assert made.path == made.argv[0] == sys.executable
    assert os.path.isfile(made.argv[2])
    assert made.argv[3:] == ["algo-1"]


def test_a_host_with_one_rank_is_named_without_a_number(environment: dict[str, str]) -> None:
    assert value(launched(environment).argv, "--host") == "algo-1,algo-2,algo-3"


def test_a_number_of_all_ranks_counts_over_that_of_each_host(environment: dict[str, str]) -> None:
    made = launched(environment, processes=8, total=20)
    assert value(made.argv, "-np") == "20"
    assert value(made.argv, "--host").startswith("algo-1:8,")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("python3 train.py --lr 1", "-m mpi4py train.py --lr 1"),
        ("python3 -u -W error train.py", "-u -W error -m mpi4py train.py"),
        ("python3 -m package x", "-m mpi4py -m package x"),
    ],
)
def test_a_rank_is_run_by_mpi4py(environment: dict[str, str], words: str, expected: str) -> None:
    argv = launched(environment, words).argv
    python = argv.index(f"{environment['PATH']}/python3")
    assert argv[python + 1 :] == expected.split()


def test_what_is_asked_for_stands_last_before_the_program(environment: dict[str, str]) -> None:
    argv = launched(environment, options="-x A=1 -mca pml ucx").argv
    python = argv.index(f"{environment['PATH']}/python3")
    assert argv[python - 5 : python] == ["-x", "A=1", "-mca", "pml", "ucx"]


@pytest.mark.parametrize("options", ["--NCCL_DEBUG WARN -x A", "-x A --NCCL_DEBUG=INFO --NCCL_DEBUG=WARN"])
@pytest.mark.parametrize("host", HOSTS[:2])
def test_the_toolkits_own_option_is_a_variable_on_every_host(
    environment: dict[str, str], options: str, host: str
) -> None:
    made = launched(environment, options=options, host=host)
    assert made.environment["NCCL_DEBUG"] == "WARN"
    assert made.environment["NCCL_SOCKET_IFNAME"] == "eth1"
    assert not any("NCCL_DEBUG" in word or word == "WARN" for word in made.argv)


def test_that_option_without_a_value_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(RefusedError, match=r"^--launcher: --NCCL_DEBUG: expected a value, as in --NCCL_DEBUG WARN$"):
        launched(environment, options="-x A --NCCL_DEBUG")


@pytest.mark.parametrize(("missing", "hosts"), [("mpirun", HOSTS), ("mpirun", ["algo-1"]), ("ssh", HOSTS)])
def test_what_the_image_lacks_is_said(
    environment: dict[str, str], tmp_path: Path, missing: str, hosts: list[str]
) -> None:
    (tmp_path / missing).unlink()
    with pytest.raises(
        RefusedError, match=f"^--launcher: mpirun needs Open MPI and ssh in the image: {missing}: not"
    ) as refused:
        launched(environment, hosts=hosts)
    assert refused.value.code == 127


def test_what_is_no_python_program_is_a_rank_as_it_is(environment: dict[str, str]) -> None:
    words = f"{environment['PATH']}/ssh run.sh --lr 1"
    assert launched(environment, words).argv[-4:] == words.split()


def test_a_launcher_is_not_launched(environment: dict[str, str]) -> None:
    with pytest.raises(RefusedError, match=r"^--launcher: mpirun is a launcher itself"):
        launched(environment, "mpirun train.py")
