"""How the platform starts a container: which program runs, with which arguments and exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from .containers import STATE, docker

if TYPE_CHECKING:
    from pathlib import Path

    from .containers import Container, Engine

NOTES_ARGUMENTS = f'printf "%s\\n" "$@" > {STATE}/arguments; pwd > {STATE}/directory\n'


@pytest.fixture
def ml(tmp_path: Path) -> Path:
    """The platform's directory, with the configuration of a job and two channels; for `mounted`."""
    base = tmp_path / "ml"
    for directory in ("input/config", "input/data/s3-channel", "input/data/ch", "model", "output"):
        (base / directory).mkdir(parents=True)
    channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
    for name, content in (
        ("hyperparameters", {"epochs": "3"}),
        ("inputdataconfig", {"s3-channel": channel, "ch": channel}),
        ("resourceconfig", {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}),
    ):
        (base / f"input/config/{name}.json").write_text(json.dumps(content))
    return base


def mounted(ml: Path) -> tuple[str, ...]:
    """Options that mount it as the platform does: the channels cannot be written to."""
    return ("--volume", f"{ml}:/opt/ml", "--volume", f"{ml}/input/data:/opt/ml/input/data:ro")


def script(path: Path, text: str) -> None:
    """A script as it comes out of a bucket: without any mode bits."""
    path.write_text(text)
    path.chmod(0o644)


def facts(container: Container) -> dict[str, Any]:
    """What the program of `tests/programs` says it was started as."""
    container.ready()
    found: dict[str, Any] = json.loads(container.read("ready"))
    return found


def test_train_runs_the_program_on_path_with_its_arguments(engine: Engine) -> None:
    container = engine.start("train", "--epochs", "3", "a b")
    assert container.end() == 0, container.output
    assert facts(container)["argv"] == ["/opt/programs/train.py", "--epochs", "3", "a b"]
    assert "arguments: ['--epochs', '3', 'a b']" in container.output


def test_serve_has_thirty_seconds(engine: Engine) -> None:
    container = engine.start("serve")
    container.ready()
    assert container.stop(30) == 0
    assert container.lines("told") == ["SIGTERM"]
    assert container.has("saved")
    assert " of 30 s" in container.last_line


def test_a_script_of_a_channel_gets_its_arguments_whole(engine: Engine, ml: Path) -> None:
    script(ml / "input/data/s3-channel/custom_entrypoint.sh", NOTES_ARGUMENTS + "exit 7\n")
    container = engine.start("--script", "s3-channel/custom_entrypoint.sh", "a", "b c", options=mounted(ml))
    assert container.end() == 7, container.output
    assert container.lines("arguments") == ["--epochs", "3", "a", "b c"]
    assert container.read("directory") == "/opt/ml/input/data/s3-channel"


def test_a_script_of_a_channel_is_stopped_and_its_last_lines_run(engine: Engine, ml: Path) -> None:
    script(
        ml / "input/data/s3-channel/custom_entrypoint.sh",
        "python3 /opt/programs/saver.py\necho $? > /opt/ml/model/artifact\n",
    )
    container = engine.start("--script", "s3-channel/custom_entrypoint.sh", "train", options=mounted(ml))
    container.ready()
    assert container.stop() == 0, container.output
    assert container.lines("told") == ["SIGTERM"]
    assert (ml / "model/artifact").read_text() == "0\n"


def test_smentry_as_the_entrypoint_of_the_job(engine: Engine) -> None:
    container = engine.start("train", "x", options=("--entrypoint", "smentry"))
    assert container.end() == 0, container.output
    assert facts(container)["argv"] == ["/opt/programs/train.py", "x"]


def test_a_link_named_train_as_the_entrypoint_of_the_job(engine: Engine) -> None:
    container = engine.start("--epochs", "3", options=("--entrypoint", "/opt/links/train"))
    assert container.end() == 0, container.output
    assert facts(container)["argv"] == ["/opt/programs/train.py", "--epochs", "3"]


def test_a_shell_as_the_entrypoint_whose_script_hands_over_to_smentry(engine: Engine, ml: Path) -> None:
    script(
        ml / "input/data/ch/custom_entrypoint.sh",
        "exec smentry python3 /opt/programs/saver.py\n",
    )
    container = engine.start(
        "/opt/ml/input/data/ch/custom_entrypoint.sh", options=("--entrypoint", "/bin/sh", *mounted(ml))
    )
    container.ready()
    assert container.stop() == 0, container.output
    assert container.lines("told") == ["SIGTERM"]
    assert container.has("saved")


