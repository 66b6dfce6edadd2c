"""A script that was written for the AWS training toolkit notices nothing: the real toolkit and smentry start the same one.

SMENTRY_TEST_EXAMPLES is how many random jobs are tried (default 25). The toolkit is the package `sagemaker-training`, installed
for the Python that SMENTRY_PARITY_PYTHON names, or for this one; `make parity` sees to that.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from smentry.sagemaker import hardware

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
EXAMPLES = int(os.environ.get("SMENTRY_TEST_EXAMPLES", "25"))
PYTHON = os.environ.get("SMENTRY_PARITY_PYTHON") or (
    sys.executable if importlib.util.find_spec("sagemaker_training") else ""
)
needs_toolkit = pytest.mark.skipif(
    not PYTHON, reason="needs sagemaker-training: `make parity`, or SMENTRY_PARITY_PYTHON=a Python that has it"
)


# -- random jobs -------------------------------------------------------------------------------------


class Job(NamedTuple):
    """What the platform lays out, the variables of the request, and the program in the code directory."""

    hyperparameters: dict[str, Any]
    channels: dict[str, Any]
    resources: dict[str, Any]
    variables: dict[str, str]
    program: str


PROGRAMS = ("dump.py", "deep/dump.py", "dump.sh", "dump")
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
ODD = (
    "1e-4", "00123", "NaN", "-Infinity", "null", "true", "True", "", " ", " 7 ", "1_000", "0x10", "-", "1.", ".5", "1e400",
    '"', '"text"', '"a', "[1, 2", "{}", '{"b": 1, "a": {"c": [null]}}', '{"a": 1, "a": 2}', "s3://bucket/key",
    "-1", "--epochs", "a b\n", "$HOME `id` 'x'", "\ufeff1", "9" * 5000, "x" * 50_000,
)  # fmt: skip
VALUES = st.sampled_from(ODD) | TEXTS | JSON.map(json.dumps) | JSON.filter(lambda value: not isinstance(value, str))
NAMES = st.text("abcXYZ0189-_. äßé", min_size=1, max_size=6) | st.sampled_from(
    ["epochs", "learning-rate", "learning_rate", "n", "N", "", "hps", "mp_parameters", "_tuning_objective_metric",
     "default_user_module_name"]
)  # fmt: skip
HOSTS = ["algo-1", "algo-2", "algo-10", "algo-3"]
CHANNELS = st.text("abcABC019-_.", min_size=1, max_size=5).filter(lambda name: name not in (".", ".."))
CHANNEL = st.fixed_dictionaries(
    {"TrainingInputMode": st.sampled_from(["File", "FastFile", "Pipe"])},
    optional={
        "S3DistributionType": st.sampled_from(["FullyReplicated", "ShardedByS3Key"]),
        "ContentType": TEXTS,
        "RecordWrapperType": st.just("None"),
    },
)
OF_PLATFORM = st.fixed_dictionaries(
    {},
    optional={
        "sagemaker_job_name": st.sampled_from(["job-1", '"job-1"']),
        "sagemaker_region": st.sampled_from(["eu-west-1", '"eu-west-1"']),
        "sagemaker_container_log_level": st.sampled_from(["20", "10", 30]),
        "sagemaker_submit_directory": st.sampled_from(["s3://bucket/sourcedir.tar.gz", '"/opt/ml/code"']),
        "sagemaker_parameter_server_enabled": st.sampled_from(["true", "false", "no"]),
        "sagemaker_torch_distributed_enabled": st.booleans(),
        "sagemaker_distribution_instance_groups": st.sampled_from(['["a"]', '["a", "b"]', "[]"]),
        "sagemaker_anything": VALUES,
        "sagemaker_enable_cloudwatch_metrics": st.just("false"),
    },
)
VARIABLES = st.fixed_dictionaries(
    {},
    optional={
        "TRAINING_JOB_NAME": st.just("job-1"),
        "AWS_DEFAULT_REGION": st.just("us-east-2"),
        "AWS_REGION": st.just("us-west-1"),
        "SM_HP_MP_PARAMETERS": st.sampled_from(["", "{}", '{"a":1}']),
        "SM_MODEL_DIR": st.just("/mine"),
        "SM_MASTER_PORT": st.just("29500"),
        "PYTHONUNBUFFERED": st.just(""),
        "CURRENT_HOST": st.just("mine"),
    },
)


@st.composite
def resources(draw: st.DrawFn) -> dict[str, Any]:
    hosts = draw(st.lists(st.sampled_from(HOSTS), min_size=1, max_size=4, unique=True))
    described: dict[str, Any] = {"current_host": draw(st.sampled_from(hosts)), "hosts": hosts}
    if draw(st.booleans()):
        described["network_interface_name"] = draw(st.sampled_from(["eth0", "ethwe"]))
    if draw(st.booleans()):
        described["current_instance_type"] = draw(st.sampled_from(["ml.m5.xlarge", "ml.trn2.48xlarge", "local"]))
    if draw(st.booleans()):
        described["current_group_name"] = draw(st.sampled_from(["a", "b", "homogeneousCluster"]))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(hosts)))
        groups = [("a", hosts[:at]), ("b", hosts[at:])]
        described["instance_groups"] = [
            {"instance_group_name": name, "instance_type": "ml.m5.xlarge", "hosts": part}
            for name, part in groups
            if part
        ]
    if draw(st.booleans()):
        described["topology"] = draw(st.sampled_from([[], [{"hostName": "algo-1", "capacityUnitId": "x"}]]))
    return described


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    parameters = draw(st.dictionaries(NAMES, VALUES, max_size=6))
    parameters.update(draw(OF_PLATFORM))
    variables = draw(VARIABLES)
    program = draw(st.sampled_from(PROGRAMS))
    how = draw(st.sampled_from(["plain", "json", "variable"]))
    if how == "variable":
        variables["SAGEMAKER_PROGRAM"] = program
    else:
        parameters["sagemaker_program"] = program if how == "plain" else json.dumps(program)
    return Job(parameters, draw(st.dictionaries(CHANNELS, CHANNEL, max_size=4)), draw(resources()), variables, program)


EVERY_ODD_VALUE = Job(
    {**dict(zip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ", ODD)), "sagemaker_program": "dump.py"},
    {},
    {"current_host": "algo-1", "hosts": ["algo-1"]},
    {},
    "dump.py",
)


# -- the two that start the program ------------------------------------------------------------------


class Started(NamedTuple):
    """What the program was started with."""

    argv: list[str]
    directory: str
    environment: dict[str, str]


class Stage:
    """A tree under SAGEMAKER_BASE_DIR, and the toolkit as a process that has been imported once."""

    def __init__(self, directory: Path) -> None:
        self.base = directory / "ml"
        self.dump = directory / "dump.json"
        self.said = directory / "said"
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(directory),
            "LC_ALL": "C.UTF-8",
            "SAGEMAKER_BASE_DIR": str(self.base),
            "DUMP": str(self.dump),
            "SMENTRY_PYTHON": sys.executable,
            "SM_STUDIO_LOCAL_MODE": "true",  # neither waits for hosts to resolve
        }
        (self.base / "input/config").mkdir(parents=True)
        (self.base / "output").mkdir()
        (self.base / "code/deep").mkdir(parents=True)
        script = (ROOT / "tests/programs/dump.py").read_text()
        for name in ("dump.py", "deep/dump.py"):
            (self.base / "code" / name).write_text(script)
        for name in ("dump.sh", "dump"):
            text = f'#!/bin/sh\nexec "$SMENTRY_PYTHON" "{self.base}/code/dump.py" "$@"\n'
            (self.base / "code" / name).write_text(text)
        self.server = subprocess.Popen(
            [PYTHON, str(Path(__file__).with_name("toolkit_server.py"))],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def _answer(self) -> str:
        assert self.server.stdout is not None
        return self.server.stdout.readline().strip()

    def lay_out(self, job: Job) -> None:
        config = self.base / "input/config"
        (config / "hyperparameters.json").write_text(json.dumps(job.hyperparameters))
        (config / "inputdataconfig.json").write_text(json.dumps(job.channels))
        (config / "resourceconfig.json").write_text(json.dumps(job.resources))

    def toolkit(self, job: Job) -> Started:
        self.dump.unlink(missing_ok=True)
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps({**job.variables, "SAID": str(self.said)}) + "\n")
        self.server.stdin.flush()
        code = self._answer()
        assert code == "0", self.said.read_text(errors="replace")[-3000:]
        return self._dumped()

    def smentry(self, job: Job) -> Started:
        self.dump.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "smentry", "-q", "--launcher", "none", "train"],
            env={**self.environment, **job.variables},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return self._dumped()

    def _dumped(self) -> Started:
        return Started(**json.loads(self.dump.read_text()))

    def close(self) -> None:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.close()
        self.server.wait(timeout=60)
        self.server.stdout.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("parity"))
    yield stage
    stage.close()


# -- what may differ, and why ------------------------------------------------------------------------

OWN = re.compile(r"SMENTRY_\w+|TORCH_ELASTIC_SHUTDOWN_TIMEOUT")
"""smentry tells the program how long it has."""

OF_DRIVERS = {
    "SM_INPUT_DATA_DIR", "SM_OUTPUT_FAILURE", "SM_HOST_COUNT", "SM_CURRENT_HOST_RANK", "SM_MASTER_ADDR", "SM_MASTER_PORT",
    "SM_SOURCE_DIR", "SM_ENTRY_SCRIPT",
}  # fmt: skip
"""What the SDK's drivers set and the toolkit does not."""

