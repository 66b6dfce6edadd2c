"""Containers that may do less than usual: a read-only root, an ordinary user, few processes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from .containers import docker

if TYPE_CHECKING:
    from .containers import Engine

WRAPPER = ("sh", "/opt/programs/wrapper.sh")
FEW = 30


@pytest.mark.parametrize(
    "options",
    [
        ("--read-only",),
        ("--user", "1000"),
        ("--user", "1000:1000", "--read-only", "--init"),
        ("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        ("--network", "none", "--memory", "256m"),
    ],
    ids=" ".join,
)
def test_a_stop_saves_all_the_same(engine: Engine, options: tuple[str, ...]) -> None:
    container = engine.start(*WRAPPER, options=options)
    container.ready()
    assert container.stop() == 0, container.output
    assert container.seconds < 60
    assert container.lines("told") == ["SIGTERM"]
    assert container.read("next") == "0"
    assert "Traceback" not in container.output


def test_the_container_runs_as_an_ordinary_user(engine: Engine) -> None:
    container = engine.start("train", options=("--user", "1000"))
    assert container.end() == 0, container.output
    facts = json.loads(container.read("ready"))
    assert (facts["uid"], facts["gid"]) == (1000, 0)


def test_smentry_keeps_its_user_and_the_program_gets_another(engine: Engine) -> None:
    container = engine.start("--user", "1000:1000", *WRAPPER)
    container.ready()
    facts = json.loads(container.read("ready"))
    assert (facts["uid"], facts["gid"]) == (1000, 1000)
    assert container.execute("stat", "-c", "%u", "/proc/1").strip() == "0"
    assert container.stop() == 0, container.output
    assert container.read("next") == "0"


def test_another_user_without_the_right_to_is_an_error(engine: Engine) -> None:
    words, _name, _state = engine.command("--user", "1001", "true", options=("--user", "1000"))
    ran = docker("run", *words, check=False)
    assert ran.returncode == 2, ran.stderr
    assert "1001" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_stop_works_where_nothing_can_be_started_any_more(engine: Engine) -> None:
    container = engine.start("python3", "/opt/programs/forks.py", options=("--pids-limit", str(FEW)))
    container.ready()
    count, reason = container.read("forked").split()
    assert reason == "EAGAIN"
    container.stop()
    assert container.seconds < 60
    assert container.killed_by_smentry() == 0
    assert f"{int(count) + 1} processes ended" in container.last_line


def test_a_program_that_cannot_be_started_for_want_of_processes_is_a_clear_error(engine: Engine) -> None:
    # One process is smentry itself.
    words, _name, _state = engine.command("true", options=("--pids-limit", "1"))
    ran = docker("run", *words, check=False)
    assert ran.returncode == 1, ran.stderr
    assert "Traceback" not in ran.stderr
    assert "cannot fork to start true" in ran.stderr
