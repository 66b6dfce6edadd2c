"""`smentryctl request`, as it is run: what it writes where, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from smentry.ctl.main import main
from smentry.ctl.request import document, model


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "smentry.ctl", "request", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_request_is_on_stdout_and_its_placeholders_on_stderr() -> None:
    ran = run("--image", "digits:1", "--script", "code/custom_entrypoint.sh", "--channel", "code=s3://bucket/code")
    assert ran.returncode == 0
    assert model.problems(json.loads(ran.stdout)) == []
    assert ran.stderr.splitlines() == [
        "smentryctl: no --role: arn:aws:iam::111122223333:role/your-role is a placeholder, put yours there",
        "smentryctl: no --output: s3://your-bucket/output is a placeholder, put yours there",
    ]


def test_the_command_line_says_the_same_as_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "request", "--image", "digits:1", "--name", "digits-1", "--script", "/mydir/custom_entrypoint.sh", "--argument=--lr",
        "--hyperparameter", "text=it's", "--env", "A=b c", "--spot", "--max-runtime", "1h", "--max-wait", "2h",
    ]  # fmt: skip
    assert main([*words, "--format", "command"]) == 0
    written = capsys.readouterr().out
    assert main(words) == 0
    assert document.parse("job.sh", written).value == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--name", "a_b"],
            "smentryctl: CreateTrainingJob would refuse this request: TrainingJobName: expected text such as",
        ),
        (["--instance-type", "ml.m5.xlage"], 'InstanceType: got "ml.m5.xlage": the nearest are ml.m5.xlarge'),
        (["--channel", "a=."], "smentryctl: --channel a: expected an s3:// URI, got '.'"),
        (["--output", "out"], 'S3OutputPath: expected text such as s3://BUCKET/PREFIX, got "out"'),
        (["--hyperparameter", "a=\udcff"], "HyperParameters.a: expected Unicode text, got bytes that are no UTF-8"),
    ],
)
def test_what_cannot_be_written_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["request", "--image", "digits", *words]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert said in written.err


def test_a_request_without_an_image_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["request", "--script", "a/b"])
    assert ended.value.code == 2
    assert "the following arguments are required: --image" in capsys.readouterr().err