IN_TRAINING_ENV = {"input_data_dir", "master_addr", "master_port"}
"""The same within SM_TRAINING_ENV."""

OF_SHELLS = {"PWD", "OLDPWD", "SHLVL", "_"}
"""The toolkit starts a script with `sh -c`, smentry without; shells set these."""


def unlike(name: str, theirs: str | None, ours: str | None, job: Job, stage: Stage) -> str:
    """Why a variable may differ, empty where it may not."""
    if OWN.fullmatch(name) and theirs is None:
        return "smentry's own"
    if name in OF_DRIVERS and theirs is None:
        return "the drivers'"
    if name in OF_SHELLS and job.program in ("dump.sh", "dump"):
        return "the shell's"
    if name == "PYTHONPATH":
        # The toolkit writes its whole sys.path, standard library included, which belongs to its own interpreter.
        assert theirs is not None
        assert theirs.split(":")[0] == ours == str(stage.base / "code")
        return "the code directory only"
    if name == "PYTHONUNBUFFERED" and theirs is None:
        return "the log is to be seen at once"
    if name == "SAGEMAKER_REGION":
        # The toolkit asks boto3, which knows AWS_DEFAULT_REGION and no AWS_REGION; the latter is what the platform sets.
        return "AWS_REGION counts" if (theirs, ours) == ("", job.variables.get("AWS_REGION")) else ""
    if name == "SM_NUM_CPUS":
        # The toolkit counts those of the machine, not those that the container may use.
        return "affinity and quota count" if ours == str(hardware.cpus()) else ""
    if name == "SM_TRAINING_ENV":
        assert ours is not None
        assert theirs is not None
        mine, others = json.loads(ours), json.loads(theirs)
        assert set(mine) - set(others) == IN_TRAINING_ENV
        for key in IN_TRAINING_ENV:
            del mine[key]
        mine["num_cpus"] = others["num_cpus"]
        return "more keys" if compact(mine) == compact(others) == theirs else ""
    if theirs is None and name.startswith("SM_HP_"):
        # The drivers' way of writing a name with a dash.
        dashed = [key for key in job.hyperparameters if key.replace("-", "_").upper() == name[6:]]
        return "a dash as _" if dashed else ""
    return ""


def compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


# -- the tests ---------------------------------------------------------------------------------------


@needs_toolkit
@settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(jobs())
@example(EVERY_ODD_VALUE)
def test_the_program_is_started_as_the_toolkit_starts_it(stage: Stage, job: Job) -> None:
    stage.lay_out(job)
    theirs, ours = stage.toolkit(job), stage.smentry(job)

    assert ours.argv[1:] == theirs.argv[1:]
    assert ours.directory == theirs.directory
    # The toolkit's is relative to that directory, so that a program that leaves it cannot find its own file any more.
    assert ours.argv[0] == os.path.join(theirs.directory, theirs.argv[0])
    different = {
        name: (theirs.environment.get(name), ours.environment.get(name))
        for name in {*theirs.environment, *ours.environment}
        if theirs.environment.get(name) != ours.environment.get(name)
        and not unlike(name, theirs.environment.get(name), ours.environment.get(name), job, stage)
    }
    assert different == {}


@needs_toolkit
def test_a_hundred_hyperparameters(stage: Stage) -> None:
    parameters = {f"parameter-{number}": str(number / 7) for number in range(99)}
    job = EVERY_ODD_VALUE._replace(hyperparameters={**parameters, "sagemaker_program": "dump.py"})
    stage.lay_out(job)
    ours = stage.smentry(job)
    assert len(ours.argv) == 1 + 2 * 99
    assert ours.argv[1:] == stage.toolkit(job).argv[1:]
