"""pip itself, run before the program: with wheels made by hand, and without a network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from container import Executable, Tree
from running import wait_until

from tests.sagemaker import packages

pytestmark = pytest.mark.slow

USES = "import needed, sys\nprint('needed', needed.VALUE, sys.argv[1:])\n"
CHANNEL = "input/data/code"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A tree with a Python and wheels of its own; what is installed is gone with it."""
    tree = Tree(tmp_path)
    packages.wheel(tmp_path / "wheels", "needed", "VALUE = 7\n")
    tree.environment.update(
        packages.offline(tmp_path / "wheels"), SMENTRY_PYTHON=str(packages.python(tmp_path / "venv"))
    )
    tree.environment = {name: value for name, value in tree.environment.items() if value}
    return tree


def installed(tree: Tree) -> set[str]:
    """What is installed beside pip."""
    (packages_,) = (tree.base.parent / "venv").glob("lib/python*/site-packages")
    return {name for name in os.listdir(packages_) if not name.endswith((".dist-info", "__pycache__"))} - {"pip"}


@pytest.mark.parametrize(
    ("path", "variables"),
    [
        ("code/main.py", {"SAGEMAKER_PROGRAM": "main.py"}),
        ("code/train.py", {}),
        (f"{CHANNEL}/train.py", {}),
        (f"{CHANNEL}/custom_entrypoint.py", {}),
        (f"{CHANNEL}/other.py", {"SMENTRY_SCRIPT": "code/other.py"}),
    ],
)
def test_what_lies_beside_a_python_program_is_installed_before_it(
    path: str, variables: dict[str, str], tree: Tree
) -> None:
    script = tree.put(path, USES)
    tree.put(os.path.dirname(path) + "/requirements.txt", "needed==1.0\n")
    result = tree.run("train", "x", **variables)
    assert (result.code, result.out) == (0, "needed 7 ['x']\n"), result.err
    assert (
        f"requirements: in {script.parent}: {tree.environment['SMENTRY_PYTHON']} -m pip install -r requirements.txt"
        in result.lines
    )
    assert any(line.startswith("requirements: Successfully installed needed-1.0") for line in result.lines)
    assert installed(tree) == {"needed.py"}


def test_the_toolkits_file_is_that_of_the_code_directory(tree: Tree) -> None:
    tree.put("code/sub/main.py", USES)
    tree.put("code/requirements.txt", "needed\n")
    assert tree.run("train", SAGEMAKER_PROGRAM="sub/main.py").code == 0


@pytest.mark.parametrize(
    ("path", "content", "variables"),
    [
        ("code/run.sh", "echo ran\n", {"SAGEMAKER_PROGRAM": "run.sh"}),
        (f"{CHANNEL}/train.sh", "echo ran\n", {}),
        (f"{CHANNEL}/train", Executable("#!/bin/sh\necho ran\n"), {}),
        ("code/train.py", "print('ran')\n", {"SMENTRY_REQUIREMENTS": "ignore"}),
        ("code/main.py", "print('ran')\n", {"SMENTRY_REQUIREMENTS": "ignore", "SAGEMAKER_PROGRAM": "main.py"}),
    ],
)
def test_nothing_is_installed_for_a_shell_or_where_it_is_not_wanted(
    path: str, content: object, variables: dict[str, str], tree: Tree
) -> None:
    tree.put(path, content)
    tree.put(os.path.dirname(path) + "/requirements.txt", "needed\n")
    result = tree.run("train", **variables)
    assert (result.code, result.out) == (0, "ran\n"), result.err
    assert installed(tree) == set()


def test_an_interpreter_that_the_script_names_is_the_one_that_gets_it(tree: Tree) -> None:
    own = tree.environment.pop("SMENTRY_PYTHON")
    tree.put("code/train.py", f"#!{own}\n{USES}")
    tree.put("code/requirements.txt", "needed\n")
    assert tree.run("train").code == 0
    assert installed(tree) == {"needed.py"}


def test_a_failure_of_pip_is_the_jobs_with_pips_own_words(tree: Tree) -> None:
    tree.put("code/train.py", "print('ran')\n")
    tree.put("code/requirements.txt", "no-such-package==9\n")
    result = tree.run("train")
    assert (result.code, result.out) == (1, "")
    assert "requirements: ERROR: No matching distribution found for no-such-package==9" in result.lines
    assert tree.failure is not None
    assert "No matching distribution found for no-such-package==9" in tree.failure


