"""Code that the SageMaker Python SDK 3 sends, in the channels `code` and `sm_drivers`, run as its own command and as `train`."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from container import PYTHON, Tree
from running import wait_until

DRIVERS = "input/data/sm_drivers"
# As the SDK writes it: the first line is empty, paths are those of /opt/ml, and the program is two processes further down.
SCRIPT = """
#!/bin/bash
set -e
handle_error() {{
    EXIT_STATUS=$?
    if [ ! -s /opt/ml/output/failure ]; then
        echo "Training Execution failed" >> /opt/ml/output/failure
    fi
    exit $EXIT_STATUS
}}
trap 'handle_error' ERR
SM_PYTHON_CMD=$(command -v python3 || command -v python)
cat /opt/ml/input/config/resourceconfig.json >/dev/null
$SM_PYTHON_CMD /opt/ml/input/data/sm_drivers/scripts/environment.py
source /opt/ml/input/sm_training.env
cd /opt/ml/input/data/code
{run}
"""
ENVIRONMENT = """
import json
parameters = json.load(open("/opt/ml/input/config/hyperparameters.json"))
source = json.load(open("/opt/ml/input/data/sm_drivers/sourcecode.json"))
with open("/opt/ml/input/sm_training.env", "w") as file:
    file.write(f"export SM_HPS='{json.dumps(parameters)}'\\nexport SM_ENTRY_SCRIPT='{source['entry_script']}'\\n")
"""
DRIVER = """
import json, os, subprocess, sys
words = [word for name, value in json.loads(os.environ["SM_HPS"]).items() for word in (f"--{name}", str(value))]
sys.exit(subprocess.run([sys.executable, os.environ["SM_ENTRY_SCRIPT"], *words]).returncode)
"""
RUN = "$SM_PYTHON_CMD /opt/ml/input/data/sm_drivers/distributed_drivers/basic_script_driver.py"


def by_hand(drivers: Path) -> None:
    """Files as the SDK's, but smaller."""
    for path, content in (
        ("scripts/environment.py", ENVIRONMENT),
        ("distributed_drivers/basic_script_driver.py", DRIVER),
        ("sm_train.sh", SCRIPT.format(run=RUN)),
    ):
        (drivers / path).parent.mkdir(parents=True, exist_ok=True)
        (drivers / path).write_text(content)


def by_sdk(drivers: Path) -> None:
    """The SDK's own files, where the package sagemaker-train is installed for that Python."""
    library = Path(os.environ.get("SMENTRY_PARITY_PYTHON", "")).parent.parent / "lib"
    train = next(library.glob("python3*/site-packages/sagemaker/train"), None)
    if train is None:
        pytest.skip("needs sagemaker-train: `make parity`; what the SDK sends is made by hand in the other tests")
    shutil.copytree(
        train / "container_drivers", drivers, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
    )
    spec = importlib.util.spec_from_file_location("templates", train / "templates.py")
    assert spec is not None
    assert spec.loader is not None
    templates = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(templates)
    script = templates.TRAIN_SCRIPT_TEMPLATE.format(
        working_dir="cd /opt/ml/input/data/code \n",
        install_requirements="",
        execute_driver=templates.EXECUTE_BASIC_SCRIPT_DRIVER,
    )
    (drivers / "sm_train.sh").write_text(script)
    (drivers / "distributed.json").write_text("{}")


@pytest.fixture(params=[by_hand, by_sdk])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    """A job as the SDK lays it out."""
    tree = Tree(tmp_path)
    tree.channels(code="File", sm_drivers="File")
    request.param(tree.base / DRIVERS)
    for file in (tree.base / DRIVERS).rglob("*"):
        if file.is_file():
            file.write_text(file.read_text().replace("/opt/ml", str(tree.base)))
    tree.put(f"{DRIVERS}/sourcecode.json", {"source_dir": "src", "entry_script": "main.py"})
    tree.put("input/config/hyperparameters.json", {"epochs": "3"})
    host = {
        "current_host": "algo-1",
        "hosts": ["algo-1"],
        "network_interface_name": "eth0",
        "current_instance_type": "local",
    }
    tree.put("input/config/resourceconfig.json", host)
    tree.put("input/data/code/main.py", PYTHON)
    (tree.base / "output").mkdir()
    tree.environment["TRAINING_JOB_NAME"] = "job"
    tree.put("../bin/pip3", "#!/bin/sh\n").chmod(0o755)  # the script wants one to be there
    return tree


def commands(tree: Tree) -> list[list[str]]:
    """How the job may be started: by the documented command, by the one of the SDK, and by the platform's word."""
    script = f"{tree.base}/{DRIVERS}/sm_train.sh"
    return [["/bin/bash", script], ["/bin/bash", "-c", f"chmod +x {script} && {script}"], ["train"], []]


@pytest.mark.parametrize("number", range(4), ids=["documented", "of the SDK", "train", "nothing"])
def test_the_program_runs_with_its_hyperparameters(number: int, tree: Tree) -> None:
    result = tree.run(*commands(tree)[number])
    assert result.code == 0, result.err
    assert f"ran main.py in {tree.base}/input/data/code with 2: --epochs 3" in result.out
    assert tree.failure is None


def test_it_is_said_why_that_script_was_run(tree: Tree) -> None:
    result = tree.run("train")
    assert (
        "train: sm_train.sh (sm_train.sh is in channel sm_drivers, where the SageMaker Python SDK puts it)"
        in result.lines
    )


def test_neither_a_train_on_path_nor_one_in_the_code_comes_before_it(tree: Tree) -> None:
    tree.put("../bin/train", "#!/bin/sh\nexit 9\n").chmod(0o755)
    tree.put("input/data/code/train.py", "raise SystemExit(8)")
    assert tree.run("train").code == 0


def test_the_toolkits_program_comes_before_it(tree: Tree) -> None:
    """A tuning job of the SDK has both, and no channel `code` for the script to change to."""
    tree.put("code/main.py", PYTHON)
    result = tree.run("train", SAGEMAKER_PROGRAM="main.py")
    assert f"ran {tree.base}/code/main.py in" in result.out, result.err


def test_a_failure_that_the_script_writes_down_is_kept(tree: Tree) -> None:
    tree.put("input/data/code/main.py", "raise SystemExit(3)")
    assert tree.run("train").code == 3
    assert tree.failure is not None
    assert tree.failure.strip()
    assert "smentry" not in tree.failure


@pytest.mark.parametrize("number", range(3), ids=["documented", "of the SDK", "train"])
def test_a_stop_reaches_the_program(number: int, tree: Tree) -> None:
    saves = "import os, signal, sys, time\n"
    saves += "def save(*_):\n    open(os.environ['MARKER'] + '.saved', 'w').close(); sys.exit(0)\n"
    saves += (
        "signal.signal(signal.SIGTERM, save); open(os.environ['MARKER'], 'w').close()\nwhile True: time.sleep(0.1)\n"
    )
    tree.put("input/data/code/main.py", saves)
    with subprocess.Popen(
        [sys.executable, "-m", "smentry", *commands(tree)[number]],
        env=tree.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        wait_until(lambda: tree.marker.exists() or process.poll() is not None, "the program to run")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert Path(f"{tree.marker}.saved").exists(), err
    assert process.returncode == 0, err
    assert "killed" not in json.dumps([line for line in err.splitlines() if "done in" not in line])
