"""Ways to fail: what is laid out for each, how it is started, and what its failure text must say. It starts nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

TORCHRUN = (Path(__file__).parents[1] / "tails/torchrun.txt").read_text(encoding="utf-8")
SMALL = ("--memory", "120m", "--memory-swap", "120m")
CHANNEL = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
EAT = "def eat():\n    held = []\n    while True:\n        held.append(bytearray(b'x' * (8 << 20)))\n"
PIP = {"SMENTRY_PYTHON": "/opt/smentry/bin/python3"}  # the one Python of the image that has a pip


class Failure(NamedTuple):
    """One way to fail.

    `name` says what happens, `code` is smentry's exit code for it; `files` are below /opt/ml; the job is
    `docker run OPTIONS IMAGE COMMAND`, with `variables`. `says` are texts that a person needs; `never` such that would mislead.
    `stop`: the program writes the file `ready`, and then comes `docker stop`. `config`: the text of /etc/smentry.yaml. `file`:
    where the text is to be.
    """

    name: str
    code: int
    says: tuple[str, ...]
    files: dict[str, Any]
    variables: dict[str, str] = {}  # noqa: RUF012 - never changed
    command: tuple[str, ...] = ("train",)
    options: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    stop: bool = False
    config: str = ""
    file: str = "output/failure"

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def python(name: str, program: str, *says: str, code: int = 1, **more: Any) -> Failure:
    """A `train.py` in the directory of the code, named as the training toolkit names it."""
    files = {"code/train.py": program, **more.pop("files", {})}
    variables = {"SAGEMAKER_PROGRAM": "train.py", **more.pop("variables", {})}
    return Failure(name, code, says, files, variables, **more)


def shell(name: str, program: str, *says: str, code: int, **more: Any) -> Failure:
    """A `run.sh` in the directory of the code."""
    files = {"code/run.sh": program, **more.pop("files", {})}
    variables = {"SAGEMAKER_PROGRAM": "run.sh", **more.pop("variables", {})}
    return Failure(name, code, says, files, variables, **more)


def hosts(*names: str) -> dict[str, Any]:
    """The job's hosts, of which this is the last."""
    return {"input/config/resourceconfig.json": {"current_host": names[-1], "hosts": sorted(names)}}


READY = "import os\nopen(os.environ['STATE'] + '/ready', 'w').close()\n"
SAVES = "import signal, sys, time\n{}signal.signal(signal.SIGTERM, save)\n" + READY + "while True:\n    time.sleep(1)\n"

PYTHON = (
    python(
        "an exception",
        "def fit(a, b):\n    raise ValueError(f'shapes {a} and {b} do not match')\n\n\nfit((3,), (4,))\n",
        "train.py exited with code 1 after ",
        ": ValueError: shapes (3,) and (4,) do not match\n",
        'File "/opt/ml/code/train.py", line 2, in fit',
    ),
    python(
        "an exception that follows from another",
        "try:\n    rate = {}['lr']\nexcept KeyError as error:\n    raise RuntimeError('no learning rate') from error\n",
        ": RuntimeError: no learning rate\n",
        "KeyError: 'lr'",
    ),
    python("an exit code and nothing else", "raise SystemExit(3)\n", "train.py exited with code 3 after ", code=3),
    python(
        "sys.exit with a text",
        "import sys\n\nsys.exit('no data in /opt/ml/input/data/train')\n",
        "train.py exited with code 1 after ",
        "; on stderr: no data in /opt/ml/input/data/train",
    ),
    python(
        "a hyperparameter that the script does not know",
        "import argparse\n\nparser = argparse.ArgumentParser()\nparser.add_argument('--lr')\nparser.parse_args()\n",
        "train.py: error: unrecognized arguments: --epochs 3",
        code=2,
        files={"input/config/hyperparameters.json": {"epochs": "3"}},
    ),
    python(
        "a module that is not installed",
        "import sklearn_extra\n",
        ": ModuleNotFoundError: No module named 'sklearn_extra'",
        'File "/opt/ml/code/train.py", line 1, in <module>',
    ),
    python(
        "a syntax error",
        "def fit(data:\n    return data\n",
        ": SyntaxError: '(' was never closed",
        'File "/opt/ml/code/train.py", line 1',
    ),
    python(
        "an assertion in a worker",
        "import multiprocessing\n\n\ndef load(row):\n    assert row < 3, f'row {row} has no label'\n\n\n"
        "if __name__ == '__main__':\n    multiprocessing.Pool(2).map(load, range(5), chunksize=5)\n",
        ": AssertionError: row 3 has no label",
        "assert row < 3",
    ),
    python(
        "MemoryError",
        "import resource\n\nresource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))\nbatch = bytearray(1 << 30)\n",
        ": MemoryError\n",
        "batch = bytearray(1 << 30)",
    ),
    python(
        "a disk that is full",
        "with open('/opt/ml/model/weights', 'wb') as file:\n    file.write(bytes(2 << 20))\n",
        ": OSError: [Errno 28] No space left on device",
        options=("--tmpfs", "/opt/ml/model:size=1m"),
    ),
    python(
        "a secret in an exception",
        "import os\n\nraise ConnectionError(f\"401 for Bearer {os.environ['API_TOKEN']}\")\n",
        ": ConnectionError: 401 for Bearer ***",
        variables={"API_TOKEN": "hunter2-hunter2"},
        never=("hunter2",),
    ),
)

