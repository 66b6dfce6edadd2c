from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from container import Directory, Fifo, Tree

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
