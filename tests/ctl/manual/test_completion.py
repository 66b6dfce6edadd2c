"""Completion in the shells themselves: what bash, zsh and fish make of a line."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from running import LIMIT

from smentry.ctl.manual import completion, description

from . import shells

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("shtab")
DOCKER = """#!/bin/sh
[ "$1 $2" = "image ls" ] && printf '%s\\n' trainer:latest trainer:gpu registry:5000/trainer:1 plain:latest
"""
"""In the place of docker: which images a machine has is not for a test to know."""


def tool() -> argparse.ArgumentParser:
    """A program with one argument of each kind."""
    made = argparse.ArgumentParser("tool")
    made.add_argument(
        "--channel", metavar="NAME=DIR[:File|FastFile|Pipe]", action="append", help="a [channel]: $HOME `id`"
    )
    made.add_argument("--s3", metavar="s3://BUCKET/PREFIX=DIR", help='say "so", it\'s 100 %%')
    made.add_argument("--directory", metavar="DIR", help="a directory")
    made.add_argument("--file", metavar="FILE", help="a file")
    made.add_argument("--number", metavar="N", help="a number")
    verbs = made.add_subparsers(metavar="VERB")
    verbs.add_parser("start", help="start").add_argument("image", metavar="IMAGE|DIRECTORY", help="an image")
    made.add_argument("--quiet", action="store_true", help="nothing")
    return made


def parsers() -> list[argparse.ArgumentParser]:
    return [tool(), *(description.of(program).parser for program in description.PROGRAMS)]


@pytest.fixture(scope="module", params=completion.SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[shells.Shell]:
    """The shell, in a directory with a few files, with the completion of all three programs."""
    directory: Path = tmp_path_factory.mktemp("here")
    (directory / "data dir").mkdir()
    (directory / "data").mkdir()
    (directory / "data/inner").mkdir()
    (directory / "request.json").touch()
    (directory / "timeline").touch()
    tools = tmp_path_factory.mktemp("bin")
    (tools / "docker").write_text(DOCKER, encoding="utf-8")
    (tools / "docker").chmod(0o755)
    (tools / "frobnicate").write_text("#!/bin/sh\n", encoding="utf-8")
    (tools / "frobnicate").chmod(0o755)
    script = tools / "script"
    if request.param == "zsh":  # each is for an eval of its own
        texts = [completion.script(parser, "zsh") for parser in parsers()]
        for number, text in enumerate(texts):
            (tools / f"script{number}").write_text(text, encoding="utf-8")
        lines = [f'eval "$(cat {tools}/script{number})"' for number in range(len(texts))]
        script.write_text("\n".join(lines), encoding="utf-8")
    else:
        script.write_text("\n".join(completion.script(parser, request.param) for parser in parsers()), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tools}:/usr/local/bin:/usr/bin:/bin")
        started = shells.start(request.param, script, ("tool", *description.PROGRAMS), directory)
        yield started
        started.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("smentryctl ti", ["timeline"]),
        ("smentryctl ", ["check", "completion", "explain", "man", "request", "run", "serve", "timeline"]),
        ("smentryctl completion ", ["bash", "fish", "zsh"]),
        ("smentryctl completion zsh ", ["smentry", "smentryctl"]),
        ("smentryctl timeline --s", ["--svg"]),
        ("smentryctl timeline --svg --run 3 req", ["request.json"]),
        ("smentryctl run --engine ", ["docker", "process"]),
        ("smentryctl check --format ", ["github", "json", "sarif", "text"]),
        ("smentry ", ["serve", "train"]),
        ("smentry frobni", ["frobnicate"]),
        ("smentry --train frobni", ["frobnicate"]),
        ("smentry frobnicate req", ["request.json"]),
        ("smentry --scope all train req", ["request.json"]),
        ("smentry --sc", ["--scope", "--script"]),
        ("smentry --scope ", ["all", "auto", "group", "main"]),
        ("smentry --scope a", ["all", "auto"]),
        ("smentry --scope=a", ["all", "auto"]),
        ("smentry --scope=", ["all", "auto", "group", "main"]),
        ("smentry -vw --scope m", ["main"]),
        ("smentry -r TERM:INT --tap ", ["auto", "off"]),
        ("smentry --serve-signal USR", ["USR1", "USR2"]),
        ("smentry --config req", ["request.json"]),
        ("smentry --config=req", ["request.json"]),
        ("smentry --hooks-dir ", ["data", "data dir"]),
        ("smentry --user roo", ["root"]),
        ("tool --fi", ["--file"]),
        ("tool --file ", ["data", "data dir", "request.json", "timeline"]),
        ("tool --directory ", ["data", "data dir"]),
        ("tool --directory data/", ["data/inner"]),
        ("tool --number ", []),
        ("tool --channel tr", []),
        ("tool --channel train=data/", ["train=data/inner"]),
        ("tool --channel=train=data/", ["train=data/inner"]),
        ("tool --channel a=b --channel train=data/", ["train=data/inner"]),
        ("tool --s3 s3://bucket/year=2024/=data/", ["s3://bucket/year=2024/=data/inner"]),
        ("tool start tra", ["trainer:gpu", "trainer:latest"]),
        ("tool start trainer:g", ["trainer:gpu"]),
        ("tool start registry:5000/", ["registry:5000/trainer:1"]),
        ("tool --quiet --file request.json start pla", ["plain:latest"]),
        ("tool start request.j", ["request.json"]),
    ],
)
def test_a_line_is_completed(shell: shells.Shell, line: str, expected: list[str]) -> None:
    assert shell.completions(line) == expected


@pytest.mark.parametrize("program", description.PROGRAMS)
@pytest.mark.parametrize("name", completion.SHELLS)
def test_every_option_of_the_help_is_completed(program: str, name: str) -> None:
    written = completion.script(description.of(program).parser, name)
    parser = description.of(program).parser
    for described in (parser, *description.verbs(parser).values()):
        for action in described._actions:
            for option in action.option_strings:
                assert (f"-l {option[2:]}" if name == "fish" and option.startswith("--") else option[1:]) in written


def test_the_line_that_the_help_shows_is_what_bash_takes() -> None:
    command = f'{sys.executable} -m smentry.ctl "$@"'
    line = 'eval "$(smentryctl completion bash)"'
    assert line in (description.verbs(description.of("smentryctl").parser)["completion"].epilog or "")
    ran = subprocess.run(
        ["bash", "-euc", f"smentryctl() {{ {command}; }}; {line}; complete -p smentryctl"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "complete -o bashdefault -F _smentry_of_smentryctl smentryctl\n"


@pytest.mark.slow
def test_zsh_finds_it_as_a_file_of_fpath(tmp_path: Path) -> None:
    (tmp_path / "_smentryctl").write_text(
        completion.script(description.of("smentryctl").parser, "zsh"), encoding="utf-8"
    )
    script = tmp_path / "script"
    script.write_text(f"fpath=({tmp_path} $fpath); compinit -D -u", encoding="utf-8")
    zsh = shells.start("zsh", script, ("smentryctl",), tmp_path)
    for _ in range(2):  # the first time it is loaded
        assert zsh.completions("smentryctl completion ") == ["bash", "fish", "zsh"]
    zsh.close()


@pytest.mark.slow
def test_fish_finds_it_among_its_completions(tmp_path: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("there is no fish")
    (tmp_path / "fish/completions").mkdir(parents=True)
    file = tmp_path / "fish/completions/smentryctl.fish"
    file.write_text(completion.script(description.of("smentryctl").parser, "fish"), encoding="utf-8")
    (tmp_path / "smentryctl").touch(0o755)  # fish loads it only where there is such a command
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["fish", "-c", "complete -C 'smentryctl completion '"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert [line.partition("\t")[0] for line in ran.stdout.splitlines()] == ["bash", "zsh", "fish"]


@pytest.mark.parametrize(
    ("metavar", "kind"),
    [
        ("FILE", "file"),
        ("REQUEST.json", "file"),
        ("PATH|IMAGE", "image"),
        ("DIR", "directory"),
        ("NAME=DIR[:File|FastFile|Pipe]", "assigned"),
        ("CHANNEL/PATH", ""),
        ("USER[:GROUP]", "user"),
        ("NAME=S3URI[:MODE]", ""),
        ("DUR", ""),
        (None, ""),
    ],
)
def test_the_kind_of_an_argument_is_told_by_its_metavar(metavar: str | None, kind: str) -> None:
    assert completion.kind(argparse.ArgumentParser().add_argument("--it", metavar=metavar)) == kind
