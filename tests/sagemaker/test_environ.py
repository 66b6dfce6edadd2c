"""What the toolkit sets is compared with the toolkit itself in test_parity; here is what can be said without it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smentry.errors import RefusedError
from smentry.sagemaker import environ
from smentry.sagemaker.inputs import Channel, Inputs, Resources
from smentry.sagemaker.layout import Layout

LAYOUT = Layout("/opt/ml")
FACTS = environ.Facts("train.py", "/opt/ml/code", cpus=4, gpus=2, neurons=8)


def inputs(resources: dict[str, Any] | None = None, **parameters: Any) -> Inputs:
    raw = {"current_host": "algo-2", "hosts": ["algo-1", "algo-2", "algo-10"], **(resources or {})}
    channels = {name: Channel(name, raw={"TrainingInputMode": "File"}) for name in ("train", "my-test")}
    return Inputs(parameters, channels, Resources(raw, raw["current_host"], raw["hosts"]))


def told(known: Inputs, facts: environ.Facts = FACTS, **environment: str) -> dict[str, str]:
    return environ.variables(known, LAYOUT, environment, facts)


def test_every_variable_of_the_toolkit_and_of_the_drivers_is_set() -> None:
    names = """
        CHANNELS CHANNEL_MY-TEST CHANNEL_TRAIN CURRENT_HOST CURRENT_INSTANCE_GROUP CURRENT_INSTANCE_GROUP_HOSTS
        CURRENT_INSTANCE_TYPE DISTRIBUTION_INSTANCE_GROUPS FRAMEWORK_MODULE FRAMEWORK_PARAMS HOSTS HPS INPUT_CONFIG_DIR
        INPUT_DATA_CONFIG INPUT_DIR INSTANCE_GROUPS INSTANCE_GROUPS_DICT IS_HETERO LOG_LEVEL MODEL_DIR MODULE_DIR
        MODULE_NAME NETWORK_INTERFACE_NAME NUM_CPUS NUM_GPUS NUM_NEURONS OUTPUT_DATA_DIR OUTPUT_DIR OUTPUT_INTERMEDIATE_DIR
        RESOURCE_CONFIG TRAINING_ENV USER_ARGS USER_ENTRY_POINT
        INPUT_DATA_DIR OUTPUT_FAILURE HOST_COUNT CURRENT_HOST_RANK MASTER_ADDR MASTER_PORT SOURCE_DIR ENTRY_SCRIPT
    """
    expected = {f"SM_{name}" for name in names.split()}
    assert set(told(inputs())) == expected | {"CURRENT_HOST", "SAGEMAKER_JOB_NAME", "SAGEMAKER_REGION"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SM_MODEL_DIR", "/opt/ml/model"),
        ("SM_INPUT_DIR", "/opt/ml/input"),
        ("SM_INPUT_CONFIG_DIR", "/opt/ml/input/config"),
        ("SM_INPUT_DATA_DIR", "/opt/ml/input/data"),
        ("SM_OUTPUT_DIR", "/opt/ml/output"),
        ("SM_OUTPUT_DATA_DIR", "/opt/ml/output/data"),
        ("SM_OUTPUT_INTERMEDIATE_DIR", "/opt/ml/output/intermediate"),
        ("SM_OUTPUT_FAILURE", "/opt/ml/output/failure"),
        ("SM_CHANNELS", '["my-test","train"]'),
        ("SM_CHANNEL_TRAIN", "/opt/ml/input/data/train"),
        ("SM_HOSTS", '["algo-1","algo-2","algo-10"]'),
        ("SM_HOST_COUNT", "3"),
        ("SM_CURRENT_HOST_RANK", "2"),  # by name: algo-1, algo-10, algo-2
        ("SM_MASTER_ADDR", "algo-1"),
        ("SM_MASTER_PORT", "7777"),
        ("SM_NUM_CPUS", "4"),
        ("SM_NUM_GPUS", "2"),
        ("SM_NUM_NEURONS", "8"),
        ("SM_USER_ENTRY_POINT", "train.py"),
        ("SM_ENTRY_SCRIPT", "train.py"),
        ("SM_MODULE_NAME", "train"),
        ("SM_MODULE_DIR", "/opt/ml/code"),
        ("SM_SOURCE_DIR", "/opt/ml/code"),
        ("SM_HPS", '{"api-key":"x","lr":0.0001,"off":null,"text":"00123"}'),
        ("SM_HP_LR", "0.0001"),
        ("SM_HP_OFF", ""),
        ("SM_HP_TEXT", "00123"),
        ("SM_HP_API-KEY", "x"),
        ("SM_HP_API_KEY", "x"),
        ("SM_USER_ARGS", '["--api-key","x","--lr","0.0001","--off","","--text","00123"]'),
        ("SM_FRAMEWORK_PARAMS", '{"sagemaker_other":1}'),
        ("SAGEMAKER_JOB_NAME", "job"),
    ],
)
def test_a_variable_says(name: str, value: str) -> None:
    own = {"sagemaker_job_name": "job", "sagemaker_other": 1}
    assert told(inputs(lr=0.0001, off=None, text="00123", **{"api-key": "x"}, **own))[name] == value


def test_a_name_with_a_dash_does_not_take_the_place_of_one_without() -> None:
    made = told(inputs(**{"a_b": 1, "a-b": 2}))
    assert (made["SM_HP_A_B"], made["SM_HP_A-B"]) == ("1", "2")


def test_what_the_platform_says_counts_and_what_only_the_drivers_know_may_be_set() -> None:
    made = told(inputs(), SM_MODEL_DIR="/mine", SM_MASTER_PORT="29500", SM_MASTER_ADDR="me")
    assert made["SM_MODEL_DIR"] == "/opt/ml/model"
    assert not {"SM_MASTER_PORT", "SM_MASTER_ADDR"} & set(made)
    assert json.loads(made["SM_TRAINING_ENV"])["master_port"] == 29500


@pytest.mark.parametrize(
    ("parameters", "environment", "region"),
    [
        ({"sagemaker_region": "a"}, {"AWS_DEFAULT_REGION": "b"}, "a"),
        ({}, {"AWS_DEFAULT_REGION": "b", "AWS_REGION": "c"}, "b"),
        ({}, {"AWS_REGION": "c", "SAGEMAKER_REGION": "d"}, "c"),
        ({}, {"SAGEMAKER_REGION": "d"}, "d"),
        ({}, {}, ""),
    ],
)
def test_the_region(parameters: dict[str, str], environment: dict[str, str], region: str) -> None:
    assert told(inputs(**parameters), **environment)["SAGEMAKER_REGION"] == region


def test_where_the_code_came_from() -> None:
    assert told(inputs(), SAGEMAKER_SUBMIT_DIRECTORY="s3://a/b")["SM_MODULE_DIR"] == "s3://a/b"
    assert told(inputs(sagemaker_submit_directory="s3://c/d"), SAGEMAKER_SUBMIT_DIRECTORY="s3://a/b")[
        "SM_MODULE_DIR"
    ] == ("s3://c/d")


def test_a_command_is_no_script() -> None:
    made = told(inputs(), environ.Facts())
    assert (made["SM_USER_ENTRY_POINT"], made["SM_MODULE_NAME"]) == ("", "")
    assert made["SM_MODULE_DIR"] == "/opt/ml/code"
    assert not {"SM_SOURCE_DIR", "SM_ENTRY_SCRIPT"} & set(made)


def test_what_the_sdk_tells_its_drivers_is_passed_on() -> None:
    facts = environ.Facts()
    facts.source = {"entry_script": "main.py"}
    facts.distributed = {"process_count_per_node": 2}
    made = told(inputs(), facts)
    assert (made["SM_ENTRY_SCRIPT"], made["SM_SOURCE_DIR"]) == ("main.py", "/opt/ml/input/data/code")
    assert made["SM_DISTRIBUTED_CONFIG"] == '{"process_count_per_node":2}'
    assert made["SM_DISTRIBUTED_DRIVER_DIR"] == "/opt/ml/input/data/sm_drivers/distributed_drivers"


GROUPS = {
    "current_group_name": "b",
    "instance_groups": [
        {"instance_group_name": "a", "instance_type": "x", "hosts": ["algo-1"]},
        {"instance_group_name": "b", "instance_type": "y", "hosts": ["algo-2", "algo-10"]},
    ],
}


@pytest.mark.parametrize(
    ("parameters", "groups", "hosts", "master"),
    [
        ({}, [], [], "algo-1"),
        ({"sagemaker_torch_distributed_enabled": True}, ["b"], ["algo-2", "algo-10"], "algo-2"),
        ({"sagemaker_distribution_instance_groups": ["a", "b"]}, ["a", "b"], ["algo-1", "algo-2", "algo-10"], "algo-1"),
    ],
)
def test_a_distributed_run_is_spread_over_groups(
    parameters: dict[str, Any], groups: list[str], hosts: list[str], master: str
) -> None:
    made = told(inputs(GROUPS, **parameters))
    described = json.loads(made["SM_TRAINING_ENV"])
    assert json.loads(made["SM_DISTRIBUTION_INSTANCE_GROUPS"]) == groups
    assert (described["distribution_hosts"], described["master_hostname"]) == (hosts, master)
    assert (made["SM_IS_HETERO"], made["SM_INSTANCE_GROUPS"]) == ("true", '["a","b"]')
    assert made["SM_CURRENT_INSTANCE_GROUP_HOSTS"] == '["algo-2","algo-10"]'
    assert described["is_master"] is (master == "algo-2")


@pytest.mark.parametrize("value", ["a", 1, ["a", 2], {"a": 1}])
def test_groups_that_are_no_list_of_names_are_refused(value: Any) -> None:
    with pytest.raises(
        RefusedError, match=r"hyperparameters\.json: sagemaker_distribution_instance_groups: expected a list"
    ):
        told(inputs(sagemaker_distribution_instance_groups=value))
