from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from container import Directory, Fifo, Tree

from smentry.errors import RefusedError
from smentry.sagemaker import inputs
from smentry.sagemaker.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def found(tree: Tree) -> list[tuple[str, str, bool, bool]]:
    channels = inputs.channels(Layout(str(tree.base)))
    return [(name, channel.mode, channel.sharded, channel.declared) for name, channel in channels.items()]


def test_channels_are_what_the_platform_describes(tree: Tree) -> None:
    tree.put("input/data/undescribed", Directory())
    tree.channels(
        train="File",
        code="FastFile",
        stream="Pipe",
        part={
            "TrainingInputMode": "File",
            "S3DistributionType": "ShardedByS3Key",
            "RecordWrapperType": "None",
        },
        fs={"TrainingInputMode": "File"},
    )
    assert found(tree) == [
        ("code", "FastFile", False, True),
        ("fs", "File", False, True),
        ("part", "File", True, True),
        ("stream", "Pipe", False, True),
        ("train", "File", False, True),
    ]


def test_without_a_description_they_are_the_directories(tree: Tree) -> None:
    assert found(tree) == []
    tree.put("input/data/b", Directory())
    tree.put("input/data/a/x", "1")
    tree.put("input/data/manifest", "no channel")
    tree.put("input/data/stream_of_x_0", Fifo())
    assert found(tree) == [
        ("a", "File", False, False),
        ("b", "File", False, False),
        ("stream_of_x", "Pipe", False, False),
    ]


@pytest.mark.parametrize("text", ["{}", "\ufeff{}\r\n", ' {"code": {}} '])
def test_a_description_may_look_like_this(tree: Tree, text: str) -> None:
    tree.put("input/data/x", Directory())
    tree.put("input/config/inputdataconfig.json", text)
    assert [name for name, *_ in found(tree)] == (["code"] if "code" in text else [])


@pytest.mark.parametrize(
    ("value", "program"),
    [
        ("train.py", "train.py"),
        ('"train.py"', "train.py"),
        ('"my train.py"', "my train.py"),
        ('"odd', '"odd'),
    ],
)
def test_the_program_is_plain_or_encoded_as_json(tree: Tree, value: str, program: str) -> None:
    tree.put("input/config/hyperparameters.json", {"sagemaker_program": value, "epochs": "3"})
    assert inputs.program(Layout(str(tree.base))) == program


def test_no_program(tree: Tree) -> None:
    assert inputs.program(Layout(str(tree.base))) is None
    tree.put("input/config/hyperparameters.json", {"epochs": "3"})
    assert inputs.program(Layout(str(tree.base))) is None


# -- hyperparameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30", 30),
        ("1e-4", 0.0001),
        ("00123", "00123"),
        ("-Infinity", float("-inf")),
        ("nan", "nan"),
        ("true", True),
        ("True", "True"),
        ("null", None),
        ("", ""),
        ('"adam"', "adam"),
        ("adam", "adam"),
        (" [1, 2] ", [1, 2]),
        ("[1, 2", "[1, 2"),
        ('{"a": {"b": [null]}}', {"a": {"b": [None]}}),
        ("s3://bucket/key", "s3://bucket/key"),
        ("ü" * 131072, "ü" * 131072),
        (7, 7),
        (None, None),
        ({"a": "1"}, {"a": "1"}),
    ],
)
def test_a_hyperparameter_is_decoded_where_it_is_json(tree: Tree, text: Any, value: Any) -> None:
    tree.put("input/config/hyperparameters.json", {"x": text})
    assert inputs.hyperparameters(Layout(str(tree.base))) == {"x": value}


def test_not_a_number_is_a_number(tree: Tree) -> None:
    tree.put("input/config/hyperparameters.json", {"x": "NaN"})
    assert repr(inputs.hyperparameters(Layout(str(tree.base)))) == "{'x': nan}"


def test_hyperparameters_keep_their_names_and_their_order(tree: Tree) -> None:
    names = ["z", "learning-rate", "a b", "größe", "x.y", "", *(f"p{number}" for number in range(94))]
    tree.put("input/config/hyperparameters.json", dict.fromkeys(names, "1"))
    assert list(inputs.hyperparameters(Layout(str(tree.base)))) == names


# -- resources -----------------------------------------------------------------------------------------