def test_a_shell_as_the_entrypoint_whose_script_does_without_smentry(engine: Engine, ml: Path) -> None:
    script(ml / "input/data/ch/custom_entrypoint.sh", NOTES_ARGUMENTS + "exit 5\n")
    container = engine.start(
        "/opt/ml/input/data/ch/custom_entrypoint.sh", "a", options=("--entrypoint", "/bin/sh", *mounted(ml))
    )
    assert container.end() == 5
    assert container.lines("arguments") == ["a"]


def test_a_shell_as_the_entrypoint_whose_script_starts_smentry_as_a_child(engine: Engine, ml: Path) -> None:
    script(
        ml / "input/data/ch/custom_entrypoint.sh",
        "smentry -- sh /opt/programs/wrapper.sh & child=$!\ntrap 'kill -TERM $child' TERM\nwait $child\nwait $child\n",
    )
    container = engine.start(
        "/opt/ml/input/data/ch/custom_entrypoint.sh", options=("--entrypoint", "/bin/sh", *mounted(ml))
    )
    container.ready()
    assert container.stop() == 0, container.output
    assert container.lines("told") == ["SIGTERM"]
    assert container.read("next") == "0"


def test_no_argument_is_train_where_there_is_a_job(engine: Engine, ml: Path) -> None:
    container = engine.start(options=mounted(ml))
    assert container.end() == 0, container.output
    assert facts(container)["argv"] == ["/opt/programs/train.py"]


def test_no_argument_runs_what_the_sdk_has_sent(engine: Engine, ml: Path) -> None:
    channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
    (ml / "input/config/inputdataconfig.json").write_text(json.dumps({"code": channel, "sm_drivers": channel}))
    for directory in ("code", "sm_drivers"):
        (ml / "input/data" / directory).mkdir()
    # The first line is empty, as in the SDK's template; `[[` is for bash alone.
    script(
        ml / "input/data/sm_drivers/sm_train.sh", f"\n#!/bin/bash\nset -e\n[[ $SM_HP_EPOCHS == 3 ]]\n{NOTES_ARGUMENTS}"
    )
    container = engine.start(options=mounted(ml))
    assert container.end() == 0, container.output
    assert container.lines("arguments") == []


def test_no_argument_without_a_job_is_an_error_that_says_how(engine: Engine) -> None:
    container = engine.start()
    assert container.end() == 2
    assert "smentry --help" in container.output
    assert not container.has("ready")


def test_a_script_of_the_code_channel_is_found_by_itself(engine: Engine, image: str, ml: Path) -> None:
    bare = engine.build(f"FROM {image}\nRUN rm /usr/local/bin/train\n", ml)
    config = ml / "input/config/inputdataconfig.json"
    channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
    config.write_text(json.dumps({"code": channel}))
    (ml / "input/data/code").mkdir()
    script(ml / "input/data/code/custom_entrypoint.sh", NOTES_ARGUMENTS)
    container = engine.start("train", "a", image=bare, options=mounted(ml))
    assert container.end() == 0, container.output
    assert container.lines("arguments") == ["--epochs", "3", "a"]


def test_nothing_to_train_names_the_places_and_leaves_the_failure_file(engine: Engine, image: str, ml: Path) -> None:
    bare = engine.build(f"FROM {image}\nRUN rm /usr/local/bin/train\n", ml)
    container = engine.start("train", image=bare, options=mounted(ml))
    assert container.end() == 127
    assert "Traceback" not in container.output
    failure = (ml / "output/failure").read_text()
    assert "custom_entrypoint" in failure
    assert len(failure) <= 1024


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("true",), 0),
        (("sh", "-c", "exit 1"), 1),
        (("sh", "-c", "exit 255"), 255),
        (("sh", "-c", "kill -KILL $$"), 137),
        (("sh", "-c", "kill -SEGV $$"), 139),
        (("-e", "3", "sh", "-c", "exit 3"), 0),
        (("/etc/passwd",), 126),
        (("no-such-command",), 127),
        (("--no-such-option", "true"), 2),
        (("--stop-timeout", "1s", "true"), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_exit_codes_reach_the_engine(engine: Engine, command: tuple[str, ...], code: int) -> None:
    words, _name, _state = engine.command(*command)
    ran = docker("run", *words, check=False)
    assert ran.returncode == code, ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_program_sees_its_budget(engine: Engine) -> None:
    container = engine.start("--stop-timeout", "60s", "train")
    assert container.end() == 0, container.output
    environment = facts(container)["environment"]
    assert environment["SMENTRY_STOP_TIMEOUT"] == "60"
    assert environment["SMENTRY_GRACE_SECONDS"] == "55"
    assert environment["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] == "55"
