"""docs/contract.md and docs/smentry.md say what the code does: what they list is run, and what the code knows is listed."""

from __future__ import annotations

import ast
import functools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from container import ROOT, Tree

from smentry import config, job
from smentry.sagemaker.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs/contract.md").read_text(encoding="utf-8")
OPTIONS = (ROOT / "docs/smentry.md").read_text(encoding="utf-8")
DUMP = "import json, os, sys\nprint(json.dumps([sys.argv[1:], dict(os.environ)]))\n"
OF_A_STOP = {"SMENTRY_STOP_TIMEOUT", "SMENTRY_GRACE_SECONDS", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"}
OF_THE_PROGRAM = {"PWD", "LC_CTYPE"}
"""What a shell or Python sets by itself."""
NAMES = re.compile(r"(?:SAGEMAKER|AWS|CA|S3|NVIDIA|SM|TRAINING_JOB|CURRENT)_[A-Z0-9_]*[A-Z0-9]|sagemaker_\w+")
OF_A_DISTRIBUTED_RUN = re.compile(
    r"sagemaker_\w+_enabled|sagemaker_enable_cloudwatch_metrics|sagemaker_distribution_.*"
)
"""What a page for people need not name one by one."""


def section(title: str) -> str:
    """The text under a heading of the page."""
    (text,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert isinstance(text, str)
    return text


def rows(title: str) -> list[list[str]]:
    """The rows of the table in a section, without its head; `|` parts the cells."""
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def literal(cell: str) -> str:
    """What a cell shows: the code in it, or nothing where it says `empty`."""
    return "" if cell == "empty" else cell.strip("`")


# -- the variables and arguments of a training program -------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """The job of the page."""
    tree = Tree(tmp_path)
    shown = re.findall(r"^```json (\S+)\n(.*?)^```", section("Variables of a training program"), re.M | re.S)
    for name, text in shown:
        tree.put(f"input/config/{name}", text)
    assert [name for name, _ in shown] == ["hyperparameters.json", "inputdataconfig.json", "resourceconfig.json"]
    tree.put("code/train.py", DUMP)
    return tree


def dumped(tree: Tree, *arguments: str, **variables: str) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of the program that smentry starts."""
    result = tree.run("-q", "--wait-hosts", "0", "--watch-hosts", "0", *arguments, **variables)
    assert result.code == 0, result.err
    words, environment = json.loads(result.out)
    return words, environment


def listed() -> dict[str, tuple[bool, str]]:
    """The variables of the table: whether one that is set is kept, and the example."""
    return {
        name.partition(" ")[0]: ("†" in name, example) for name, _, example in rows("Variables of a training program")
    }


def kind(name: str) -> str:
    """The table's word for a variable."""
    for stem in ("SM_CHANNEL_", "SM_HP_"):
        if name.startswith(stem):
            return f"{stem}…"
    return name


def test_the_table_has_every_variable_that_a_training_program_gets_and_no_other(tree: Tree) -> None:
    tree.put(
        "input/config/resourceconfig.json",
        {**json.loads((tree.base / "input/config/resourceconfig.json").read_text()), "topology": [{"id": 1}]},
    )
    tree.put("input/data/sm_drivers/distributed.json", {"process_count_per_node": 1})
    _, environment = dumped(tree, "train")
    changed = {name for name, value in environment.items() if value != tree.environment.get(name)}
    assert {kind(name) for name in changed - OF_A_STOP - OF_THE_PROGRAM} == set(listed())


def test_the_examples_are_what_the_program_gets(tree: Tree) -> None:
    _, environment = dumped(tree, "train")
    for name, (_, example) in listed().items():
        name = name.replace("SM_CHANNEL_…", "SM_CHANNEL_TRAINING").replace("SM_HP_…", "SM_HP_LAYERS")
        if example == "not set":
            assert name not in environment
        elif example.startswith("`") or example == "empty":
            shown = environment[name].replace(str(tree.base), "/opt/ml")
            assert shown.removesuffix(f":{tree.environment['PYTHONPATH']}") == literal(example), name
        else:
            assert example in ("the object", "the machine's")
            json.loads(environment[name])


def test_only_marked_variables_are_kept_where_the_image_sets_them(tree: Tree) -> None:
    names = [name for name, (_, example) in listed().items() if "…" not in name and example != "not set"]
    names.remove("PYTHONPATH")  # without it, there may be no smentry
    _, environment = dumped(tree, "train", **dict.fromkeys(names, "the image's"))
    kept = {name for name in names if environment[name] == "the image's"}
    marked = {name for name in names if listed()[name][0]}
    assert kept == marked


def test_hyperparameters_are_decoded_as_the_table_says(tree: Tree) -> None:
    values = {
        f"x{number:02}": json.loads(literal(row[0])) for number, row in enumerate(rows("Hyperparameters as arguments"))
    }
    assert len(values) > 8
    tree.put("input/config/hyperparameters.json", {"sagemaker_program": "train.py", **values})
    words, environment = dumped(tree, "train", "last")
    for (name, _), row in zip(values.items(), rows("Hyperparameters as arguments")):
        assert environment[f"SM_HP_{name.upper()}"] == literal(row[1]), row
        assert words[words.index(f"--{name}") + 1] == literal(row[2]), row
    assert words[-1] == "last"


@pytest.mark.parametrize(
    ("how", "arguments", "variables"),
    [("both", True, True), ("arguments", True, False), ("environment", False, True), ("none", False, False)],
)
def test_hyperparameters_are_passed_as_the_page_says(how: str, arguments: bool, variables: bool, tree: Tree) -> None:
    words, environment = dumped(tree, "--hyperparameters", how, "train")
    assert bool(words) == arguments
    assert any(name.startswith("SM_") for name in environment) == variables
    assert f"`{how}`" in section("Hyperparameters as arguments")


def test_a_program_on_path_gets_variables_only(tree: Tree) -> None:
    tree.put("input/config/hyperparameters.json", {"epochs": "3"})
    tree.put("../bin/train", DUMP).rename(tree.bin / "train.py")
    (tree.bin / "train").write_text(f'#!/bin/sh\nexec python3 {tree.bin}/train.py "$@"\n')
    (tree.bin / "train").chmod(0o755)
    words, environment = dumped(tree, "train")
    assert words == []
    assert environment["SM_HP_EPOCHS"] == "3"


def test_serve_gets_what_the_page_says(tree: Tree) -> None:
    before = {*tree.environment, *OF_A_STOP, *OF_THE_PROGRAM}
    _, environment = dumped(tree, "--serve", f"python3 {tree.base}/code/train.py", "serve")
    added = set(environment) - before
    assert added == {"SM_MODEL_DIR", "PYTHONUNBUFFERED"}
    assert "`serve` gets SM_MODEL_DIR and PYTHONUNBUFFERED." in PAGE


def test_a_command_gets_nothing_but_what_a_stop_needs(tree: Tree) -> None:
    words, environment = dumped(tree, "python3", f"{tree.base}/code/train.py", "--rate", "0.1")
    assert words == ["--rate", "0.1"]
    assert set(environment) - set(tree.environment) - OF_THE_PROGRAM == OF_A_STOP


# -- names, paths and options --------------------------------------------------------------------------


@functools.cache
def texts() -> set[str]:
    """Every text in smentry's code, without docstrings, and without the developer's tool, which no container has."""
    found: set[str] = set()
    for path in (ROOT / "smentry").rglob("*.py"):
        if path.is_relative_to(ROOT / "smentry/ctl"):
            continue
        parsed = ast.parse(path.read_text(encoding="utf-8"))
        statements = {id(node.value) for node in ast.walk(parsed) if isinstance(node, ast.Expr)}
        found |= {
            node.value
            for node in ast.walk(parsed)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements
        }
    return found


def test_every_variable_and_hyperparameter_that_the_code_knows_is_on_the_page() -> None:
    known = {text for text in texts() if NAMES.fullmatch(text) and not OF_A_DISTRIBUTED_RUN.fullmatch(text)}
    assert len(known) > 20
    missing = sorted(name for name in known if not re.search(rf"\b{name}\b", PAGE))
    assert missing == []


def test_the_code_knows_the_variables_that_it_is_said_to_read() -> None:
    known = texts()
    for names, does in rows("Variables that smentry reads"):
        for name in names.split(", "):
            assert (name in known) != does.startswith("nothing"), name


def test_every_path_of_the_layout_is_on_the_page() -> None:
    layout = Layout("/opt/ml")
    paths = [getattr(layout, name) for name, value in vars(Layout).items() if isinstance(value, property)]
    assert len(paths) > 8
    shown = " ".join(row[0] for row in rows("Files and directories"))
    for path in paths:
        assert path.removeprefix("/opt/ml/") in shown, path


def test_the_platforms_stop_timeouts_are_those_of_the_profiles() -> None:
    shown = {literal(row[0]): row[1] for row in rows("Elsewhere than on SageMaker AI")}
    assert set(shown) == set(config.PROFILES)
    assert shown.pop("sagemaker") == f"{job.STOP_TIMEOUTS['train']:g} s; {job.STOP_TIMEOUTS['serve']:g} s for `serve`"
    assert set(shown.values()) == {f"{job.ELSEWHERE:g} s"}


@pytest.mark.parametrize("option", config.OPTIONS, ids=lambda option: option.name)
def test_every_option_is_in_the_table_of_options(option: Any) -> None:
    cells = [line.split(" | ")[0] for line in OPTIONS.splitlines() if line.startswith("| `-")]
    assert sum(bool(re.search(rf"--{option.name}[` ]", cell)) for cell in cells) == 1


# -- links ---------------------------------------------------------------------------------------------


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link
