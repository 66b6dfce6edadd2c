"""What is read out of the ends of real programs' stderr; in tests/tails are those of programs that cannot be run here."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smentry import masking, tail

TAILS = Path(__file__).parent / "tails"
GROUPS = pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups and notes came with Python 3.11")


def said(program: str, directory: Path) -> bytes:
    """What a Python program writes to stderr."""
    file = directory / "train.py"
    file.write_text(program, encoding="utf-8")
    ran = subprocess.run([sys.executable, str(file)], cwd=directory, capture_output=True, timeout=60, check=False)
    return ran.stderr


def cause(program: str, directory: Path) -> str:
    return tail.read(said(program, directory)).cause


def recorded(name: str) -> bytes:
    return (TAILS / f"{name}.txt").read_bytes()


# Python.


def test_an_exception_and_the_traceback_that_led_to_it(tmp_path: Path) -> None:
    program = "def fit(a, b):\n    raise ValueError(f'shapes {a} and {b} do not match')\nfit((3,), (4,))\n"
    words = tail.read(said(program, tmp_path))
    assert words.cause == "ValueError: shapes (3,) and (4,) do not match"
    assert words.near
    assert words.lines[-2:] == [
        f'  File "{tmp_path}/train.py", line 2, in fit',
        "    raise ValueError(f'shapes {a} and {b} do not match')",
    ]
    assert words.message == [words.cause]


def test_the_users_own_line_is_known_where_libraries_are_below_it(tmp_path: Path) -> None:
    words = tail.read(said("import json\nepochs = json.loads('{')\n", tmp_path))
    assert words.cause.startswith("json.decoder.JSONDecodeError: Expecting property name")
    assert words.own == [f'  File "{tmp_path}/train.py", line 2, in <module>', "    epochs = json.loads('{')"]


@pytest.mark.parametrize("how", ["from error", ""], ids=["cause", "context"])
def test_of_a_chain_the_last_exception_is_the_cause_and_the_one_before_is_known(how: str, tmp_path: Path) -> None:
    program = f"try:\n    {{}}['lr']\nexcept KeyError as error:\n    raise RuntimeError('no learning rate') {how}\n"
    words = tail.read(said(program, tmp_path))
    assert words.cause == "RuntimeError: no learning rate"
    assert words.earlier == "KeyError: 'lr'"


@GROUPS
def test_of_a_group_every_exception_is_named(tmp_path: Path) -> None:
    program = "raise ExceptionGroup('two ranks', [ValueError('a'), ExceptionGroup('in', [TypeError('b')])])\n"
    assert cause(program, tmp_path) == (
        "ExceptionGroup: two ranks (2 sub-exceptions): ValueError: a; ExceptionGroup: in (1 sub-exception); TypeError: b"
    )


@GROUPS
def test_a_group_that_was_raised_while_another_exception_was_handled(tmp_path: Path) -> None:
    program = "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise ExceptionGroup('many', [ValueError('a')])\n"
    words = tail.read(said(program, tmp_path))
    assert words.cause == "ExceptionGroup: many (1 sub-exception): ValueError: a"
    assert words.earlier == "ZeroDivisionError: division by zero"


@GROUPS
def test_notes_belong_to_the_message(tmp_path: Path) -> None:
    program = "error = ValueError('x')\nerror.add_note('in file part-7.csv')\nraise error\n"
    words = tail.read(said(program, tmp_path))
    assert words.cause == "ValueError: x"
    assert words.message == ["ValueError: x", "in file part-7.csv"]


def test_a_message_of_several_lines_is_kept_and_its_first_ones_are_the_cause(tmp_path: Path) -> None:
    text = 'Error(s) in loading state_dict for Net:\n\tMissing key(s): "a"\n\tUnexpected key(s): "b"'
    words = tail.read(said(f"raise RuntimeError({text!r})\n", tmp_path))
    assert words.cause == (
        'RuntimeError: Error(s) in loading state_dict for Net: Missing key(s): "a" Unexpected key(s): "b"'
    )
    assert [line.strip() for line in words.message[1:]] == ['Missing key(s): "a"', 'Unexpected key(s): "b"']


def test_a_syntax_error_of_the_script_which_has_no_traceback(tmp_path: Path) -> None:
    words = tail.read(said("import os\ndef f(:\n    pass\n", tmp_path))
    assert words.cause == "SyntaxError: invalid syntax"
    assert words.lines[0] == f'  File "{tmp_path}/train.py", line 2'
    assert words.lines[-1].strip() == "^"


def test_a_syntax_error_of_a_module(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("x = = 1\n")
    words = tail.read(said("import model\n", tmp_path))
    assert words.cause == "SyntaxError: invalid syntax"
    assert f'  File "{tmp_path}/model.py", line 1' in words.lines


def test_a_text_given_to_sys_exit_is_the_last_thing_said(tmp_path: Path) -> None:
    words = tail.read(said("import sys\nsys.exit('no data in /opt/ml/input/data/train')\n", tmp_path))
    assert (words.cause, words.last) == ("", "no data in /opt/ml/input/data/train")


def test_an_unknown_argument_is_the_last_thing_said(tmp_path: Path) -> None:
    program = "import argparse\nargparse.ArgumentParser().parse_args(['--epochs', '3'])\n"
    assert tail.read(said(program, tmp_path)).last.endswith("error: unrecognized arguments: --epochs 3")


@pytest.mark.parametrize(
    "program",
    [
        "class Data:\n    def __del__(self):\n        raise TypeError('late')\ndata = Data()\nraise KeyError('labels')\n",
        "import atexit\n@atexit.register\ndef f():\n    raise TypeError('late')\nraise KeyError('labels')\n",
        "import logging\nlogging.error('%d', 'x')\nraise KeyError('labels')\n",
    ],
    ids=["destructor", "atexit", "logging"],
)
def test_an_exception_that_python_ignores_is_no_cause(program: str, tmp_path: Path) -> None:
    assert cause(program, tmp_path) == "KeyError: 'labels'"


def test_an_exception_of_a_worker_is_the_cause_and_not_what_the_launcher_makes_of_it(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'raise KeyError(\"labels\")'], check=True)\n"
    )
    assert cause(program, tmp_path) == "KeyError: 'labels'"


def test_an_exception_of_a_pool_s_worker(tmp_path: Path) -> None:
    program = (
        "import multiprocessing\n"
        "def work(x):\n    raise ValueError(f'bad row {x}')\n"
        "if __name__ == '__main__':\n    multiprocessing.Pool(1).map(work, [7])\n"
    )
    words = tail.read(said(program, tmp_path))
    assert words.cause == "ValueError: bad row 7"
    assert "    raise ValueError(f'bad row {x}')" in words.lines


def test_an_exception_of_a_thread_is_the_cause_where_there_is_no_other(tmp_path: Path) -> None:
    thread = "import threading\n"
    thread += "def f():\n    raise ValueError('in a thread')\nt = threading.Thread(target=f)\nt.start()\nt.join()\n"
    assert cause(thread + "raise SystemExit(2)\n", tmp_path) == "ValueError: in a thread"
    assert cause(thread + "raise KeyError('labels')\n", tmp_path) == "KeyError: 'labels'"


def test_an_exception_long_before_the_end_is_not_near(tmp_path: Path) -> None:
    caught = "import logging, sys\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    logging.exception('skipped')\n"
    late = tail.read(
        said(caught + "for i in range(1000):\n    print('step', i, file=sys.stderr)\nsys.exit(3)\n", tmp_path)
    )
    assert (late.cause, late.near) == ("ZeroDivisionError: division by zero", False)
    soon = tail.read(said(caught + "print('bye', file=sys.stderr)\nsys.exit(3)\n", tmp_path))
    assert (soon.cause, soon.near) == ("ZeroDivisionError: division by zero", True)


def test_processes_that_write_at_the_same_time_are_told_apart(tmp_path: Path) -> None:
    lines = said("def f():\n    raise KeyError('labels')\nf()\n", tmp_path).decode().splitlines()
    mixed = "".join(f"[rank{rank}]: {line}\n" for line in lines for rank in (0, 1, 2))
    words = tail.read(mixed.encode())
    assert words.cause == "KeyError: 'labels'"
    assert words.lines == [line for line in lines[:-1] if "^" not in line]


def test_a_message_that_only_looks_like_a_traceback_is_none() -> None:
    for text in (
        b"Traceback (most recent call last):\n",
        b'  File "x.py", line 3\n',
        b"Traceback (most recent call last)",
    ):
        assert tail.read(text).cause == ""


def test_a_syntax_error_without_a_header_is_no_part_of_the_message_before_it(tmp_path: Path) -> None:
    first = said("raise KeyError('labels')\n", tmp_path)
    assert tail.read(first + said("x = = 1\n", tmp_path)).cause == "SyntaxError: invalid syntax"


# Native code, shells, launchers.


@pytest.mark.parametrize(
    ("name", "crash", "expected"),
    [
        ("torchrun", False, "KeyError: 'labels' (rank 1 on algo-1)"),
        ("torchrun-killed", False, "rank 1 on algo-1 failed first: Signal 9 (SIGKILL) received by PID 144"),
        (
            "torchrun-recorded",
            False,
            "ValueError: no batches: the dataset has 3 rows, and there are 8 ranks (rank 5 on algo-2)",
        ),
        ("accelerate", False, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."),
        ("nccl-watchdog", True, "c10::DistBackendError: [PG ID 0 PG GUID 0(default_pg) Rank 0] Process group watchdog"),
        ("jax", False, "TypeError: dot_general requires contracting dimensions to have the same shape"),
        ("faulthandler", True, "Fatal Python error: Segmentation fault"),
        ("loader", False, "RuntimeError: DataLoader worker (pid(s) 33) exited unexpectedly"),
    ],
)
def test_what_frameworks_write(name: str, crash: bool, expected: str) -> None:
    words = tail.read(recorded(name), crash=crash)
    assert words.cause.startswith(expected)
    assert words.near


def test_of_a_crash_the_stack_of_the_thread_that_crashed_is_kept() -> None:
    words = tail.read(recorded("faulthandler"), crash=True)
    assert words.first
    assert words.lines[0].startswith("Current thread ")
    assert words.lines[1:] == [
        '  File "/opt/conda/lib/python3.11/site-packages/torch/_ops.py", line 755 in __call__',
        '  File "/opt/ml/code/model.py", line 41 in forward',
        '  File "/opt/ml/code/train.py", line 12 in <module>',
    ]
    assert words.own == ['  File "/opt/ml/code/model.py", line 41 in forward']


def test_the_stack_of_a_real_crash(tmp_path: Path) -> None:
    program = "import ctypes, faulthandler\nfaulthandler.enable()\ndef f():\n    ctypes.string_at(0)\nf()\n"
    words = tail.read(said(program, tmp_path), crash=True)
    assert words.cause == "Fatal Python error: Segmentation fault"
    assert words.own == [f'  File "{tmp_path}/train.py", line 4 in f']


@pytest.mark.parametrize(
    "line",
    ["free(): invalid pointer", "double free or corruption (out)", "a.out: a.c:3: main: Assertion `x > 0' failed.",
     "*** stack smashing detected ***: terminated", "terminate called without an active exception"],
)  # fmt: skip
def test_what_the_c_library_says_of_an_abort(line: str) -> None:
    assert tail.read(f"step 1\n{line}\n".encode(), crash=True).cause == line


def test_an_exception_of_python_s_is_no_reason_for_a_crash() -> None:
    python = b'Traceback (most recent call last):\n  File "t.py", line 1, in <module>\nValueError: caught\n'
    assert tail.read(python + b"step 2\n", crash=True).cause == ""


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_command_that_a_shell_does_not_find(shell: str) -> None:
    ran = subprocess.run([shell, "-c", "no-such-command --x"], capture_output=True, timeout=60, check=False)
    assert "no-such-command: " in tail.read(ran.stderr).last
    assert "not found" in tail.read(ran.stderr).last


@pytest.mark.parametrize(
    ("name", "killed"), [("torchrun-killed", True), ("loader", True), ("torchrun", False), ("jax", False)]
)
def test_whether_somebody_says_that_a_process_was_killed(name: str, killed: bool) -> None:
    assert tail.read(recorded(name)).killed is killed


# Lines.


def test_of_a_progress_bar_the_last_state_is_kept_and_it_is_no_reason() -> None:
    bar = "".join(f"\r\x1b[32m{step}%|###  | {step}/100\x1b[0m" for step in range(100))
    assert tail.clean(f"no data\n{bar}".encode()) == ["no data", "99%|###  | 99/100"]
    assert tail.read(f"no data\n{bar}".encode()).last == "no data"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"\x1b[1;31mError\x1b[0m: x\r\n", "Error: x"),
        (b"\x1b]0;title\x07x", "x"),
        (b"a\tb\x00\x08c\x1b", "a   bc"),
        (b"f\xfcr", "f\N{REPLACEMENT CHARACTER}r"),
        (b"\xbcrest of a letter", "rest of a letter"),
        ("für ∞ 🤗".encode(), "für ∞ 🤗"),
        ("no\N{NO-BREAK SPACE}break".encode(), "no break"),
    ],
)
def test_lines_are_what_a_person_can_read(written: bytes, shown: str) -> None:
    assert tail.clean(written) == [shown]


def test_a_tail_that_has_lost_its_beginning_begins_with_a_whole_line() -> None:
    text = b"rest of a secret\nfirst whole line\n" + b"x" * tail.WHOLE
    assert tail.clean(text[-tail.WHOLE - 40 :])[0] != "rest of a secret"
    assert tail.clean(b"short\nlines\n")[0] == "short"


@pytest.mark.parametrize("secret", ["one\ttwo-three", "one-two \nthree", "one-two-three"])
@pytest.mark.parametrize("torn", ["{}", "\x1b[1m{}\x1b[0m"])
def test_a_secret_is_masked_before_and_after_it_is_made_readable(secret: str, torn: str) -> None:
    secrets = masking.values({"API_KEY": secret})
    lines = tail.clean(f"key {torn.format(secret)} is wrong\n".encode(), lambda text: masking.mask(text, secrets))
    assert lines == ["key *** is wrong"]


def test_nothing_says_nothing() -> None:
    words = tail.read(b"")
    assert (words.cause, words.last, words.lines) == ("", "", [])


PIECES = st.sampled_from(
    [b"Traceback (most recent call last):\n", b'  File "a.py", line 1, in f\n', b"    x\n", b"ValueError: x\n", b"\n", b"\r",
     b"  + Exception Group Traceback (most recent call last):\n", b"  | A: b\n", b"    +---------------- 1 ----------------\n",
     b"[rank0]: ", b"[rank1]: ", b"Fatal Python error: Aborted\n", b"Current thread 0x1 (most recent call first):\n",
     b"terminate called after throwing an instance of 'x'\n", b"Root Cause (first observed failure):\n", b"  rank : 1\n",
     b"\nDuring handling of the above exception, another exception occurred:\n\n", b"\x1b[", b"\x1b]", b"\xff", b"hunter2hunter2",
     b"hunter2\x00hunter2"]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=40), st.booleans())
def test_whatever_was_written_can_be_read(pieces: list[bytes], crash: bool) -> None:
    secrets = masking.values({"API_TOKEN": "hunter2hunter2"})
    words = tail.read(b"".join(pieces), lambda text: masking.mask(text, secrets), crash=crash)
    for line in (words.cause, words.last, words.earlier, *words.lines, *words.message, *words.own):
        assert line.isprintable()
        assert "hunter2hunter2" not in line
    assert len(words.cause) <= tail.LONGEST


@pytest.mark.parametrize(
    "piece",
    [b"Traceback (most recent call last):\n", b"[rank0]: Traceback (most recent call last):\n", b"\n", b"x", b": Assertion `",
     b'  File "a", line 1\n', b"\x1b]", b" ", b"terminate called after throwing an instance of '\n", b"9%|",
     b"The above exception was the direct cause of the following exception:\n",
     b"[rank0]: x\n[rank1]: Traceback (most recent call last):\n"],
    ids=lambda piece: piece[:12],
)  # fmt: skip
def test_reading_takes_no_time_that_the_exit_has_not(piece: bytes) -> None:
    text = piece * (tail.WHOLE // len(piece))
    began = time.process_time()
    tail.read(text)
    tail.read(text, crash=True)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("said", "derived"),
    [
        ("ValueError: bad batch", False),
        ("RuntimeError: mat1 and mat2 shapes cannot be multiplied", False),
        ("torch.OutOfMemoryError: CUDA out of memory", False),
        ("RuntimeError: [../gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.1]:43211", True),
        ("RuntimeError: [1] is setting up NCCL communicator: Broken pipe", True),
        (
            "torch.distributed.DistBackendError: NCCL error in: ../ProcessGroupNCCL.cpp:2251, remote process exited",
            True,
        ),
        (
            "torch.distributed.DistStoreError: Timed out after 601 seconds waiting for clients. 1/2 clients joined.",
            True,
        ),
        ("BrokenPipeError: [Errno 32] Broken pipe", True),
    ],
)
def test_an_exception_that_follows_from_another_process_is_known_by_its_name_or_message(
    said: str, derived: bool
) -> None:
    words = tail.read(f'Traceback (most recent call last):\n  File "train.py", line 1, in <module>\n{said}\n'.encode())
    assert words.derived == derived
    assert words.cause == said


def test_the_cause_counts_over_a_lost_connection_that_is_said_after_it() -> None:
    header = 'Traceback (most recent call last):\n  File "train.py", line 1, in <module>\n'
    said = f"{header}ValueError: bad batch\n{header}RuntimeError: Connection closed by peer\n"
    words = tail.read(said.encode())
    assert (words.cause, words.derived) == ("ValueError: bad batch", False)
