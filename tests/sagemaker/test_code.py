"""What is to be done before a program, as --dry-run shows it: nothing of it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from container import PYTHON, SHELL, Directory, Tree

from smentry.errors import RefusedError
from smentry.sagemaker import code
from smentry.sagemaker.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path

BEFORE = "before the start hooks"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def planned(tree: Tree, *arguments: str, **variables: str) -> list[dict[str, Any]]:
    """The steps that would be done, and that none was."""
    entries = sorted(path.relative_to(tree.base) for path in tree.base.rglob("*"))
    result = tree.run("--dry-run", *arguments, **variables)
    assert result.code == 0, result.err
    assert sorted(path.relative_to(tree.base) for path in tree.base.rglob("*")) == entries
    found: list[dict[str, Any]] = yaml.safe_load(result.out)["before"]
    return found


def test_code_is_fetched_then_its_requirements_installed_then_hosts_awaited(tree: Tree) -> None:
    tree.put("input/config/resourceconfig.json", {"current_host": "a", "hosts": ["a", "b"]})
    steps = planned(tree, "train", SAGEMAKER_PROGRAM="train.py", SAGEMAKER_SUBMIT_DIRECTORY="s3://jobs/s.tar.gz")
    assert steps == [
        {
            "name": "code",
            "does": f"fetch s3://jobs/s.tar.gz (SAGEMAKER_SUBMIT_DIRECTORY) into {tree.base}/code",
            "when": BEFORE,
        },
        {"name": "requirements", "does": "install what the program requires, if it does", "when": BEFORE},
        {
            "name": "hosts",
            "does": "wait until 2 hosts have an address, 900 s at the longest",
            "when": "after the start hooks",
        },
    ]


def test_what_is_installed_is_named(tree: Tree) -> None:
    tree.put("code/train.py", PYTHON)
    tree.put("code/requirements.txt", "")
    assert planned(tree, "train") == [
        {"name": "requirements", "does": f"install requirements.txt in {tree.base}/code", "when": BEFORE}
    ]
    tree.put("code/setup.py", "")
    (step,) = planned(tree, "train", SAGEMAKER_PROGRAM="train.py")
    assert step["does"] == f"install the package in {tree.base}/code"


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["train"], {"SMENTRY_REQUIREMENTS": "ignore", "SMENTRY_WAIT_HOSTS": "0"}),
        (["serve"], {"SMENTRY_REQUIREMENTS": "ignore"}),
        (["--train", "true", "train"], {"SMENTRY_WAIT_HOSTS": "0", "SAGEMAKER_SUBMIT_DIRECTORY": "s3://jobs/s.tar.gz"}),
        (["true"], {"SAGEMAKER_SUBMIT_DIRECTORY": "s3://jobs/s.tar.gz", "SAGEMAKER_PROGRAM": "train.py"}),
    ],
)
def test_nothing_is_done_that_was_not_asked_for(arguments: list[str], variables: dict[str, str], tree: Tree) -> None:
    tree.put("input/config/resourceconfig.json", {"current_host": "a", "hosts": ["a", "b"]})
    for name in ("train.py", "serve.py"):
        tree.put(f"code/{name}", PYTHON)
    tree.put("code/requirements.txt", "x")
    assert planned(tree, *arguments, **variables) == []


def test_serve_installs_what_its_script_requires_and_fetches_nothing(tree: Tree) -> None:
    tree.put("input/data/code/serve.py", PYTHON)
    tree.put("input/data/code/requirements.txt", "x")
    (step,) = planned(tree, "serve", SAGEMAKER_SUBMIT_DIRECTORY="s3://jobs/s.tar.gz", SAGEMAKER_PROGRAM="train.py")
    assert step["name"] == "requirements"


def test_a_shell_script_has_no_requirements(tree: Tree) -> None:
    tree.put("code/train.sh", SHELL)
    tree.put("code/requirements.txt", "x")
    assert planned(tree, "train") == []


@pytest.mark.parametrize(
    ("text", "bucket", "key", "path"),
    [
        ("s3://b/k", "b", "k", ""),
        ("s3://b/a b/ü?x=1#y%20.tar.gz", "b", "a b/ü?x=1#y%20.tar.gz", ""),
        ("{other}", "", "", "{other}"),
        ("{other}/", "", "", "{other}"),
        ("file://{other}", "", "", "{other}"),
        ("file://localhost{other}", "", "", "{other}"),
        ("file://{other}/a%20b", "", "", "{other}/a b"),
    ],
)
def test_a_source_is_taken_apart(text: str, bucket: str, key: str, path: str, tree: Tree) -> None:
    (tree.other / "a b").mkdir()
    given = text.format(other=tree.other)
    source = code.submitted(Layout(str(tree.base)), {"SAGEMAKER_SUBMIT_DIRECTORY": given})
    assert source is not None
    assert (source.bucket, source.key, source.path) == (bucket, key, path.format(other=tree.other))


@pytest.mark.parametrize("value", [7, ["s3://b/k"], {"a": 1}, True])
def test_a_hyperparameter_that_is_no_text_is_refused(value: Any, tree: Tree) -> None:
    tree.put("input/config/hyperparameters.json", {"sagemaker_submit_directory": value})
    with pytest.raises(RefusedError, match="sagemaker_submit_directory: expected a directory, a tar archive, or s3://"):
        code.submitted(Layout(str(tree.base)), {})


def test_an_empty_directory_or_one_that_is_being_filled_holds_no_code(tree: Tree) -> None:
    layout = Layout(str(tree.base))
    assert not code.is_there(layout)
    tree.put("code", Directory())
    assert not code.is_there(layout)
    tree.put("code/train.py", "")
    assert code.is_there(layout)
    tree.put("code/.smentry-code", Directory())
    assert not code.is_there(layout)


def test_half_of_the_code_is_not_run_even_where_nothing_says_where_to_fetch_the_rest(tree: Tree) -> None:
    tree.put("code/train.py", PYTHON)
    tree.put("code/.smentry-code", Directory())
    result = tree.run("train")
    assert result.code == 127
    assert result.lines[0] == f"error: {tree.base}/code holds code that was fetched by half: empty it"
    assert not tree.marker.exists()
