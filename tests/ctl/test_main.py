"""smentryctl as a command: its help, its exit codes, what it loads, and what it says where something is missing."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running import LIMIT

from smentry.ctl import main
from smentry.ctl.manual import description

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
VERBS = ("run", "serve", "check", "request", "explain", "timeline", "completion", "man")
HEAVY = ("boto3", "botocore", "docker", "dockerfile_parse", "moto", "regex", "requests", "rich", "shtab", "urllib3")

BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
from smentry.ctl.main import main
sys.exit(main(sys.argv[2:]))
"""
"""smentryctl without the library that the first argument names."""


def smentryctl(
    *words: str, before: Sequence[str] = ("-m", "smentry.ctl"), **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *before, *words],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def test_the_help_lists_every_verb_with_what_it_is_for() -> None:
    said = main.parser().format_help()
    assert tuple(description.verbs(main.parser())) == VERBS
    for verb in VERBS:
        assert re.search(rf"^    {verb} +\w+", said, re.MULTILINE), verb


def test_the_help_has_every_exit_code() -> None:
    said = " ".join(main.parser().format_help().split())
    for code, meaning in main.EXIT_CODES:
        assert f"{code} {meaning}" in said


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_help_of_its_own(verb: str) -> None:
    parser = description.verbs(main.parser())[verb]
    assert parser.description
    assert parser.get_default("call")
    for action in parser._actions:
        assert action.help, action
    parser.format_help()  # a % in a text is a mistake of ours that argparse finds only now


def test_no_option_can_be_shortened() -> None:
    for parser in (main.parser(), *description.verbs(main.parser()).values()):
        assert not parser.allow_abbrev, parser.prog


def test_the_help_loads_none_of_the_libraries() -> None:
    show = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
    ran = smentryctl("--help", before=("-c", f"{show} from smentry.ctl.main import main; sys.exit(main(sys.argv[1:]))"))
    assert ran.returncode == 0
    loaded = {name.partition(".")[0] for name in ran.stderr.split()}
    assert "smentry" in loaded
    assert not loaded & set(HEAVY)


def test_the_version_is_that_of_smentry() -> None:
    import smentry

    assert smentryctl("--version").stdout == f"smentryctl {smentry.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "the following arguments are required: VERB"),
        (("bogus",), "VERB: invalid choice: 'bogus'"),
        (("--bogus", "man"), "unrecognized arguments: --bogus"),
        (("man", "tini"), "program: invalid choice: 'tini'"),
        (("timeline",), "the following arguments are required: FILE"),
        (("run", "--gpus", "none"), "--gpus: expected all or a number, got 'none'"),
        (("serve", "--gpus", "none"), "--gpus: expected all or a number, got 'none'"),
        (
            ("run", "--stop-timeout", "soon"),
            "--stop-timeout: expected a time such as 90, 90s, 2m, 1h or 500ms, got 'soon'",
        ),
    ],
)
def test_wrong_usage_is_exit_code_2(words: Sequence[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(words)
    assert ended.value.code == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert re.fullmatch(rf"smentryctl: {re.escape(said)}.*; see smentryctl( \w+)? --help\n", written.err)


def test_a_refusal_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["timeline", "/nonexistent/timeline"]) == 2
    assert capsys.readouterr() == ("", "smentryctl: /nonexistent/timeline cannot be read: No such file or directory\n")


@pytest.mark.parametrize(("library", "words"), [("shtab", ("completion", "bash")), ("docker", ("explain", "image"))])
def test_a_library_that_is_not_installed_is_one_line_with_the_command_that_installs_it(
    library: str, words: Sequence[str]
) -> None:
    ran = smentryctl(library, *words, before=("-c", BLOCKED))
    assert (ran.returncode, ran.stdout) == (2, "")
    expected = f"smentryctl: the Python package {library!r} is not installed; run: pip install 'smentry[ctl]'\n"
    assert ran.stderr == expected


def test_a_module_of_smentry_that_is_missing_is_no_matter_of_the_extra() -> None:
    ran = smentryctl(
        "smentry", "man", before=("-c", BLOCKED.replace("import sys\n", "import sys\nimport smentry.ctl.main\n", 1))
    )
    assert ran.returncode == 1
    assert "ModuleNotFoundError" in ran.stderr
    assert "pip install" not in ran.stderr


def test_the_extra_installs_what_is_taken_for_its_libraries() -> None:
    [listed] = re.findall(r"^ctl = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    names = {name.replace("-", "_") for name in re.findall(r'"([\w-]+)', listed)}
    assert names == set(main.LIBRARIES)


@pytest.mark.parametrize(("words", "codes"), [(("man",), (1,)), (("--help",), (0, 1))])  # argparse may not mind
def test_a_reader_that_has_gone_is_no_traceback(words: Sequence[str], codes: Sequence[int]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stdout:
        command = [sys.executable, "-m", "smentry.ctl", *words]
        ran = subprocess.run(
            command, cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=LIMIT, check=False
        )
    assert ran.stderr == ""
    assert ran.returncode in codes


def test_closed_descriptors_are_no_traceback(tmp_path: Path) -> None:
    record = {"t": 0.0, "event": "run", "version": 1, "time": 1717243200.0, "program": "train.py"}
    (tmp_path / "timeline").write_text(json.dumps(record) + "\n")
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        command = [sys.executable, "-m", "smentry.ctl", "timeline", str(tmp_path / "timeline")]
        ran = subprocess.run(
            ["sh", "-c", f'exec "$@" {closed}', "sh", *command],
            cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False,
        )  # fmt: skip
        assert (ran.returncode, ran.stderr) == (0, ""), closed


def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "wb") as stdout:
        command = [sys.executable, "-m", "smentry.ctl", "man"]
        ran = subprocess.run(
            command, cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=LIMIT, check=False
        )
    assert (ran.returncode, ran.stderr) == (1, "smentryctl: No space left on device\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupting_is_exit_code_130_and_says_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """While it waits for an engine that takes connections and never answers."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "engine"))
        listener.listen()
        listener.settimeout(LIMIT)
        process = subprocess.Popen(
            [sys.executable, "-m", "smentry.ctl", "explain", "image"],
            cwd=ROOT,
            env={**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/engine"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(1)
                process.send_signal(number)
                written = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
            process.communicate()
    assert (process.returncode, *written) == (130, "", "")


@pytest.mark.slow
def test_the_wheel_installs_the_command_which_without_the_extra_says_what_it_needs(tmp_path: Path) -> None:
    def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    venv.create(tmp_path / "venv", with_pip=True)
    installed = run(tmp_path / "venv/bin/python", "-m", "pip", "--disable-pip-version-check", "install", ROOT)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    command = tmp_path / "venv/bin/smentryctl"
    assert run(command, "--help").returncode == 0
    assert run(command, "man", "smentry").stdout.startswith(".TH SMENTRY 1")
    refused = run(command, "completion", "bash")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.endswith("run: pip install 'smentry[ctl]'\n")


def test_called_from_python_it_leaves_the_signals_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert main.main(["completion", "bash"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert "smentryctl" in capsys.readouterr().out
