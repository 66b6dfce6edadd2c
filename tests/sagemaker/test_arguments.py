from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smentry.errors import RefusedError
from smentry.sagemaker import arguments

LONGEST = 131071
FILE = "/opt/ml/input/config/hyperparameters.json"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epochs", 30, ["--epochs", "30"]),
        ("n", 1, ["-n", "1"]),
        ("", "x", ["", "x"]),
        ("ä b", "c d", ["--ä b", "c d"]),
        ("lr", 1e-4, ["--lr", "0.0001"]),
        ("on", True, ["--on", "True"]),
        ("off", None, ["--off", ""]),
        ("list", [1, "a", None], ["--list", "[1, 'a', None]"]),
        ("map", {"b": 1, "a": [True]}, ["--map", "a=[True],b=1"]),
        ("map", {}, ["--map", ""]),
    ],
)
def test_a_hyperparameter_is_an_argument(name: str, value: Any, words: list[str]) -> None:
    assert arguments.arguments({name: value}) == words


def test_arguments_are_sorted_by_name() -> None:
    assert arguments.arguments({"b": 1, "a-b": 2, "B": 3, "a": 4}) == ["-B", "3", "-a", "4", "--a-b", "2", "-b", "1"]


def test_what_is_the_platforms_own_is_not_the_programs() -> None:
    given = {
        "sagemaker_program": "x",
        "sagemaker_new": 1,
        "_tuning_objective_metric": "m",
        "default_user_module_name": "u",
    }
    assert arguments.users({**given, "epochs": 3, "Sagemaker_x": 4}) == {"epochs": 3, "Sagemaker_x": 4}


# -- what the kernel can pass --------------------------------------------------------------------------


def passes(argv: list[str], environment: dict[str, str]) -> bool:
    """Whether the kernel executes a program with these."""
    try:
        return subprocess.run(["/bin/true", *argv], env=environment).returncode == 0
    except OSError:
        return False


def test_the_longest_argument_is_the_kernels() -> None:
    assert arguments.LONGEST == LONGEST or os.sysconf("SC_PAGE_SIZE") != 4096
    assert passes(["x" * arguments.LONGEST], {})
    assert not passes(["x" * (arguments.LONGEST + 1)], {})
    assert passes([], {"A": "x" * (arguments.LONGEST - 2)})
    assert not passes([], {"A": "x" * (arguments.LONGEST - 1)})


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("data", "x" * 131072, "'data': its value is 131072 bytes long, expected 131071 or fewer"),
        ("data", "ä" * 70000, "'data': its value is 140000 bytes long"),
        ("data", ["x" * 140000], "'data': its value is 140004 bytes long"),
        ("a" * 131070, 1, "its name is 131072 bytes long, expected 131071 or fewer"),
        ("data", "a\0b", "'data': its value holds a NUL character"),
        ("a\0b", 1, r"'a\x00b': its name holds a NUL character"),
        ("data", "\ud800", "'data': its value cannot be written in the locale's encoding"),
    ],
)
def test_what_cannot_be_an_argument_is_refused(name: str, value: Any, says: str) -> None:
    with pytest.raises(RefusedError) as refused:
        arguments.check({"fine": 1, name: value}, FILE)
    assert refused.value.message.startswith(f"{FILE}: ")
    assert says in refused.value.message
    assert "--hyperparameters environment or none" in refused.value.message
    assert len(refused.value.message) < 500


def test_what_can_just_be_one_is_not() -> None:
    arguments.check({"data": "x" * arguments.LONGEST, "a" * (arguments.LONGEST - 2): 1}, FILE)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("SM_HP_X", "x" * LONGEST, "is 131079 bytes long"),
        ("SM_HP_X", "\0", "holds a NUL character"),
        ("SM_HP_A=B", "1", "has = in its name"),
        ("SM_HP_X", "\udfff", "cannot be written"),
    ],
)
def test_a_variable_that_cannot_be_passed_is_left_out(name: str, value: str, why: str) -> None:
    kept, left_out = arguments.fitting({"SM_HPS": "{}", name: value}, [], {})
    assert kept == {"SM_HPS": "{}"}
    (line,) = left_out
    assert line.startswith(f"variable {name!a} is left out: it ")
    assert why in line


def test_variables_that_are_too_much_together_are_left_out_from_the_longest_on() -> None:
    variables = {f"SM_HP_{number}": str(number % 10) * (100_000 + number) for number in range(100)}
    kept, left_out = arguments.fitting(variables, ["a"], {"PATH": "/bin"})
    assert 0 < len(kept) < 100
    assert list(kept) == [f"SM_HP_{number}" for number in range(len(kept))]
    assert len(left_out) == 100 - len(kept)
    assert passes(["a"], {"PATH": "/bin", **kept})
    one_more = {**kept, f"SM_HP_{len(kept)}": variables[f"SM_HP_{len(kept)}"]}
    assert not passes(["a"], {"PATH": "/bin", **one_more})


def test_arguments_that_are_too_much_together_are_refused() -> None:
    argv = ["x" * 100_000] * 100
    assert not passes(argv, {})
    with pytest.raises(RefusedError, match=r"arguments and variables are \d+ bytes together, expected \d+ or fewer"):
        arguments.fitting({"SM_HPS": "{}"}, argv, {})


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_STACK)[1] not in (resource.RLIM_INFINITY, -1),
    reason="the stack's limit is fixed",
)
@pytest.mark.parametrize("stack", [256 << 10, 4 << 20, 16 << 20, 1 << 30, -1])
def test_the_limit_follows_that_of_the_stack(stack: int) -> None:
    program = f"""if True:
        import os, resource
        resource.setrlimit(resource.RLIMIT_STACK, ({stack}, resource.getrlimit(resource.RLIMIT_STACK)[1]))
        from smentry.sagemaker import arguments
        kept, _ = arguments.fitting({{f"A{{n:03}}": "x" * 20_000 for n in range(400)}}, ["true"], {{}})
        assert kept, kept
        os.execve("/bin/true", ["true"], kept)
    """
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


@given(st.dictionaries(st.text(max_size=3), st.text(max_size=9), max_size=9))
def test_what_is_passed_can_be(parameters: dict[str, str]) -> None:
    try:
        arguments.check(parameters, FILE)
    except RefusedError:
        return
    assert passes(arguments.arguments(parameters), {})