def test_a_python_without_pip_is_named(tree: Tree) -> None:
    bare = packages.python(tree.base.parent / "bare", pip=False)
    tree.put("code/train.py", "print('ran')\n")
    tree.put("code/requirements.txt", "needed\n")
    result = tree.run("train", SMENTRY_PYTHON=str(bare))
    assert (result.code, result.out) == (1, "")
    assert (
        f"requirements: {bare} has no pip to install -r requirements.txt in {tree.base}/code with: put pip into the image"
        f" ({bare} -m ensurepip), or give --requirements ignore"
    ) in result.lines


def test_modules_beside_the_script_are_not_taken_for_those_of_pip(tree: Tree) -> None:
    tree.put("code/train.py", USES)
    for name in ("random", "email", "platform", "train_utils"):
        tree.put(f"code/{name}.py", "raise SystemExit('taken')\n")
    tree.put("code/requirements.txt", "needed\n")
    tree.run("train", SAGEMAKER_PROGRAM="train.py")
    assert installed(tree) == {"needed.py"}


# -- packages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["src/", ""])
def test_a_package_is_installed_and_run_as_a_module(layout: str, tree: Tree) -> None:
    packages.project(tree.base / "code", "model", requires="needed")
    tree.put(f"code/{layout}model/__init__.py", "")
    tree.put(f"code/{layout}model/__main__.py", USES)
    result = tree.run("train", "x", SAGEMAKER_PROGRAM="model")
    assert (result.code, result.out) == (0, "needed 7 ['x']\n"), result.err
    assert installed(tree) == {"needed.py", "model"}


def test_a_setup_py_beside_a_program_installs_the_package_and_the_requirements(tree: Tree) -> None:
    packages.wheel(tree.base.parent / "wheels", "listed", "")
    packages.project(tree.base / "code", "model", requires="needed")
    tree.put("code/setup.py", "")
    tree.put("code/model/__init__.py", "")
    tree.put("code/requirements.txt", "listed\n")
    tree.put("code/main.py", USES)
    result = tree.run("train", SAGEMAKER_PROGRAM="main.py")
    assert result.code == 0, result.err
    assert installed(tree) == {"needed.py", "model", "listed.py"}


@pytest.mark.parametrize("name", ["run.sh", "main.py"])
def test_neither_a_shell_script_nor_the_settings_of_tools_make_a_package(name: str, tree: Tree) -> None:
    packages.project(tree.base / "code", "model")
    if name == "run.sh":
        tree.put("code/setup.py", "")
    tree.put(f"code/{name}", "echo ran" if name == "run.sh" else "print('ran')")
    result = tree.run("train", SAGEMAKER_PROGRAM=name)
    assert (result.code, result.out) == (0, "ran\n"), result.err
    assert installed(tree) == set()


def test_a_pyproject_of_tools_alone_is_not_installed(tree: Tree) -> None:
    tree.put("code/pyproject.toml", "[tool.black]\nline-length = 100\n")
    tree.put("code/model/__main__.py", "print('ran')\n")
    result = tree.run("train", SAGEMAKER_PROGRAM="model")
    assert (result.code, result.out) == (0, "ran\n"), result.err


# -- as whom -------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_pip_runs_as_the_user_of_the_program() -> None:
    """What is installed may run code of its own: with no more rights than the program. A Python that such a user may read is not
    to be had everywhere, so this one says only how it was called."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o777)
        tree = Tree(Path(place))
        called = tree.put("../bin/python", '#!/bin/sh\necho "$(id -u) in $(pwd): $*" >>"$MARKER"\n')
        called.chmod(0o755)
        tree.put("code/train.py", "pass")
        tree.put("code/requirements.txt", "needed\n")
        result = tree.run("train", SMENTRY_USER="65534:65534", SMENTRY_PYTHON=str(called))
        assert result.code == 0, result.err
        assert tree.marker.read_text().splitlines() == [
            "65534 in /: -c import pip",
            f"65534 in {tree.base}/code: -m pip install -r requirements.txt",
            f"65534 in {tree.base}/code: {tree.base}/code/train.py",
        ]


# -- a stop ------------------------------------------------------------------------------------------


def test_a_stop_while_pip_builds_ends_it_and_all_it_started(tree: Tree) -> None:
    packages.project(tree.base / "code/slow", "slow", slow=tree.other)
    tree.put("code/train.py", "print('ran')\n")
    tree.put("code/requirements.txt", "./slow\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "smentry", "train"],
        env={**tree.environment, "BUILD": str(tree.other)}, cwd=tree.other, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: (tree.other / "building").exists() or process.poll() is not None, "pip to build")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, out) == (128 + signal.SIGTERM, ""), err
    assert "SIGTERM came before the program was started" in err
    mark = f"BUILD={tree.other}".encode()
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and mark in environ(pid)]


def environ(pid: str) -> list[bytes]:
    """The environment of a process; empty when it has gone."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []
