"""Several containers of one job: the first failure is named on each, and one that has gone stops the others."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from running import wait_until

from .containers import docker
from .jobs import CODE, Jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .containers import Container, Engine

COLLECTIVE = """
import socket, sys, time
me = socket.gethostname()
if me == "algo-2":
    server = socket.create_server(("", 8000))
    kept = [server.accept() for _ in range(2)]
    raise ValueError("bad batch")
for _ in range(1000):
    try:
        there = socket.create_connection(("algo-2", 8000), 5)
        break
    except OSError:
        time.sleep(0.1)
there.settimeout(None)
there.recv(1)
if me == "algo-1":
    raise RuntimeError("gloo/transport/tcp/pair.cc: Connection closed by peer")
socket.create_server(("", 8000)).accept()  # for ever, like a collective that was not told
"""


class Network:
    """A network, and the hosts of a job on it, by name."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self._engine = engine
        self._directory = directory
        self.name = f"smentry-test-{os.getpid()}-{directory.name}"
        docker("network", "create", self.name)

    def start(self, *does: str, bound: str = "30s") -> list[Container]:
        """One container for each of `does`, what tests/programs/host.py is to do in it, once they have met."""
        names = [f"algo-{number}" for number in range(1, len(does) + 1)]
        containers = []
        for name, what in zip(names, does):
            tree = self._directory / name
            (tree / "input/config").mkdir(parents=True)
            resources = {"current_host": name, "hosts": names}
            (tree / "input/config/resourceconfig.json").write_text(json.dumps(resources))
            options = (
                "--network",
                self.name,
                "--network-alias",
                name,
                "--hostname",
                name,
                "--volume",
                f"{tree}:/opt/ml",
            )
            train = f"python3 /opt/programs/host.py {what}"
            containers.append(
                self._engine.start("-v", "--watch-hosts", bound, "--train", train, "train", options=options)
            )
        for name, container in zip(names, containers):
            for other in names:
                if other != name:
                    wait_until(lambda c=container, o=other: f"{o} is there" in c.output, f"{name} to meet {other}")
        return containers

    def failure(self, name: str) -> str:
        """The first line of a host's failure file, empty where there is none."""
        path = self._directory / name / "output/failure"
        return path.read_text().partition("\n")[0] if path.exists() else ""

    def cut(self, container: Container) -> None:
        """As a machine that is off the network, and says nothing more."""
        docker("network", "disconnect", self.name, container.identity)


@pytest.fixture
def network(engine: Engine, tmp_path: Path) -> Iterator[Network]:
    """A network of the engine; it is removed at the end."""
    network = Network(engine, tmp_path)
    try:
        yield network
    finally:
        engine.close()
        docker("network", "rm", network.name, check=False)


def test_hosts_that_hang_in_a_collective_are_stopped_and_every_one_names_the_host_that_failed(
    image: str, tmp_path: Path
) -> None:
    jobs = Jobs(image, tmp_path)
    try:
        (jobs.directory / "code/train.py").write_text(COLLECTIVE)
        words = ["smentry", "--train", f"python3 {CODE}/train.py", "train"]
        algorithm = {"ContainerEntrypoint": words[:1], "ContainerArguments": words[1:]}
        ran = jobs.start(jobs.request(hosts=3, algorithm=algorithm))
        ran.end(120)
        assert ran.process.returncode == 1, ran.said
        last = {name: ran.host(name)[-1] for name in ("algo-1", "algo-2", "algo-3")}
        assert "error: algo-2: python3 exited with code 1 after " in last["algo-2"]
        cause = last["algo-2"].partition("algo-2: ")[2]
        assert cause.endswith("ValueError: bad batch")
        assert last["algo-1"].endswith(f"algo-2 failed first: {cause}")
        assert last["algo-3"].endswith(f"algo-3: stopped because algo-2 failed first: {cause}")
        assert jobs.left() == []
    finally:
        jobs.close()


def test_a_container_that_is_killed_is_missed_after_the_bound(network: Network) -> None:
    killed, hung, saves = network.start("hang", "hang", "save", bound="5s")
    killed.kill("KILL")
    assert (hung.end(), saves.end()) == (143, 1)
    assert saves.has("saved")
    for name in ("algo-2", "algo-3"):
        assert network.failure(name).startswith(f"{name}: stopped because algo-1 was lost: its connection broke, ")


def test_a_container_that_is_off_the_network_is_missed_and_misses_the_others(network: Network) -> None:
    off, hung = network.start("hang", "hang", bound="5s")
    network.cut(off)
    assert (off.end(), hung.end()) == (143, 143)
    assert "stopped because algo-2 was lost: " in network.failure("algo-1")
    assert "stopped because algo-1 was lost: " in network.failure("algo-2")


def test_ends_at_different_times_and_a_stop_are_nobody_s_failure(network: Network) -> None:
    early, *saving = network.start("end", "save", "save", bound="15s")
    (early.state / "go").touch()
    assert early.end() == 0
    wait_until(lambda: "algo-1 has taken its leave" in saving[0].output, "the goodbye")
    for container in saving:
        assert container.runs()
    for container in saving:
        assert container.stop() == 0
        assert container.has("saved")
    assert [network.failure(f"algo-{number}") for number in (1, 2, 3)] == ["", "", ""]
