"""What is said of a script; and that it is true: shells and kernels are asked."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from smentry.ctl.check import script

SHELL = "#!/bin/bash\n"


def codes(text: str, name: str = "run.sh", **how: bool) -> list[str]:
    return [finding.code for finding in script.problems(name, text.encode(), **how)]


def placed(text: str, name: str = "run.sh") -> list[tuple[int, int, str]]:
    return [(finding.line, finding.column, finding.code) for finding in script.problems(name, text.encode())]


# -- the first line --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "executable", "expected"),
    [
        ("run.sh", "ls\n", True, ["SM402"]),
        ("run.sh", "ls\n", False, []),
        ("train.py", "print()\n", True, ["SM402"]),
        ("custom_entrypoint.py", "print()\n", True, ["SM402"]),
        ("model.py", "print()\n", True, []),
        ("train", "print()\n", False, ["SM402"]),
        ("train", "#!/usr/bin/perl\nprint 1;\n", False, []),
        ("run.sh", "\ufeff#!/bin/sh\nls\n", False, ["SM403"]),
        ("run.sh", "\ufeffls\n", False, ["SM403"]),
        ("model.py", "\ufeffprint()\n", False, []),
        ("run.sh", "\n#!/bin/sh\nls\n", False, ["SM403"]),
        ("run.sh", "# !/bin/sh\nls\n", False, ["SM403"]),
        ("run.sh", "!#/bin/sh\nls\n", False, ["SM403"]),
        ("run.sh", "# /opt/ml is where the data are\nls\n", False, []),
        ("train", "#!/usr/bin/env python3 -u\nprint()\n", True, ["SM403"]),
        ("train", "#!/usr/bin/env -S python3 -u\nprint()\n", True, []),
        ("train", "#!/usr/bin/env python3\nprint()\n", True, []),
        ("train", "#! /bin/sh -e\nls\n", True, []),
        ("train", "#!/bin/sh\r\nls\r\n", True, ["SM401"]),
        ("train", "#!/usr/bin/env python3\r\nprint()\r\n", True, ["SM401"]),
        ("train.py", "print()\r\n", False, []),
        ("run.sh", "ls\r\n", False, ["SM401"]),
    ],
)
def test_what_a_kernel_or_a_shell_makes_of_the_first_line(
    name: str, text: str, executable: bool, expected: list[str]
) -> None:
    assert codes(text, name, executable=executable) == expected


def test_who_starts_it_decides_about_the_line_and_the_bit() -> None:
    assert codes("ls\n", executed=False, executable=True) == []
    assert codes("ls\n", executed=True) == ["SM402"]
    assert codes("#!/bin/sh\nls\n", executed=True, executable=False) == ["SM409"]
    assert codes("#!/bin/sh\nls\n", executed=False, executable=False) == []


def test_a_program_that_is_no_script_is_left_alone() -> None:
    assert script.problems("train", b"\x7fELF\x02\x01\x00\r\n", executed=True, executable=False) == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("exit 0\n", errno.ENOEXEC),
        ("\n#!/bin/sh\nexit 0\n", errno.ENOEXEC),
        ("\ufeff#!/bin/sh\nexit 0\n", errno.ENOEXEC),
        ("#/bin/sh\nexit 0\n", errno.ENOEXEC),
        ("#!/bin/sh\r\nexit 0\r\n", errno.ENOENT),
    ],
)
def test_the_kernel_refuses_what_is_found(text: str, error: int, tmp_path: Path) -> None:
    path = tmp_path / "train"
    path.write_bytes(text.encode())
    path.chmod(0o755)
    assert script.findings(path) != []
    with pytest.raises(OSError, match=os.strerror(error)) as refused:
        os.posix_spawn(path, [str(path)], {})
    assert refused.value.errno == error


# -- nothing in it ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("run.sh", "", ["SM404"]),
        ("train.py", "", ["SM404"]),
        ("train.py", '"""Trains."""\n', ["SM404"]),
        ("custom_entrypoint.sh", "# later\n", ["SM404"]),
        ("run.sh", "#!/bin/sh\n\n", ["SM404"]),
        ("__init__.py", "", []),
        ("environment.sh", "# nothing to set\n", []),
        ("run.sh", "{ ls; }\n", []),
        ("train.py", "pass\n", []),
    ],
)
def test_a_script_with_nothing_in_it_where_a_job_is_expected(name: str, text: str, expected: list[str]) -> None:
    assert codes(text, name) == expected


# -- exit codes ------------------------------------------------------------------------------------

LOST = [
    "python3 train.py; echo done\n",
    "python3 train.py\nexit 0\n",
    "cd / && python3 train.py\naws s3 cp a b\nexit\n",
    "python3 -m trainer.main --epochs 3 | tee log\n",
    "set -e\npython3 train.py 2>&1 | tee log\n",
    "FOO=1 nohup torchrun train.py > log\nls\n",
    "set -e\nset +e\npython3 prepare.py\npython3 train.py |& tee log\n",
    "accelerate launch train.py\necho 'it failed; or not'\n",
    "set -e\nset +e\npython3 train.py\necho done\n",
    "(set -e; true)\npython3 train.py\necho done\n",
    "set -o pipefail\npython3 train.py | tee log\necho done\n",
    "nice -n 10 timeout -k 5 1h python3 train.py\necho done\n",
    "set -e\npython3 train.py &\nwait\n",
    "python3 train.py & python3 train.py &\necho started\nwait; aws s3 cp a b\n",
    "python3 train.py & pid=$!\nwait $pid\necho done\n",
]
KEPT = [
    "python3 train.py\n",
    "python3 train.py; exit\n",
    "python3 train.py || exit 1\necho done\n",
    "if ! python3 train.py; then exit 3; fi\necho done\n",
    "python3 train.py && echo done\n",
    "set -e\npython3 train.py\necho done\n",
    "set -o errexit\npython3 train.py\necho done\n",
    "set -euo pipefail\npython3 train.py | tee log\necho done\n",
    "python3 train.py; code=$?\necho done\nexit $code\n",
    "python3 train.py | tee log\nexit ${PIPESTATUS[0]}\n",
    "exec python3 train.py\necho never\n",
    "yes | python3 train.py\n",
    "trap 'exit 7' ERR\npython3 train.py\necho done\n",
    "set +e\nset -e\npython3 train.py\necho done\n",
    "set -eo pipefail\npython3 train.py | cat | tee log\necho done\n",
    "set -o pipefail\npython3 train.py | tee log\n",
    "python3 train.py & pid=$!\nwait $pid\n",
    "set -e\npython3 train.py & pid=$!\necho started\nwait $pid\necho done\n",
    "sleep 9 & python3 train.py &\nwait -n\n",
]
NEITHER = ["python3 -m pip install x\necho done\n", "python3 -c 'print()' | tee log\n", "python3 --version\nls\n"]


@pytest.mark.parametrize("text", LOST)
def test_a_script_that_ends_well_when_the_training_fails_is_found_out(text: str, tmp_path: Path) -> None:
    assert codes(SHELL + text) == ["SM405"]
    assert run_failing(text, tmp_path) == 0


@pytest.mark.parametrize("text", KEPT)
def test_a_script_that_fails_with_its_training_is_left_alone(text: str, tmp_path: Path) -> None:
    assert codes(SHELL + text) == []
    assert run_failing(text, tmp_path) != 0


@pytest.mark.parametrize("text", NEITHER)
def test_what_is_no_training_may_fail(text: str) -> None:
    assert codes(SHELL + text) == []


def run_failing(text: str, directory: Path) -> int:
    """The exit code of a script in which every Python and every launcher fails, and the AWS CLI works."""
    programs = directory / "programs"
    programs.mkdir()
    for name, code in (("python3", 3), ("torchrun", 3), ("accelerate", 3), ("aws", 0)):
        (programs / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (programs / name).chmod(0o755)
    path = directory / "run.sh"
    path.write_text(SHELL + text)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    null = subprocess.DEVNULL  # no pipes: what goes on in the background would hold them
    done = subprocess.run(
        ["bash", path], env=environment, cwd=directory, stdin=null, stdout=null, stderr=null, timeout=20
    )
    return done.returncode


# -- SIGTERM ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["trap '' TERM\n", 'set -e\ntrap -- "" SIGTERM INT\n', "if true; then trap '' 15; fi\n"],
)
def test_ignoring_sigterm_is_found_and_goes_on_in_what_is_started(text: str) -> None:
    assert codes(f"{SHELL}{text}exec python3 train.py\n") == ["SM406"]
    asked = "import signal; print(signal.getsignal(signal.SIGTERM).name)"
    done = subprocess.run(
        ["bash", "-c", f'{text}"$0" -c "$1"', sys.executable, asked], capture_output=True, text=True, timeout=20
    )
    assert done.stdout == f"{signal.SIG_IGN.name}\n"


@pytest.mark.parametrize(
    "text",
    [
        "trap : TERM\n",
        "trap - TERM\n",
        "trap '' INT HUP\n",
        "trap '' TERM\nls\ntrap - TERM\n",
        "clean_up() { trap '' TERM; kill 0; }\ntrap clean_up TERM\n",
        "(trap '' TERM; ls)\n",
        "trap \"trap '' TERM; kill 0; wait\" TERM\n",
        "cat <<END\ntrap '' TERM\nEND\n",
        "echo \"trap '' TERM\" # trap '' TERM\n",
        "trap 'kill -TERM $pid; sleep 100; kill -9 $pid' TERM\n",
        "trap 'kill -s TERM $pid' TERM\n",
        "trap 'kill -9 $logger' EXIT\n",
    ],
)
def test_what_is_not_ignored_for_good_is_left_alone(text: str) -> None:
    assert codes(SHELL + text + "ls\n") == []


@pytest.mark.parametrize("action", ["kill -9 $pid", "kill -KILL $pid", "pkill -9 python", "kill -s KILL $pid; exit 1"])
def test_an_answer_with_sigkill_is_found(action: str) -> None:
    assert placed(f"{SHELL}  trap '{action}' INT TERM\nls\n") == [(2, 3, "SM407")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n", [(2, 1, "SM406")]),
        ("import signal as s\nif 1:\n    s.signal(15, s.SIG_IGN)\n", [(3, 5, "SM406")]),
        ("from signal import *\n\ndef main():\n    signal(SIGTERM, SIG_IGN)\n\nmain()\n", [(4, 5, "SM406")]),
        ("from signal import *\n\ndef main():\n    signal(SIGTERM, SIG_IGN)\n", []),
        ("import signal\ndef worker():\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n", []),
        ("import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n", []),
        ("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_DFL)\n", []),
        (
            "import signal\nold = signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.signal(signal.SIGTERM, old)\n",
            [],
        ),
        ("print 'of another Python'\n", []),
        ("x = '\\d'\n", []),
    ],
)
def test_python_that_ignores_sigterm(text: str, expected: list[tuple[int, int, str]]) -> None:
    assert placed(text, "program.py") == expected


# -- the background --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python3 train.py &\n", ["SM408"]),
        ("python3 train.py & echo $! > pid\nexit 0\n", ["SM408"]),
        ("set -e\nnohup torchrun train.py > log 2>&1 &\n", ["SM408"]),
        ("python3 train.py &\nwait $!\n", []),
        ("python3 train.py & pid=$!\nwhile kill -0 $pid; do sleep 1; done\n", []),
        ("python3 agent.py &\nexec python3 train.py\n", []),
        ("tensorboard --logdir x &\n", []),
        ("python3 -m http.server &\n", []),
        ("python3 train.py &\ntail -f log\n", []),
    ],
)
def test_training_that_is_left_in_the_background(text: str, expected: list[str]) -> None:
    assert codes(SHELL + text) == expected


# -- the language ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "language"),
    [
        ("train", b"#!/bin/sh\n", script.SHELL),
        ("train", b"#!/usr/bin/env bash\n", script.SHELL),
        ("train", b"#!/usr/bin/env -S python3 -u\n", script.PYTHON),
        ("train", b"#!/opt/conda/bin/python3.11 -u\n", script.PYTHON),
        ("train.py", b"#!/usr/bin/perl\n", ""),
        ("train.py", b"\n", script.PYTHON),
        ("run.bash", b"ls\n", script.SHELL),
        ("train", b"ls\n", ""),
        ("run.sh", b"#!\n", script.SHELL),
    ],
)
def test_the_first_line_counts_over_the_name(name: str, data: bytes, language: str) -> None:
    assert script.language_of(name, data) == language
