from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import smentry
from smentry.ctl.main import main

SHELL_FORM = "FROM python:3.12\nENTRYPOINT python x.py\n"
CLEAN = 'FROM python:3.12\nENTRYPOINT ["smentry"]\n'
REQUEST = {"TrainingJobName": "a", "AlgorithmSpecification": {}}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def codes(out: str) -> list[str]:
    return [finding["code"] for finding in json.loads(out)]


def test_the_exit_code_says_whether_something_was_found(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "Dockerfile").write_text(CLEAN)
    assert main(["check", "Dockerfile"]) == 0
    assert capsys.readouterr() == ("", "")
    (place / "Dockerfile").write_text(SHELL_FORM)
    assert main(["check", "Dockerfile"]) == 1
    assert capsys.readouterr().out.startswith("Dockerfile:2:1: SM101 ")


def test_without_a_target_it_is_this_directory(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "Dockerfile").write_text(SHELL_FORM)
    assert main(["check"]) == 1
    assert capsys.readouterr().out.startswith("Dockerfile:2:1: SM101 ")


def test_what_cannot_be_read_is_said_and_the_rest_is_checked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "Dockerfile").write_text(SHELL_FORM)
    (place / "notes.txt").write_text("nothing\n")
    assert main(["check", "./missing", "notes.txt", "Dockerfile"]) == 2
    written = capsys.readouterr()
    first, second = written.err.splitlines()
    assert first == "smentryctl: ./missing: no such file or directory, and no name of an image"
    assert second.startswith("smentryctl: notes.txt: is nothing that can be checked: expected ")
    assert "SM101" in written.out


def test_a_dockerfile_without_from_is_none(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "Dockerfile").write_text("RUN true\n")
    assert main(["check", "."]) == 2
    assert capsys.readouterr().err == "smentryctl: Dockerfile: has no FROM: expected a Dockerfile\n"


def test_a_file_that_cannot_be_read_is_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "Dockerfile").symlink_to("/proc/self/mem")  # which nobody may read from its beginning, root neither
    assert main(["check", "."]) == 2
    assert capsys.readouterr().err == "smentryctl: Dockerfile: cannot be read: input/output error\n"


def test_a_fifo_that_is_named_is_not_waited_for(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train", "request.json", "Dockerfile"):
        os.mkfifo(place / name)
        assert main(["check", name]) == 2
        assert capsys.readouterr().err.startswith(f"smentryctl: {name}: is nothing that can be checked: expected ")


def test_a_link_that_leads_nowhere_is_no_image(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "train.sh").symlink_to("gone")
    (place / "loop.sh").symlink_to("loop.sh")
    assert main(["check", "train.sh", "loop.sh", ""]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "smentryctl: train.sh: cannot be read: the link leads to gone, which is not there",
        "smentryctl: loop.sh: cannot be read: too many levels of symbolic links",
        "smentryctl: '': no such file or directory, and no name of an image",
    ]


def test_a_directory_that_cannot_be_listed_is_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "Dockerfile").write_text(CLEAN)
    place.chmod(0o755)
    (place / "closed").mkdir(mode=0)
    user = os.geteuid()
    if user == 0:  # who may list everything
        assert main(["check"]) == 0
        os.seteuid(65534)
    try:
        assert main(["check"]) == 2
    finally:
        os.seteuid(user)
    assert capsys.readouterr().err == "smentryctl: closed: cannot be read: permission denied\n"


def test_a_part_of_a_dockerfile_is_passed_over_unless_it_is_named(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "Dockerfile.common").write_text("RUN true\n")
    (place / "dockerfile.vim").write_text('" Vim syntax file\n')
    assert main(["check"]) == 0
    assert main(["check", "Dockerfile.common"]) == 2
    assert capsys.readouterr().err == "smentryctl: Dockerfile.common: has no FROM: expected a Dockerfile\n"


