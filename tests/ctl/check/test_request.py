"""What is said of a request: which rule, of which part of it, and nothing where nothing is wrong."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smentry.ctl.check import request
from smentry.errors import RefusedError

ALGORITHM = "AlgorithmSpecification"
REQUEST: dict[str, Any] = {
    "TrainingJobName": "a-job",
    "RoleArn": "arn:aws:iam::111122223333:role/training",
    ALGORITHM: {"TrainingImage": "mine", "TrainingInputMode": "File"},
    "InputDataConfig": [
        {
            "ChannelName": "code",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://amzn-s3-demo-bucket/code"}},
        }
    ],
    "OutputDataConfig": {"S3OutputPath": "s3://amzn-s3-demo-bucket/output"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
}


def running(
    entrypoint: list[str] | None = None, arguments: list[str] | None = None, **members: object
) -> dict[str, Any]:
    """A request with this command, and with these members."""
    made = copy.deepcopy(REQUEST)
    if entrypoint is not None:
        made[ALGORITHM]["ContainerEntrypoint"] = entrypoint
    if arguments is not None:
        made[ALGORITHM]["ContainerArguments"] = arguments
    return copy.deepcopy({**made, **members})


def codes(wanted: dict[str, Any]) -> list[str]:
    return [breach.code for breach in request.breaches(wanted)]


def breach(wanted: dict[str, Any]) -> request.Breach:
    """The only rule that is broken."""
    (found,) = request.breaches(wanted)
    return found


# -- the container's command -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        (None, None),
        (None, ["--epochs", "10"]),
        (["python3", "/app/train.py"], ["--epochs", "10"]),
        (["python", "-u", "/opt/ml/input/data/code/train.py"], None),
        (["python3", "-c", "import train; train.main(epochs=3 | 4)"], None),
        (["smentry"], None),
        (["smentry", "train"], None),
        (["smentry"], ["--script", "code/sub/custom_entrypoint.sh", "train", "--epochs", "10"]),
        (["smentry", "--"], ["/bin/sh", "/opt/ml/input/data/code/custom_entrypoint.sh"]),
        (["smentry", "--train", "sh -c 'cd $HOME && python3 train.py'"], ["train"]),
        (["/usr/bin/env", "OMP_NUM_THREADS=4", "smentry"], ["train"]),
        (["smentry", "--config", "/no/such/file.yaml", "train"], None),
        (["bash", "-c"], ["exec python3 train.py"]),
        (["bash", "-o", "pipefail", "-c", "trap 'kill -TERM $!' TERM; python3 train.py & wait"], None),
        (["tini", "--", "python3", "/app/train.py"], None),
        (["tini", "-p", "SIGTERM", "--", "python3", "/app/train.py"], None),
        (["tini", "-g", "--", "bash", "/app/run.sh"], None),
        (["dumb-init", "--", "bash", "/app/run.sh"], None),
        (["tini", "--", "smentry"], ["train"]),
        (["python3", "train.py"], ["--separator", "|", "--end", ";", "--text", "two words", "--regex", "a$"]),
        (["python3", "train.py"], ["--override", "data.dir=${data.root}/x"]),
        (["/opt/program/train"], None),
    ],
)
def test_nothing_is_said_of_a_command_that_works(command: tuple[list[str] | None, list[str] | None]) -> None:
    assert request.breaches(running(*command)) == []


@pytest.mark.parametrize(
    ("entrypoint", "arguments", "code", "key", "index"),
    [
        (["/bin/sh"], ["/mydir/custom_entrypoint.sh"], "SM320", "ContainerEntrypoint", 0),
        (["/bin/sh"], None, "SM320", "ContainerEntrypoint", 0),
        (["bash", "-ec", "cd /app && python3 train.py"], None, "SM320", "ContainerEntrypoint", 0),
        (["env", "-u", "LANG", "A=b", "sh", "run.sh"], None, "SM320", "ContainerEntrypoint", 4),
        (["bash", "-c", "exec python3 prepare.py; python3 train.py"], None, "SM320", "ContainerEntrypoint", 0),
        (["tini"], None, "SM321", "ContainerEntrypoint", 0),
        (["tini", "--"], ["train"], "SM321", "ContainerArguments", 0),
        (["catatonit", "--", "bash"], ["/app/run.sh"], "SM321", "ContainerEntrypoint", 2),
        (["tini", "-e", "143", "-vv", "--", "sh", "-c", "python3 a.py; b"], None, "SM321", "ContainerEntrypoint", 5),
        (["python3 train.py"], None, "SM322", "ContainerEntrypoint", 0),
        (["python3"], ["train.py --epochs 10"], "SM322", "ContainerArguments", 0),
        (["python3", "train.py"], ["--epochs 10"], "SM322", "ContainerArguments", 0),
        (None, ["torchrun --nproc_per_node 8 train.py"], "SM322", "ContainerArguments", 0),
        (["python3", "train.py", "&&", "python3", "report.py"], None, "SM323", "ContainerEntrypoint", 2),
        (["python3", "train.py"], ["--data", "${SM_CHANNEL_TRAINING}"], "SM323", "ContainerArguments", 1),
        (["/opt/ml/input/data/code/run.sh"], None, "SM305", "ContainerEntrypoint", 0),
        (["smentry", "-v", "--", "/opt/ml/input/data/code/run.sh"], None, "SM305", "ContainerEntrypoint", 3),
        (["smentry", "--script"], ["kode/run.sh"], "SM304", "ContainerArguments", 0),
        (["smentry"], ["--script=kode/run.sh"], "SM304", "ContainerArguments", 0),
        (None, ["--script", "kode/run.sh"], "SM304", "ContainerArguments", 1),
        (["torchrun", "--nnodes", "1"], ["/opt/ml/input/data/kode/train.py"], "SM304", "ContainerArguments", 0),
        (["smentry", "python3", "/opt/ml/input/data/kode/program"], None, "SM304", "ContainerEntrypoint", 2),
        (["sh", "-c", "exec python3 /opt/ml/input/data/kode/train.py"], None, "SM304", "ContainerEntrypoint", 2),
        (["smentry", "--scope", "everybody", "train"], None, "SM501", "ContainerEntrypoint", 1),
        (["smentry", "--script", "../code/run.sh"], None, "SM501", "ContainerEntrypoint", 1),
        (["smentry", "--stop-timeout", "1h"], ["train"], "SM503", "ContainerEntrypoint", 1),
    ],
)
def test_what_is_wrong_with_a_command_is_said_of_the_word(
    entrypoint: list[str] | None, arguments: list[str] | None, code: str, key: str, index: int
) -> None:
    found = breach(running(entrypoint, arguments))
    assert (found.code, found.path) == (code, (ALGORITHM, key, index))


def test_data_is_no_script_and_may_be_in_a_channel_of_any_kind() -> None:
    made = running(["smentry", "python3", "/app/train.py"], ["/opt/ml/input/data/code", "/opt/ml/input/data/none"])
    made["InputDataConfig"][0]["InputMode"] = "Pipe"
    assert request.breaches(made) == []


@pytest.mark.parametrize("variable", ["SMENTRY_SCRIPT", "SMENTRY_LINGER", "SMENTRY_NOTHING"])
def test_smentry_is_asked_about_its_variables_unless_the_request_starts_something_else(variable: str) -> None:
    wrong = {"Environment": {variable: "../x"}}
    found = breach(running(**wrong))
    assert found.code == ("SM504" if variable == "SMENTRY_NOTHING" else "SM501")
    assert found.path == ("Environment", variable)
    assert breach(running(["smentry"], **wrong)) == found
    assert request.breaches(running(["python3", "train.py"], **wrong)) == []


def test_the_script_of_a_variable_has_a_channel_too() -> None:
    assert request.breaches(running(Environment={"SMENTRY_SCRIPT": "code/run.sh"})) == []
    assert breach(running(Environment={"SMENTRY_SCRIPT": "kode/run.sh"})).path == ("Environment", "SMENTRY_SCRIPT")


# -- channels --------------------------------------------------------------------------------------

SCRIPT = (["smentry"], ["--script", "code/custom_entrypoint.sh"])


@pytest.mark.parametrize(
    ("job", "channel"), [("Pipe", None), ("FastFile", None), ("File", "Pipe"), ("File", "FastFile")]
)
def test_a_channel_has_the_jobs_input_mode_where_it_has_none_of_its_own(job: str, channel: str | None) -> None:
    made = running(*SCRIPT)
    made[ALGORITHM]["TrainingInputMode"] = job
    if channel:
        made["InputDataConfig"][0]["InputMode"] = channel
    assert codes(made) == ["SM302"]
    made["InputDataConfig"][0]["InputMode"] = "File"
    assert codes(made) == []


def test_a_script_has_to_reach_the_instances_of_every_group() -> None:
    made = running(*SCRIPT)
    made["ResourceConfig"] = {
        "VolumeSizeInGB": 10,
        "InstanceGroups": [
            {"InstanceGroupName": name, "InstanceType": "ml.m5.large", "InstanceCount": 1} for name in ("a", "b")
        ],
    }
    source = made["InputDataConfig"][0]["DataSource"]["S3DataSource"]
    source["InstanceGroupNames"] = ["a", "b"]
    assert codes(made) == []
    source["InstanceGroupNames"] = ["a"]
    found = breach(made)
    assert found.code == "SM303"
    assert found.path[-1] == "InstanceGroupNames"
    assert "of b" in found.message


def test_a_file_system_is_whole_on_every_host() -> None:
    made = running(*SCRIPT)
    made["InputDataConfig"][0]["DataSource"] = {
        "FileSystemDataSource": {
            "FileSystemId": "fs-0123456789abcdef0",
            "FileSystemAccessMode": "ro",
            "FileSystemType": "EFS",
            "DirectoryPath": "/code",
        }
    }
    assert codes(made) == []


# -- the rest --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spot", "checkpoints", "longest", "wait", "expected"),
    [
        (False, False, 3600, None, []),
        (False, False, 3600, 3600, ["SM311"]),
        (True, True, 3600, 3600, []),
        (True, True, None, 86400, []),
        (True, True, None, 86399, ["SM311"]),
        (True, True, 3600, 3599, ["SM311"]),
        (True, True, 3600, None, ["SM311"]),
        (True, True, None, None, ["SM311"]),
        (True, False, 3600, 3600, ["SM310"]),
        (None, True, None, None, []),
    ],
)
def test_a_spot_job_has_checkpoints_and_time_to_wait(
    spot: bool | None, checkpoints: bool, longest: int | None, wait: int | None, expected: list[str]
) -> None:
    made = running()
    if spot is not None:
        made["EnableManagedSpotTraining"] = spot
    if checkpoints:
        made["CheckpointConfig"] = {"S3Uri": "s3://amzn-s3-demo-bucket/checkpoints"}
    times = {"MaxRuntimeInSeconds": longest, "MaxWaitTimeInSeconds": wait}
    made["StoppingCondition"] = {name: value for name, value in times.items() if value is not None}
    assert codes(made) == expected


@pytest.mark.parametrize(
    ("uri", "key", "expected"),
    [
        ("s3://models--usw2-az1--x-s3/out", "alias/models", ["SM312"]),
        ("s3://models--usw2-az1--x-s3", "alias/models", ["SM312"]),
        ("s3://models--usw2-az1--x-s3/out", "", []),
        ("s3://models/out--x-s3/", "alias/models", []),
        ("s3://models-x-s3/out", "alias/models", []),
    ],
)
def test_only_the_output_to_a_directory_bucket_has_no_key(uri: str, key: str, expected: list[str]) -> None:
    assert codes(running(OutputDataConfig={"S3OutputPath": uri, "KmsKeyId": key})) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", "4096"),
        ("pad_token", "<|endoftext|>"),
        ("eos_token", "</s></s></s>"),
        ("tokenizer", "bert-base-uncased"),
        ("key_column", "customer_id_number"),
        ("primary_key", "customer_id_number"),
        ("API_KEY", "none"),
        ("DB_PASSWORD", "arn:aws:secretsmanager:us-west-2:111122223333:secret:db"),
        ("DB_PASSWORD", "/team/database/password"),
        ("WANDB_API_KEY", "${WANDB_API_KEY}"),
        ("secret_name", "team/wandb/production"),
        ("url", "postgresql://db.example.com:5432/training"),
        ("image", "registry.example.com:5000/user@sha256:abc"),
    ],
)
def test_no_secret_is_seen_where_none_is(name: str, value: str) -> None:
    assert codes(running(HyperParameters={name: value})) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("db_password", "correct-horse"),
        ("url", "postgresql://trainer:correct-horse@db.example.com/x"),
        ("key", "-----BEGIN RSA PRIVATE KEY-----"),
        ("HF_TOKEN", "0123456789abcdef"),
    ],
)
def test_a_secret_is_seen_and_not_repeated(name: str, value: str) -> None:
    found = breach(running(HyperParameters={name: value}))
    assert (found.code, found.path) == ("SM330", ("HyperParameters", name))
    assert value not in found.message


def test_each_problem_of_the_model_has_the_place_of_its_part(tmp_path: Path) -> None:
    wrong = running(HyperParameters={"epochs": 3})
    wrong[ALGORITHM]["TrainingInputMode"] = "Files"
    path = tmp_path / "request.json"
    path.write_text(json.dumps(wrong, indent="\t"), encoding="utf-8")
    lines = path.read_text(encoding="utf-8").splitlines()
    found = request.findings(path)
    assert [finding.code for finding in found] == ["SM301", "SM301"]
    assert [lines[finding.line - 1][finding.column - 1 :].split(":")[0] for finding in found] == [
        '"TrainingInputMode"',
        '"epochs"',
    ]


def test_what_is_no_request_is_a_finding_and_what_cannot_be_read_is_not(tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    path.write_text('{"TrainingJobName": "a",\n  "RoleArn" "b"}', encoding="utf-8")
    (found,) = request.findings(path)
    assert (found.code, found.line, found.column) == ("SM301", 2, 13)
    path.write_text("[]", encoding="utf-8")
    (found,) = request.findings(path)
    assert (found.code, found.line) == ("SM301", 1)
    with pytest.raises(RefusedError, match="no such file"):
        request.findings(tmp_path / "nothing.json")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(REQUEST)), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_request_may_hold_anything_at_all(data: st.DataObject) -> None:
    made = running(*SCRIPT, Environment={}, HyperParameters={}, StoppingCondition={}, EnableManagedSpotTraining=True)
    for _ in range(data.draw(st.integers(1, 3))):
        holder: Any = made
        while True:
            keys = sorted(holder) if isinstance(holder, dict) else list(range(len(holder)))
            key = data.draw(st.sampled_from(keys)) if keys else None
            if key is None or not isinstance(holder[key], (dict, list)) or data.draw(st.booleans()):
                break
            holder = holder[key]
        if key is not None:
            holder[key] = copy.deepcopy(data.draw(VALUES))
    assert all(isinstance(found, request.Breach) for found in request.breaches(made))
