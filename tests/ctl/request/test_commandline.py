"""The `aws` command line of a request: what is written can be read again, by a shell and by the program itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smentry.ctl.request import commandline, document, reading
from smentry.errors import RefusedError

from .requests import large, small


def read(text: str) -> dict[str, object]:
    return document.parse("job.sh", text).value


def refusal(rest: str) -> str:
    with pytest.raises(RefusedError) as refused:
        read(f"aws sagemaker create-training-job {rest}")
    return refused.value.message


def test_it_is_one_line_for_each_member_in_the_requests_order() -> None:
    assert commandline.write({**small(), "EnableManagedSpotTraining": True, "EnableNetworkIsolation": False}) == (
        "aws sagemaker create-training-job \\\n"
        "    --training-job-name digits-1 \\\n"
        "    --algorithm-specification '{\n"
        '      "TrainingImage": "111122223333.dkr.ecr.eu-central-1.amazonaws.com/digits:1",\n'
        '      "TrainingInputMode": "File"\n'
        "    }' \\\n"
        "    --role-arn arn:aws:iam::111122223333:role/trainer \\\n"
        '    --output-data-config \'{"S3OutputPath": "s3://bucket/output"}\' \\\n'
        '    --resource-config \'{"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}\' \\\n'
        "    --stopping-condition '{\"MaxRuntimeInSeconds\": 3600}' \\\n"
        "    --enable-managed-spot-training \\\n"
        "    --no-enable-network-isolation\n"
    )


@pytest.mark.parametrize("request_", [small(), large()], ids=["small", "large"])
def test_what_is_written_is_read_again(request_: dict[str, Any]) -> None:
    assert read(commandline.write(request_)) == request_


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(), st.text()))
def test_any_text_survives_the_quoting(values: dict[str, str]) -> None:
    request = {**small(), "HyperParameters": values}
    assert read(commandline.write(request)) == request


def test_a_shell_hands_on_the_same_words() -> None:
    request = {**large(), "HyperParameters": {"a": 'it\'s $HOME `x` \\ "q" *', "b": "ü #x"}}
    function = "aws() { for word; do printf '%s\\0' \"$word\"; done; }\n"
    ran = subprocess.run(
        ["sh", "-c", function + commandline.write(request)], capture_output=True, text=True, check=True
    )
    words = ran.stdout.split("\0")
    assert json.loads(words[words.index("--hyper-parameters") + 1]) == request["HyperParameters"]
    assert words.count("--enable-managed-spot-training") == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("aws") is None, reason="there is no aws command")
def test_aws_itself_sends_the_request(tmp_path: Path) -> None:
    received: list[Any] = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"TrainingJobArn": "arn:aws:sagemaker:eu-central-1:111122223333:training-job/digits-1"}')

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_CONFIG_FILE": "/dev/null",
        }
        environment.update(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_DEFAULT_REGION="eu-central-1")
        ran = subprocess.run(
            ["sh", "-c", commandline.write(large())],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        server.shutdown()
    assert ran.returncode == 0, ran.stderr
    assert received == [large()]


def test_a_command_line_as_people_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("role").write_text(small()["RoleArn"], encoding="utf-8")
    Path("job.sh").write_text(
        "#!/bin/sh\n# our nightly job\n\n"
        "aws   sagemaker create-training-job --region eu-central-1 --no-cli-pager \\\n"
        "--training-job-name=digits-1 \\\n"
        '  --algorithm-specification TrainingImage=digits:1,TrainingInputMode=File --role-arn file://role \\\n'
        '  --hyper-parameters lr=0.1,epochs=3 --environment \'{"A": "1"}\' \\\n'
        "  --resource-config InstanceType=ml.m5.xlarge,InstanceCount=2,VolumeSizeInGB=30 \\\n"
        "  --stopping-condition MaxRuntimeInSeconds=60 --output-data-config S3OutputPath=s3://bucket/output \\\n"
        "  --tags Key=a,Value=1 Key=b,Value=2 --no-enable-network-isolation --output json\n",
        encoding="utf-8",
    )  # fmt: skip
    request = reading.read("job.sh")
    assert request == {
        "TrainingJobName": "digits-1",
        "AlgorithmSpecification": {"TrainingImage": "digits:1", "TrainingInputMode": "File"},
        "RoleArn": small()["RoleArn"],
        "HyperParameters": {"lr": "0.1", "epochs": "3"},
        "Environment": {"A": "1"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
        "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}],
        "EnableNetworkIsolation": False,
    }
    reading.refuse_problems(request)


def test_options_win_over_the_json_input(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps(small()), encoding="utf-8")
    given = read(f"aws sagemaker create-training-job --training-job-name other --cli-input-json file://{file}")
    assert given == {**small(), "TrainingJobName": "other"}


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("--training-job-nam x", "job.sh: --training-job-nam is not known: the nearest is --training-job-name"),
        ("--training-job-name", "job.sh: --training-job-name: expected a value, got nothing"),
        ("--training-job-name a b", "job.sh: --training-job-name: expected one word, got 2; quote it"),
        ("--training-job-name 'a", "job.sh: not a command line: no closing quotation"),
        ("digits-1", "job.sh: expected an option after aws sagemaker create-training-job, got 'digits-1'"),
        ("--environment '{\"A\": 1,}'", "job.sh: --environment: not JSON: "),
        (
            "--environment A={B=1}",
            "job.sh: --environment: expected JSON, or A=1,B=2 without braces and quotes, got 'A={B=1}'",
        ),
        ("--environment A", "job.sh: --environment: expected JSON, or A=1,B=2 without braces and quotes, got 'A'"),
        ("--role-arn file:///nix", "/nix cannot be read: no such file or directory"),
    ],
)
def test_what_cannot_be_read_is_refused(rest: str, said: str) -> None:
    assert refusal(rest).startswith(said)


def test_another_command_of_aws_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"^job.sh: expected aws sagemaker create-training-job …, got aws s3 cp$"):
        read("aws s3 cp a b")