@pytest.mark.parametrize("output", ["text", "json", "github", "sarif"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_are_no_utf_8_are_printed_wherever(output: str, encoding: str, place: Path) -> None:
    os.mkdir(b"caf\xe9")
    (place / os.fsdecode(b"caf\xe9") / "Dockerfile").write_text(SHELL_FORM)
    words = [sys.executable, "-m", "smentry.ctl", "check", "--format", output, "."]
    root = str(Path(smentry.__file__).parents[1])
    environment = {**os.environ, "PYTHONIOENCODING": f"{encoding}:strict", "PYTHONPATH": root}
    done = subprocess.run(words, capture_output=True, check=False, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"%E9" in done.stdout if output == "sarif" else b"udce9" in done.stdout
    if output in ("json", "sarif"):
        json.loads(done.stdout)


def test_a_terminal_is_told_nothing_by_what_is_in_a_script(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "run.sh").write_text("#!/bin/sh\npython3 train.py | tee 'a\n\x1b]0;title\x07b\x9b2J'\n")
    assert main(["check", "."]) == 1
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("run.sh:2:1: SM405 the pipe's exit code is that of `tee ab2J`: ")
    assert len(rest) == 2


def test_rules_are_selected_and_ignored(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "Dockerfile").write_text(f"{SHELL_FORM}STOPSIGNAL SIGINT\n")
    assert main(["check", ".", "--format", "json"]) == 1
    assert codes(capsys.readouterr().out) == ["SM101", "SM109"]
    assert main(["check", ".", "--format", "json", "--ignore", "sm101"]) == 1
    assert codes(capsys.readouterr().out) == ["SM109"]
    assert main(["check", ".", "--format", "json", "--select", "SM101"]) == 1
    assert codes(capsys.readouterr().out) == ["SM101"]
    assert main(["check", ".", "--format", "json", "--ignore", "SM101,SM109"]) == 0
    assert codes(capsys.readouterr().out) == []


@pytest.mark.parametrize("option", ["--ignore", "--select", "--explain"])
def test_a_code_that_is_none_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", ".", option, "SM999"]) == 2
    assert capsys.readouterr().err == "smentryctl: no rule 'SM999': smentryctl check --rules lists them\n"


@pytest.mark.parametrize(
    "text",
    [
        "FROM python:3.12\n# smentry: ignore=SM101\nENTRYPOINT python x.py\n",
        "FROM python:3.12\n#smentry:ignore=sm109, SM101\nENTRYPOINT python x.py\n",
        "FROM python:3.12\n# smentry: ignore=SM101\n# It is a demonstration.\nENTRYPOINT python x.py\n",
        "FROM python:3.12\n# smentry: ignore=SM101\nENTRYPOINT \\\n  python x.py\n",
    ],
)
def test_a_comment_above_ignores_a_rule(text: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "Dockerfile").write_text(text)
    assert main(["check", "."]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "text",
    [
        "# smentry: ignore=SM101\nFROM python:3.12\nENTRYPOINT python x.py\n",
        "FROM python:3.12\n# smentry: ignore=SM102\nENTRYPOINT python x.py\n",
        "FROM python:3.12\n# smentry: ignore=SM101\n\nENTRYPOINT python x.py\n",
        "FROM python:3.12\nENTRYPOINT python x.py\n# smentry: ignore=SM101\n",
    ],
)
def test_a_comment_elsewhere_or_for_another_rule_ignores_nothing(
    text: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "Dockerfile").write_text(text)
    assert main(["check", "."]) == 1


def test_a_comment_inside_of_an_instruction_is_for_its_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = "RUN apt-get install -y \\\n  libcuda1 \\\n  # smentry: ignore=SM108\n  nvidia-driver-550\n"
    (place / "Dockerfile").write_text(f'FROM ubuntu\n{run}ENTRYPOINT ["smentry"]\n')
    assert main(["check", ".", "--format", "github"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("::error file=Dockerfile,line=3,col=3,")


def test_files_are_known_by_their_names_or_by_what_is_in_them(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("Dockerfile", "Dockerfile.gpu", "gpu.dockerfile", "Containerfile", "deep/er/Dockerfile"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(SHELL_FORM)
    for name in (
        "Dockerfile.dockerignore",
        "dockerfile.py",
        "Dockerfile.md",
        "node_modules/x/Dockerfile",
        ".git/Dockerfile",
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(SHELL_FORM)
    (place / "env").mkdir()
    (place / "env/pyvenv.cfg").write_text("home = /usr/bin\n")
    (place / "env/Dockerfile").write_text(SHELL_FORM)
    (place / "data.json").write_text('{"TrainingJobs": [{"TrainingJobName": "a"}]}')
    (place / "described.json").write_text(
        json.dumps({**REQUEST, "TrainingJobArn": "arn", "TrainingJobStatus": "Completed"})
    )
    (place / "values.yaml").write_text("train: yes\n")
    (place / "gone.sh").symlink_to("nowhere")
    os.mkfifo(place / "pipe.sh")
    assert main(["check", ".", "--format", "json"]) == 1
    assert [finding["file"] for finding in json.loads(capsys.readouterr().out)] == [
        "Containerfile",
        "Dockerfile",
        "Dockerfile.gpu",
        "deep/er/Dockerfile",
        "gpu.dockerfile",
    ]


@pytest.mark.parametrize("name", ["request.json", "request.yaml"])
def test_a_request_is_known_by_its_keys(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / name).write_text(
        json.dumps(REQUEST) if name.endswith("json") else "TrainingJobName: a\nAlgorithmSpecification: {}\n"
    )
    assert main(["check", "."]) == 1
    assert f"{name}:" in capsys.readouterr().out


def test_everything_that_is_missing_at_one_place_is_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "request.json").write_text('{"TrainingJobName": "a"}')
    assert main(["check", "request.json", "--format", "json"]) == 1
    listed = [finding["message"].partition(" ")[0] for finding in json.loads(capsys.readouterr().out)]
    assert {"OutputDataConfig:", "RoleArn:"} <= set(listed)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.json", b'{"TrainingJobName":' * 20_000, "a.json:1:1: SM301 not JSON: nested too deeply"),
        (
            "a.json",
            '{"TrainingJobName": "a"}'.encode("utf-16"),
            "a.json:1:1: SM301 expected UTF-8 text, got the byte 0x",
        ),
        ("a.yaml", "TrainingJobName: a".encode("utf-16"), "a.yaml:1:1: SM301 expected UTF-8 text, got the byte 0x"),
    ],
)
def test_a_request_that_cannot_be_read_is_a_finding(
    name: str, data: bytes, said: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / name).write_bytes(data)
    assert main(["check", name]) == 1
    assert capsys.readouterr().out.startswith(said)


def test_a_finding_in_a_script_is_said_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "a").mkdir()
    (place / "a/Dockerfile").write_text('FROM python\nCOPY --chmod=755 start.sh /\nENTRYPOINT ["/start.sh"]\n')
    (place / "a/start.sh").write_bytes(b"#!/bin/sh\r\nexec python x.py\r\n")
    assert main(["check", "a", "--format", "json"]) == 1
    assert [(one["file"], one["code"]) for one in json.loads(capsys.readouterr().out)] == [("a/start.sh", "SM401")]
