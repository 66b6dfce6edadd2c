"""Waiting for hosts: with real names in a mount namespace's own /etc/hosts, and a name server that never answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from container import PYTHON, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root can give a process its own /etc/hosts"
)


class Cluster:
    """A tree whose job has some hosts, and the files in which a process finds their addresses."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.names = tree.other / "hosts"
        self.names.write_text("127.0.0.1 localhost\n")
        self.resolver = tree.other / "resolv.conf"
        self.resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        tree.put("code/train.py", PYTHON)

    def start(self, *hosts: str, limit: str = "30s", files: bool = True, **variables: str) -> subprocess.Popen[str]:
        """Start the job of these hosts; only /etc/hosts is asked, and where `files` is false only the name server."""
        described = {"current_host": hosts[0], "hosts": list(hosts), "network_interface_name": "eth0"}
        self.tree.put("input/config/resourceconfig.json", described)
        switch = self.tree.other / "nsswitch.conf"
        switch.write_text(f"hosts: {'files' if files else 'dns'}\n")
        mounts = ((self.names, "/etc/hosts"), (self.resolver, "/etc/resolv.conf"), (switch, "/etc/nsswitch.conf"))
        script = "".join(f"mount --bind {file} {path} && " for file, path in mounts if os.path.exists(path))
        return subprocess.Popen(
            ["unshare", "-m", "sh", "-c", f'{script}exec "$@"', "sh", sys.executable, "-m", "smentry", "train"],
            env={**self.tree.environment, "SMENTRY_WAIT_HOSTS": limit, "SMENTRY_WATCH_HOSTS": "0", **variables},
            cwd=self.tree.other, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *hosts: str, **how: str) -> tuple[int, str]:
        """Run it to its end: exit code and stderr."""
        with self.start(*hosts, **how) as process:
            _, err = process.communicate(timeout=60)
        return process.returncode, err


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(Tree(tmp_path))


@needs_mounts
def test_names_that_resolve_are_not_waited_for(cluster: Cluster) -> None:
    cluster.names.write_text("127.0.0.1 algo-1\n::1 algo-2\n")
    code, err = cluster.run("algo-1", "algo-2")
    assert code == 0, err
    assert "hosts: all 2 hosts have an address, after " in err
    assert cluster.tree.marker.exists()


@needs_mounts
def test_a_name_that_appears_later_is_waited_for(cluster: Cluster) -> None:
    cluster.names.write_text("127.0.0.1 algo-1\n")
    lines = []
    with cluster.start("algo-1", "algo-2", "algo-3") as process:
        assert process.stderr is not None
        while "waiting for" not in (line := process.stderr.readline()):
            assert line, lines
            lines.append(line)
        assert re.search(r"hosts: waiting for algo-2, algo-3: no address yet, \d+ s left", line)
        assert not cluster.tree.marker.exists()
        cluster.names.write_text("127.0.0.1 algo-1 algo-2 algo-3\n")
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "hosts: all 3 hosts have an address, after " in err
    assert cluster.tree.marker.exists()


@needs_mounts
def test_who_never_resolves_is_named_and_fails_the_job(cluster: Cluster) -> None:
    cluster.names.write_text("127.0.0.1 algo-1\n")
    code, err = cluster.run("algo-1", "algo-2", "algo-3", limit="3s")
    assert code == 1
    line = "no address after 3 s for algo-2, algo-3 of the 3 hosts of the job (Name or service not known): is each of them up?"
    assert f"hosts: {line}" in err
    assert not cluster.tree.marker.exists()
    assert cluster.tree.failure is not None
    assert "no address after 3 s for algo-2, algo-3" in cluster.tree.failure


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a name server that takes every question and answers none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind(("127.0.0.153", 53))
        except OSError as error:
            pytest.skip(f"no name server can be here: {error}")
        yield "127.0.0.153"


@needs_mounts
def test_a_name_server_that_does_not_answer_takes_no_longer_than_the_limit(cluster: Cluster, silent: str) -> None:
    cluster.resolver.write_text(f"nameserver {silent}\noptions timeout:30 attempts:2\n")
    code, err = cluster.run("algo-1", "algo-2", limit="1s", files=False)  # type: ignore[arg-type]
    assert code == 1
    assert "no address after 1 s for algo-1, algo-2 of the 2 hosts of the job (no answer yet)" in err


@needs_mounts
def test_a_stop_ends_the_wait(cluster: Cluster) -> None:
    with cluster.start("algo-1", "algo-2") as process:
        assert process.stderr is not None
        while "waiting for" not in (line := process.stderr.readline()):
            assert line
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert not cluster.tree.marker.exists()


@needs_mounts
def test_the_users_start_hooks_come_first(cluster: Cluster) -> None:
    """One of them may be what makes the names known."""
    config = cluster.tree.other / "hooks.yaml"
    command = f"echo 127.0.0.1 algo-1 algo-2 >{cluster.names}"
    config.write_text(json.dumps({"hooks": [{"on": "start", "name": "names", "run": ["sh", "-c", command]}]}))
    code, err = cluster.run("algo-1", "algo-2", SMENTRY_CONFIG=str(config))
    assert code == 0, err


@pytest.mark.parametrize("variables", [{"SMENTRY_WAIT_HOSTS": "0"}, {"SM_STUDIO_LOCAL_MODE": "True"}])
def test_nobody_is_waited_for_where_that_is_not_wanted(variables: dict[str, str], tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.put("code/train.py", PYTHON)
    tree.put(
        "input/config/resourceconfig.json",
        {"current_host": "no.such.host.invalid", "hosts": ["no.such.host.invalid", "b.invalid"]},
    )
    assert tree.run("train", SMENTRY_WATCH_HOSTS="0", **variables).code == 0
    assert tree.marker.exists()


def test_one_host_is_not_waited_for(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.put("code/train.py", PYTHON)
    tree.put(
        "input/config/resourceconfig.json", {"current_host": "no.such.host.invalid", "hosts": ["no.such.host.invalid"]}
    )
    result = tree.run("train")
    assert result.code == 0, result.err
    assert "hosts:" not in result.err


def test_a_name_that_cannot_be_one_is_one_line(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.put("code/train.py", PYTHON)
    tree.put("input/config/resourceconfig.json", {"current_host": "x" * 70, "hosts": ["x" * 70, "y..z"]})
    result = tree.run("train", SMENTRY_WAIT_HOSTS="300ms", SMENTRY_WATCH_HOSTS="0")
    assert result.code == 1
    assert any("no address after 0.3 s for" in line and "Traceback" not in line for line in result.lines)
