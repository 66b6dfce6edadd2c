"""`docker stop -t 120` of programs that other inits lose: as PID 1, and under the engine's own init."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from running import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from .containers import Container, Engine

both = pytest.mark.parametrize("options", [(), ("--init",)], ids=["pid1", "init"])


def program(name: str) -> tuple[str, ...]:
    return ("sh" if name.endswith(".sh") else "python3", f"/opt/programs/{name}")


def stopped(engine: Engine, name: str, options: tuple[str, ...], **environment: str) -> Container:
    """Start a program, stop its container when it is ready, and check what holds of every stop."""
    container = engine.start(*program(name), options=options, environment=environment)
    container.ready()
    container.stop()
    assert container.seconds < 60, container.output
    assert container.killed_by_smentry() == 0, container.output
    return container


@both
def test_a_program_with_a_handler_saves(engine: Engine, options: tuple[str, ...]) -> None:
    container = stopped(engine, "saver.py", options, EXIT_CODE="3")
    assert container.lines("told") == ["SIGTERM"]
    assert container.has("saved")
    assert container.code == 3


@both
def test_it_saves_behind_a_script_without_exec_and_the_next_line_runs(engine: Engine, options: tuple[str, ...]) -> None:
    container = stopped(engine, "wrapper.sh", options)
    assert container.lines("told") == ["SIGTERM"]
    assert container.has("saved")
    assert container.read("next") == "0"
    assert container.code == 0


@both
def test_it_saves_in_a_pipeline_and_the_log_is_whole(engine: Engine, options: tuple[str, ...]) -> None:
    container = stopped(engine, "pipeline.sh", options)
    assert container.lines("told") == ["SIGTERM"]
    assert container.has("saved")
    assert container.lines("log") == ["training", "saved"]
    assert container.has("next")


@both
def test_a_script_with_a_trap_that_waits_is_told_once(engine: Engine, options: tuple[str, ...]) -> None:
    container = stopped(engine, "trap.sh", options)
    assert container.lines("trapped") == ["TERM"]
    assert container.has("saved")
    assert container.read("next") == "0"


@both
def test_a_script_with_a_trap_and_its_program_in_the_foreground(engine: Engine, options: tuple[str, ...]) -> None:
    container = stopped(engine, "foreground.sh", options)
    assert container.lines("told") == ["SIGTERM"]
    assert container.lines("trapped") == ["TERM"]
    assert container.has("saved")
    assert container.read("next") == "0"


@both
def test_workers_live_until_their_program_has_saved(engine: Engine, options: tuple[str, ...]) -> None:
    container = stopped(engine, "workers.py", options)
    assert container.read("lost") == ""
    assert container.has("saved")
    assert container.code == 0


@both
def test_a_detached_daemon_flushes(engine: Engine, options: tuple[str, ...]) -> None:
    container = stopped(engine, "daemon.py", options, SAVE_SECONDS="2")
    assert container.lines("told") == ["SIGTERM"]
    assert container.has("flushed")


@both
def test_a_detached_daemon_flushes_when_the_program_ends_by_itself(engine: Engine, options: tuple[str, ...]) -> None:
    container = engine.start(*program("daemon.py"), options=options, environment={"PROGRAM_EXITS": "1"})
    assert container.end() == 0, container.output
    assert container.lines("told") == ["SIGTERM"]
    assert container.has("flushed")


@both
def test_a_frozen_program_is_continued_and_saves(engine: Engine, options: tuple[str, ...]) -> None:
    container = engine.start(*program("saver.py"), options=options, environment={"FREEZE": "1"})
    container.ready()
    wait_until(lambda: "T" in container.execute("ps", "-eo", "stat="), "the program to be frozen")
    assert container.stop() == 0, container.output
    assert container.seconds < 60
    assert container.lines("told") == ["SIGTERM"]
    assert container.has("saved")
    assert container.killed_by_smentry() == 0


@both
def test_who_ignores_the_stop_is_killed_before_the_engine_would(engine: Engine, options: tuple[str, ...]) -> None:
    timeout = 8
    container = engine.start("--stop-timeout", str(timeout), *program("ignorer.py"), options=options)
    container.ready()
    code = container.stop(timeout + 10)
    # What the engine kills says nothing more; smentry's own kill is counted in its last line.
    assert container.killed_by_smentry() == 2, container.output
    assert code == 137


def test_who_is_too_slow_is_killed_and_the_rest_is_saved(engine: Engine) -> None:
    timeout = 8
    container = engine.start("--stop-timeout", str(timeout), *program("saver.py"), environment={"SAVE_SECONDS": "60"})
    container.ready()
    assert container.stop(timeout + 10) == 137
    assert container.lines("told") == ["SIGTERM"]
    assert not container.has("saved")
    assert container.killed_by_smentry() == 1


def test_max_runtime_stops_without_the_engine(engine: Engine) -> None:
    container = engine.start("--max-runtime", "8s", *program("wrapper.sh"))
    assert container.end() == 0, container.output
    assert container.lines("told") == ["SIGTERM"]
    assert container.has("saved")
    assert container.read("next") == "0"


def test_the_stop_signal_of_the_image(engine: Engine, image: str, tmp_path: Path) -> None:
    interrupted = engine.build(f"FROM {image}\nSTOPSIGNAL SIGINT\n", tmp_path)
    container = engine.start(*program("wrapper.sh"), image=interrupted)
    container.ready()
    assert container.stop() == 0, container.output
    assert container.lines("told") == ["SIGINT"]
    assert container.has("saved")
    assert container.read("next") == "0"


@pytest.mark.parametrize("scope", ["main", "group", "all"])
def test_the_other_scopes_keep_their_budget(engine: Engine, scope: str) -> None:
    container = engine.start("--scope", scope, *program("saver.py"))
    container.ready()
    assert container.stop() == 0, container.output
    assert container.seconds < 60
    assert container.lines("told") == ["SIGTERM"]
    assert container.has("saved")