KERNEL = (
    python(
        "no memory for the program",
        EAT + "\n\neat()\n",
        "train.py was killed by the kernel for lack of memory after ",
        ": limit 120 MiB, peak 120 MiB",
        code=137,
        options=SMALL,
    ),
    python(
        "no memory for a worker",
        "from concurrent.futures import ProcessPoolExecutor\n\n\n" + EAT + "\n\n"
        "if __name__ == '__main__':\n    with ProcessPoolExecutor(1) as pool:\n        pool.submit(eat).result()\n",
        "train.py exited with code 1 after ",
        ": out of memory: the kernel killed a process of it: limit 120 MiB, peak 120 MiB; ",
        "BrokenProcessPool",
        options=SMALL,
    ),
    python(
        "SIGKILL from inside",
        "import os\n\nos.kill(os.getpid(), 9)\n",
        "train.py was killed by SIGKILL, and not by smentry, after ",
        "not for lack of memory in this container",
        code=137,
    ),
    python(
        "a crash in native code",
        "import ctypes\n\nctypes.string_at(0)\n",
        "train.py died of SIGSEGV after ",
        "PYTHONFAULTHANDLER=1 shows where",
        code=139,
    ),
    python(
        "a crash in native code with PYTHONFAULTHANDLER=1",
        "import ctypes\n\n\ndef step():\n    ctypes.string_at(0)\n\n\nstep()\n",
        "train.py died of SIGSEGV after ",
        ": Fatal Python error: Segmentation fault\n",
        'File "/opt/ml/code/train.py", line 5 in step',
        code=139,
        variables={"PYTHONFAULTHANDLER": "1"},
    ),
    python(
        "a full /dev/shm",
        "import mmap\n\nwith open('/dev/shm/batch', 'wb+') as file:\n    file.truncate(4 << 20)\n"
        "    shared = mmap.mmap(file.fileno(), 4 << 20)\nshared.write(b'x' * (4 << 20))\n",
        "train.py died of SIGBUS after ",
        "/dev/shm is full: 1 MiB. Give it more (docker run --shm-size), or use fewer loader workers",
        code=135,
        options=("--shm-size", "1m"),
    ),
    python(
        "an instruction that this CPU does not have",
        "import ctypes\nimport mmap\nimport platform\n\n"
        "undefined = b'\\x0f\\x0b' if platform.machine() == 'x86_64' else bytes(4)\n"
        "code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\ncode.write(undefined)\n"
        "ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()\n",
        "train.py died of SIGILL after ",
        "built for another CPU",
        code=132,
    ),
    python(
        "an assertion in native code",
        "import ctypes\n\nctypes.CDLL(None).__assert_fail(b'rows > 0', b'loader.cpp', 41, b'next_batch')\n",
        "train.py died of SIGABRT after ",
        "loader.cpp:41: next_batch: Assertion `rows > 0' failed.",
        code=134,
    ),
)

