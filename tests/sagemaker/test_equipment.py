from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from container import Executable, Tree

from smentry.errors import RefusedError
from smentry.sagemaker import equipment, program
from smentry.sagemaker.layout import Layout
from smentry.sagemaker.program import Found

if TYPE_CHECKING:
    from pathlib import Path

    from smentry.sagemaker.equipment import Equipment

PARAMETERS = "input/config/hyperparameters.json"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path)
    tree.put(PARAMETERS, {"epochs": "3", "sagemaker_program": "train.py"})
    return tree


def equip(
    tree: Tree, kind: str = program.TOOLKIT, verb: str = "train", how: str | None = None, **environment: str
) -> Equipment:
    layout = Layout(str(tree.base))
    found = Found(["python3", "train.py"], layout.code, "train.py", "a test", kind=kind)
    return equipment.equip(verb, found, ["a", "b"], environment, layout, how)


@pytest.mark.parametrize("kind", [program.TOOLKIT, program.COMMAND, program.SCRIPT])
@pytest.mark.parametrize(
    ("how", "has_arguments", "has_variables"),
    [
        (None, True, True),
        ("both", True, True),
        ("arguments", True, False),
        ("environment", False, True),
        ("none", False, False),
    ],
)
def test_hyperparameters_go_the_way_that_is_asked_for(
    tree: Tree, kind: str, how: str | None, has_arguments: bool, has_variables: bool
) -> None:
    gear = equip(tree, kind, how=how)
    assert gear.argv == ["python3", "train.py", *(["--epochs", "3"] if has_arguments else []), "a", "b"]
    assert ("SM_HP_EPOCHS" in gear.environment) is has_variables
    assert ("SM_MODEL_DIR" in gear.environment) is has_variables
    assert gear.environment["PYTHONUNBUFFERED"] == "1"
    assert set(gear.added) == set(gear.environment)


@pytest.mark.parametrize("kind", [program.ON_PATH, program.SDK])
def test_what_the_platform_starts_without_arguments_gets_none_unless_asked_for(tree: Tree, kind: str) -> None:
    gear = equip(tree, kind)
    assert gear.argv == ["python3", "train.py", "a", "b"]
    assert gear.environment["SM_HP_EPOCHS"] == "3"
    assert equip(tree, kind, how="both").argv == ["python3", "train.py", "--epochs", "3", "a", "b"]


def test_serve_gets_two_variables_and_reads_nothing(tree: Tree) -> None:
    tree.put("input/config/resourceconfig.json", "broken")
    gear = equip(tree, verb="serve", how="both", A="1")
    assert gear.argv == ["python3", "train.py", "a", "b"]
    assert gear.environment == {"A": "1", "PYTHONUNBUFFERED": "1", "SM_MODEL_DIR": str(tree.base / "model")}
    assert equip(tree, verb="serve", PYTHONUNBUFFERED="", SM_MODEL_DIR="/x").added == []


def test_with_neither_way_no_file_is_read(tree: Tree) -> None:
    tree.put("input/config/resourceconfig.json", "broken")
    assert equip(tree, how="none").argv == ["python3", "train.py", "a", "b"]
    with pytest.raises(RefusedError, match=r"resourceconfig\.json:1:1: not JSON"):
        equip(tree)


@pytest.mark.parametrize(
    ("kind", "given", "searched"),
    [
        (program.TOOLKIT, {}, "{code}"),
        (program.TOOLKIT, {"PYTHONPATH": "/a:/b"}, "{code}:/a:/b"),
        (program.TOOLKIT, {"PYTHONPATH": "/a:{code}"}, "/a:{code}"),
        (program.COMMAND, {"PYTHONPATH": "/a"}, "/a"),
        (program.SCRIPT, {}, None),
    ],
)
def test_a_program_of_the_toolkits_kind_finds_its_modules(
    tree: Tree, kind: str, given: dict[str, str], searched: str | None
) -> None:
    code = str(tree.base / "code")
    given = {name: value.format(code=code) for name, value in given.items()}
    found = equip(tree, kind, **given).environment.get("PYTHONPATH")
    assert found == (searched.format(code=code) if searched else None)


def test_a_variable_that_cannot_be_passed_is_left_out_with_a_warning_and_nobody_elses_is_taken_for_it(
    tree: Tree,
) -> None:
    tree.put(PARAMETERS, {"data": "x" * 262_144, "epochs": "3"})
    gear = equip(tree, program.ON_PATH, SM_HPS="{}", SM_HP_DATA="other")
    assert not {"SM_HPS", "SM_HP_DATA", "SM_USER_ARGS", "SM_TRAINING_ENV"} & set(gear.environment)
    assert gear.environment["SM_HP_EPOCHS"] == "3"
    assert len(gear.warnings) == 4
    for line in gear.warnings:
        assert "is left out: it is 26" in line
        assert line.endswith(f"expected 131071 or fewer (execve(2)); {tree.base / PARAMETERS} has it all")
    with pytest.raises(RefusedError, match="'data': its value is 262144 bytes long"):
        equip(tree, program.TOOLKIT)


def test_no_depth_is_a_defect(tree: Tree) -> None:
    said = set()
    for depth in (10, 300, 490, 900, 970, 990, 1500, 5000, 20_000, 60_000):
        tree.put(PARAMETERS, {"deep": "[" * depth + "]" * depth})
        try:
            assert equip(tree).argv[3].count("[") == depth
        except RefusedError as error:
            said.add(f"{depth >= 300}: {error.message}")
    assert said <= {f"True: {tree.base / PARAMETERS}: expected values that are nested less deep"}


def test_twice_gives_the_same(tree: Tree) -> None:
    first = equip(tree)
    second = equip(tree, **first.environment)
    assert (second.argv, second.environment) == (first.argv, first.environment)


# -- as a real process ---------------------------------------------------------------------------------

SHOW = 'echo "$@"; echo "$SM_HP_EPOCHS $SM_MODEL_DIR $PYTHONUNBUFFERED"\n'


def out(tree: Tree, *arguments: str, **variables: Any) -> list[str]:
    result = tree.run("-q", "--requirements", "ignore", *arguments, **variables)
    assert (result.code, result.err) == (0, "")
    return result.out.splitlines()


def test_a_command_gets_nothing(tree: Tree) -> None:
    assert out(tree, "sh", "-c", SHOW, "x", "a") == ["a", "  "]


def test_a_train_on_path_gets_variables(tree: Tree) -> None:
    tree.put(PARAMETERS, {"epochs": "3"})
    tree.put("../bin/train", Executable(f"#!/bin/sh\n{SHOW}"))
    assert out(tree, "train", "a") == ["a", f"3 {tree.base}/model 1"]
    assert out(tree, "--hyperparameters", "both", "train", "a")[0] == "--epochs 3 a"
    assert out(tree, "train", SMENTRY_HYPERPARAMETERS="none") == ["", "  1"]


def test_a_script_of_a_channel_gets_both(tree: Tree) -> None:
    tree.put("input/data/code/x.sh", SHOW)
    for words in (["train"], []):
        assert out(tree, "--script", "code/x.sh", *words) == ["--epochs 3", f"3 {tree.base}/model 1"]
