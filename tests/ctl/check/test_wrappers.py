"""Where the program begins behind env and inits."""

from __future__ import annotations

import pytest

from smentry.ctl.check import wrappers


@pytest.mark.parametrize(
    ("line", "program"),
    [
        ("env A=1 -i python", "python"),
        ("/usr/bin/env -u A --chdir /app B= python -u", "python -u"),
        ("env", ""),
        ("env -u", ""),
        ("python A=1", "python A=1"),
        ("", ""),
    ],
)
def test_what_env_takes(line: str, program: str) -> None:
    words = line.split()
    assert words[wrappers.of_env(words) :] == program.split()


@pytest.mark.parametrize(
    ("line", "program"),
    [
        ("tini -- python -u", "python -u"),
        ("/usr/bin/tini -g -e 143 -p SIGTERM python --", "python --"),
        ("dumb-init --rewrite 15:2 -v python", "python"),
        ("dumb-init --rewrite=15:2 python", "python"),
        ("catatonit -- -p", "-p"),
        ("tini -e", ""),
        ("tini", ""),
        ("sh -c tini", "sh -c tini"),
        ("", ""),
    ],
)
def test_what_an_init_takes(line: str, program: str) -> None:
    words = line.split()
    assert words[wrappers.of_init(words) :] == program.split()