SCRIPTS = (
    shell(
        "a command that a shell does not find",
        "cd /opt/ml/code\naccelerate launch train.py\n",
        "run.sh exited with code 127 after ",
        "accelerate: ",
        "127 is a shell's code for a command that it did not find on PATH (",
        code=127,
    ),
    shell(
        "a crash below a shell",
        "python3 -c 'import ctypes; ctypes.string_at(0)'\nexit $?\n",
        "run.sh exited with code 139 after ",
        "128 + 11: a process of it died of SIGSEGV",
        code=139,
    ),
    Failure(
        "custom_entrypoint.sh of a channel",
        1,
        ("custom_entrypoint.sh exited with code 1 after ", ": ValueError: 0 rows"),
        {
            "input/config/inputdataconfig.json": {"code": CHANNEL},
            "input/data/code/custom_entrypoint.sh": "set -e\npython3 fit.py\necho done\n",
            "input/data/code/fit.py": "raise ValueError('0 rows')\n",
        },
        command=("--script", "code/custom_entrypoint.sh", "train"),
    ),
    shell(
        "torchrun, of whose processes one failed first",
        "cat >&2 <<'END'\n" + TORCHRUN + "END\nexit 1\n",
        ": KeyError: 'labels' (rank 1 on algo-1)",
        'loss = model(batch["labels"])',
        code=1,
    ),
    shell(
        "Windows line ends",
        "#!/bin/sh\r\npython3 train.py\r\n",
        "smentry: /opt/ml/code/run.sh: has Windows line ends (CRLF)",
        "dos2unix",
        code=126,
    ),
    shell(
        "an interpreter that is not there",
        "#!/opt/conda/bin/python\nprint(1)\n",
        "smentry: /opt/ml/code/run.sh: its interpreter is missing: #!/opt/conda/bin/python",
        code=127,
    ),
    Failure(
        "a program without the executable bit",
        126,
        ("smentry: /opt/ml/code/app: has no executable bit: chmod +x it",),
        {"code/app": "echo\n"},
        command=("--train", "/opt/ml/code/app", "train"),
    ),
    Failure(
        "no program",
        127,
        (
            "smentry: no program for train; looked at:\n",
            "PATH (/usr/bin:/bin)",
            "/opt/ml/code: ",
            "custom_entrypoint.sh",
        ),
        {"input/config/inputdataconfig.json": {"train": CHANNEL}},
        variables={"PATH": "/usr/bin:/bin"},
        options=("--entrypoint", "/opt/smentry/bin/smentry"),
    ),
    Failure(
        "a script of a Pipe channel",
        126,
        ("smentry: ", "has InputMode Pipe", "File"),
        {"input/config/inputdataconfig.json": {"code": {**CHANNEL, "TrainingInputMode": "Pipe"}}},
        command=("--script", "code/train.sh", "train"),
    ),
)

BEFORE = (
    python(
        "hyperparameters.json is broken",
        "print(1)\n",
        "smentry: /opt/ml/input/config/hyperparameters.json:2:14: not JSON: ",
        code=2,
        files={"input/config/hyperparameters.json": '{"lr": "1",\n "epochs": 3,}\n'},
    ),
    python(
        "a mistake in the configuration file",
        "print(1)\n",
        "smentry: /etc/smentry.yaml",
        "stop_timout",
        "stop_timeout",
        code=2,
        config="stop_timout: 90s\n",
    ),
    python(
        "an unknown user",
        "print(1)\n",
        "smentry: --user: no user 'trainer' in /etc/passwd",
        code=2,
        command=("--user", "trainer", "train"),
    ),
    python(
        "an unknown option",
        "print(1)\n",
        "smentry: unknown option --stop-timout; did you mean --stop-timeout?",
        code=2,
        command=("--stop-timout=9", "train"),
    ),
    python(
        "a start hook that fails",
        "print(1)\n",
        "start hook fetch (",
        ") ended with exit code 1",
        "so train.py was not started: KeyError: 'DATASET'",
        config="hooks:\n  - {on: start, name: fetch, run: [python3, -c, \"import os; os.environ['DATASET']\"], required: true}\n",
    ),
    python(
        "requirements.txt without a network",
        "print(1)\n",
        "requirements (",
        "so train.py was not started: No matching distribution found for no-such-thing==1",
        "Could not find a version that satisfies the requirement no-such-thing==1",
        "The package index cannot be reached ([Errno -3] Temporary failure in name resolution)",
        files={"code/requirements.txt": "no-such-thing==1\n"},
        variables=PIP,
        options=("--network", "none"),
    ),
    python(
        "requirements.txt in an image without pip",
        "print(1)\n",
        "requirements (",
        "/usr/bin/python3 has no pip to install -r requirements.txt",
        files={"code/requirements.txt": "tqdm\n"},
    ),
    Failure(
        "a broken sourcedir.tar.gz",
        1,
        ("sourcedir.tar.gz", "so train.py was not started: "),
        {"input/data/code/sourcedir.tar.gz": "not a tar\n", "input/config/inputdataconfig.json": {"code": CHANNEL}},
        variables={
            "SAGEMAKER_PROGRAM": "train.py",
            "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/input/data/code/sourcedir.tar.gz",
        },
    ),
    Failure(
        "code in S3 in an image without boto3",
        1,
        ("s3://bucket/sourcedir.tar.gz", "boto3 is not installed beside smentry: pip install 'smentry[s3]'"),
        {},
        variables={"SAGEMAKER_PROGRAM": "train.py", "SAGEMAKER_SUBMIT_DIRECTORY": "s3://bucket/sourcedir.tar.gz"},
    ),
    python(
        "a host that cannot be found",
        "print(1)\n",
        "algo-2: ",
        "algo-1",
        "so train.py was not started: ",
        files=hosts("algo-1", "algo-2"),
        command=("--wait-hosts", "2s", "--watch-hosts", "0", "train"),
        options=("--network", "none"),
    ),
)