def test_resources_are_those_of_the_file(tree: Tree) -> None:
    groups = [
        {"instance_group_name": "a", "instance_type": "ml.m5.large", "hosts": ["algo-2"]},
        {"instance_group_name": "b", "instance_type": "ml.g5.xlarge", "hosts": ["algo-10", "algo-1"]},
    ]
    described = {
        "current_host": "algo-10",
        "hosts": ["algo-2", "algo-10", "algo-1"],
        "network_interface_name": "ethwe",
        "current_instance_type": "ml.g5.xlarge",
        "current_group_name": "b",
        "instance_groups": groups,
        "topology": [{"hostName": "algo-1"}],
        "new": 1,
    }
    tree.put("input/config/resourceconfig.json", described)
    found = inputs.resources(Layout(str(tree.base)))
    assert (found.current_host, found.hosts, found.rank) == ("algo-10", ["algo-2", "algo-10", "algo-1"], 1)
    assert (found.network_interface, found.instance_type, found.group) == ("ethwe", "ml.g5.xlarge", "b")
    assert (found.groups, found.topology, found.raw) == (groups, [{"hostName": "algo-1"}], described)


@pytest.mark.parametrize("described", [None, {"hosts": ["algo-1"], "current_host": "algo-1"}, {}])
def test_what_the_file_does_not_say_is_as_in_a_local_run(tree: Tree, described: dict[str, Any] | None) -> None:
    if described is not None:
        tree.put("input/config/resourceconfig.json", described)
    found = inputs.resources(Layout(str(tree.base)))
    host = "algo-1" if described else socket.gethostname()
    assert (found.current_host, found.hosts, found.rank) == (host, [host], 0)
    assert (found.network_interface, found.instance_type, found.group) == ("eth0", "local", "homogeneousCluster")
    assert [group["hosts"] for group in found.groups] == ([[host]] if described is None else [])


def test_a_processing_job_has_its_own_place(tree: Tree) -> None:
    layout = Layout(str(tree.base))
    assert not layout.is_processing()
    tree.put("config/processingjobconfig.json", {"ProcessingJobName": "p"})
    tree.put("config/resourceconfig.json", {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"]})
    assert layout.is_processing()
    assert inputs.resources(layout).rank == 1
    tree.put("input/config/resourceconfig.json", {"current_host": "algo-1", "hosts": ["algo-1"]})
    assert inputs.resources(layout).hosts == ["algo-1"]


@pytest.mark.parametrize(
    ("described", "says"),
    [
        ('{"hosts": ?}', ":1:11: not JSON: expecting value; expected an object with current_host and hosts"),
        ([], ": expected an object with current_host and hosts, got a list"),
        ({"current_host": 1}, ": current_host: expected a name, got 1"),
        ({"current_host": ""}, ": current_host: expected a name, got ''"),
        ({"hosts": "algo-1"}, ": hosts: expected a list of names, got 'algo-1'"),
        ({"hosts": []}, ": hosts: expected a list of names, got []"),
        ({"hosts": ["algo-1", 2]}, ": hosts: expected a list of names, got one with 2"),
        ({"hosts": ["algo-1", "a\nb"]}, ": hosts: expected a list of names, got one with 'a\\nb'"),
        ({"hosts": ["algo-1", "a\0b"]}, ": hosts: expected a list of names, got one with 'a\\x00b'"),
        (
            {"current_host": "algo-3", "hosts": ["algo-1", "algo-2"]},
            ": current_host: expected one of hosts (algo-1, algo-2), got 'algo-3'",
        ),
        ({"instance_groups": {"a": 1}}, ": instance_groups: expected a list, got {'a': 1}"),
        (
            {"instance_groups": [{"hosts": ["a"]}]},
            ": instance_groups[0]: expected an object with instance_group_name and hosts, got {'hosts': ['a']}",
        ),
        (
            {"instance_groups": [{"instance_group_name": "a", "hosts": ["a"]}, {"instance_group_name": "b"}]},
            ": instance_groups[1].hosts: expected a list of names, got nothing",
        ),
    ],
)
def test_broken_resources_are_refused(tree: Tree, described: Any, says: str) -> None:
    file = tree.put("input/config/resourceconfig.json", described)
    with pytest.raises(RefusedError) as refused:
        inputs.resources(Layout(str(tree.base)))
    assert refused.value.message == f"{file}{says}"
    assert refused.value.code == 2