STOPS = (
    python(
        "a stop whose time was too short",
        SAVES.format("\n\ndef save(*_):\n    print('saving', file=sys.stderr)\n    time.sleep(600)\n\n\n"),
        "train.py was still saving when its 9 s were over, or paid SIGTERM no heed: killed after ",
        "SIGTERM had come ",
        " s before; killed: train.py (",
        ")\nsaving",
        code=137,
        command=("--stop-timeout", "10s", "train"),
        stop=True,
    ),
    python(
        "saving that fails in a stop",
        SAVES.format("\n\ndef save(*_):\n    open('/opt/ml/checkpoints/last', 'wb')\n\n\n"),
        "train.py exited with code 1 after ",
        " into the stop that SIGTERM asked for: FileNotFoundError: [Errno 2] No such file or directory: "
        "'/opt/ml/checkpoints/last'",
        stop=True,
    ),
    python(
        "a program that does not save in a stop",
        READY + "import time\n\ntime.sleep(600)\n",
        "train.py died of SIGTERM after ",
        " into the stop that SIGTERM asked for\n",
        "what it had in memory is lost",
        code=143,
        stop=True,
    ),
    python(
        "--max-runtime was over",
        "import time\n\ntime.sleep(600)\n",
        "train.py died of SIGTERM after ",
        " into the stop that --max-runtime asked for",
        code=143,
        command=("--max-runtime", "1s", "train"),
    ),
)

OTHERS = (
    python(
        "user code wrote the failure file itself",
        "with open('/opt/ml/output/failure', 'w') as file:\n    file.write('loss is NaN at step 7')\nraise ValueError('NaN')\n",
        "loss is NaN at step 7",
        never=("ValueError", "train.py"),
    ),
    python(
        "one host of several",
        "raise ValueError('0 rows')\n",
        "algo-2: train.py exited with code 1 after ",
        ": ValueError: 0 rows",
        files=hosts("algo-1", "algo-2"),
        options=("--add-host", "algo-1:127.0.0.1", "--add-host", "algo-2:127.0.0.1"),
    ),
    Failure(
        "a processing job",
        1,
        ("python3 exited with code 1 after ", ": FileNotFoundError: [Errno 2] No such file or directory: 'rows.csv'"),
        {"config/processingjobconfig.json": {}, "config/resourceconfig.json": {"current_host": "algo-1", "hosts": ["algo-1"]}},
        command=("python3", "-c", "open('rows.csv')"),
        file="output/message",
    ),
    python(
        "a companion that the job cannot be without",
        "import time\n\ntime.sleep(600)\n",
        "companion agent (",
        "train.py died of SIGTERM after ",
        code=143,
        config="processes:\n  - {name: agent, run: [sh, -c, exit 3]}\n",
    ),
)  # fmt: skip

ALL = (*PYTHON, *KERNEL, *SCRIPTS, *BEFORE, *STOPS, *OTHERS)


def lay_out(failure: Failure, base: Path) -> None:
    """Write the files of a failure below `base`, as they come out of a bucket: without any mode bits."""
    for directory in ("output", "model", "code"):
        (base / directory).mkdir(parents=True)
    for name, content in failure.files.items():
        file = base / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes((content if isinstance(content, str) else json.dumps(content)).encode())
        file.chmod(0o644)
