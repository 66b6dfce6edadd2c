from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smentry.ctl.check import dockerfile
from smentry.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[str], list[str]]

PYTHON = "FROM python:3.12\n"
SMENTRY = 'ENTRYPOINT ["smentry"]\n'


@pytest.fixture
def found(tmp_path: Path) -> Check:
    """What is found in a Dockerfile of this text, in a directory with two programs: `line CODE`, or `FILE:line CODE`."""
    (tmp_path / "program").mkdir()
    for name, mode in (("train", 0o755), ("serve", 0o644)):
        (tmp_path / "program" / name).write_text('#!/usr/bin/env python3\nprint("running")\n', encoding="utf-8")
        (tmp_path / "program" / name).chmod(mode)

    def check(text: str) -> list[str]:
        path = tmp_path / "Dockerfile"
        path.write_text(text, encoding="utf-8")
        return [
            f"{Path(one.file).name}:{one.line} {one.code}".removeprefix("Dockerfile:")
            for one in dockerfile.findings(path)
        ]

    return check


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # the last one counts, and what resets another
        ('ENTRYPOINT python x.py\nENTRYPOINT ["smentry"]\n', []),
        ('ENTRYPOINT ["smentry"]\nENTRYPOINT python x.py\n', ["3 SM101"]),
        ("ENTRYPOINT exec python x.py\n", ["2 SM101"]),
        ('CMD ["python", "x.py"]\nENTRYPOINT ["smentry"]\n', ["2 SM105"]),
        ('CMD ["python", "x.py"]\nCMD ["train"]\nENTRYPOINT ["smentry"]\n', []),
        ("STOPSIGNAL SIGINT\nSTOPSIGNAL 15\n" + SMENTRY, []),
        # ENTRYPOINT
        ('ENTRYPOINT ["/usr/bin/env", "A=b", "smentry"]\n', []),
        ('ENTRYPOINT ["python", "-I", "-m", "smentry", "--train", "x"]\n', []),
        ('ENTRYPOINT ["sh", "-c", "exec python x.py"]\n', []),
        ('ENTRYPOINT ["sh", "-c", "trap \'kill -TERM 1\' TERM; python x.py & wait"]\n', []),
        ('ENTRYPOINT ["bash", "-o", "pipefail", "-c", "python x.py | tee log"]\n', ["2 SM102"]),
        ('ENTRYPOINT ["tini", "-p", "SIGKILL", "--", "smentry"]\n', []),
        ('ENTRYPOINT ["tini", "--", "/opt/program/train"]\n', []),
        ('ENTRYPOINT ["tini", "--", "/start.sh"]\n', ["2 SM103"]),
        ('ENTRYPOINT ["tini", "--", "sh", "-c", "exec python x.py"]\n', []),
        ('ENTRYPOINT ["catatonit", "-P", "--", "python", "x.py"]\n', ["2 SM103"]),
        # CMD
        ("CMD bash\n" + SMENTRY, []),
        ('CMD ["/bin/bash"]\n' + SMENTRY, []),
        ("CMD []\n" + SMENTRY, []),
        ('CMD ["train", "--epochs", "3"]\n' + SMENTRY, ["2 SM105"]),
        # train and serve
        ("COPY program /usr/local/bin\n", ["serve:1 SM409"]),
        ("COPY program/train /usr/local/bin/\n", []),
        ("COPY program/train /usr/local/bin\n", []),
        ("COPY program/tr* /usr/local/bin/\n", []),
        ("COPY program/train /usr/local/bin/trainer\n", ["1 SM104"]),
        ("COPY program/train /opt/program/\n", ["1 SM104"]),
        ("COPY program/train /opt/program/\nENV PATH=$PATH:/opt/program\n", []),
        ("WORKDIR /opt\nARG WHERE=program\nCOPY program/train $WHERE/\nENV PATH=/opt/$WHERE:${PATH}\n", []),
        ("COPY missing/ /usr/local/bin/\n", []),
        ("COPY --from=other /bin/train /usr/local/bin/train\n", []),
        ("RUN ln -s /app/train.py /usr/local/bin/train\n", []),
        ("RUN pip install sagemaker-training\n", []),
        ("RUN pip install git+https://example.com/package\n", []),
        ("RUN pip install -r requirements.txt\n", []),
        ("RUN pip install --upgrade pip 'torch>=2' numpy==1.26.4\n", ["1 SM104"]),
        ("RUN ./install.sh\n", []),
        ("RUN mkdir -p /data/train && pip install torch\n", ["1 SM104"]),
        ("RUN echo 'exec python x.py' > /usr/bin/serve && chmod +x /usr/bin/serve\n", []),
        # drivers
        ("RUN apt-get install -y cuda\n" + SMENTRY, ["2 SM108"]),
        ("RUN apt-get -qq update && apt-get -qq -y install libnvidia-compute-550:amd64\n" + SMENTRY, ["2 SM108"]),
        ("RUN apt-get install -y cuda-toolkit-12-4 cuda-nvcc-12-4 nvidia-cuda-toolkit\n" + SMENTRY, []),
        ("RUN apt-get install -y libnvidia-container-tools nvidia-container-toolkit\n" + SMENTRY, []),
        ("RUN apt-get remove -y nvidia-driver-550 libcuda1\n" + SMENTRY, []),
        ("RUN conda install -y cuda -c nvidia\n" + SMENTRY, []),
        ("RUN echo apt-get install nvidia-driver-550\n" + SMENTRY, []),
        ("RUN dpkg -i /tmp/libcuda1_550.54.14-0_amd64.deb\n" + SMENTRY, ["2 SM108"]),
        ("RUN ubuntu-drivers autoinstall\n" + SMENTRY, ["2 SM108"]),
        ("RUN sh cuda_12.4.0_550.54.14_linux.run --silent --toolkit\n" + SMENTRY, []),
        ("RUN sh cuda_12.4.0_550.54.14_linux.run --silent --driver --toolkit\n" + SMENTRY, ["2 SM108"]),
        (
            "RUN wget https://example.com/NVIDIA-Linux-x86_64-550.run && sh NVIDIA-Linux-x86_64-550.run\n" + SMENTRY,
            ["2 SM108"],
        ),
        ("RUN if true; then apt-get install -y nvidia-driver-550; fi\n" + SMENTRY, ["2 SM108"]),
        # /opt/ml
        ("RUN mkdir -p /opt/ml/model /opt/ml/input && chmod 777 /opt/ml/model\n" + SMENTRY, []),
        ("RUN cp -r /opt/ml/model /app && cat /opt/ml/x\n" + SMENTRY, []),
        ("RUN echo x > /opt/ml/input/config/a.json\n" + SMENTRY, ["2 SM106"]),
        ("RUN aws s3 cp s3://bucket/a /opt/ml/model/ && wget -qO/opt/ml/model/b x\n" + SMENTRY, ["2 SM106", "2 SM106"]),
        ("WORKDIR /opt/ml\n" + SMENTRY, []),
        ("ADD https://example.com/a.bin /opt/ml/model/\n" + SMENTRY, ["2 SM106"]),
        ("COPY program /opt/mlops/\n" + SMENTRY, []),
        ('COPY --chown=1:1 ["program", "/opt/ml/code/"]\n' + SMENTRY, ["2 SM106"]),
        ("ENV SAGEMAKER_SUBMIT_DIRECTORY=/opt/ml/code\nCOPY program /opt/ml/input/data/\n" + SMENTRY, ["3 SM106"]),
        ("VOLUME /data /opt/ml\n" + SMENTRY, ["2 SM107"]),
    ],
)
def test_an_image_of_one_stage(lines: str, expected: list[str], found: Check) -> None:
    assert found(PYTHON + lines) == expected


@pytest.mark.parametrize("base", ["company/base", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/base:1", "${BASE}"])
def test_what_an_unknown_base_has_is_not_guessed(base: str, found: Check) -> None:
    assert found(f"FROM {base}\nRUN pip install torch\n") == []


def test_a_heredoc_in_the_place_of_a_script_is_looked_at(found: Check) -> None:
    copied = 'COPY --chmod=755 <<END /start.sh\n#!/bin/sh\npython x.py\nEND\nENTRYPOINT ["/start.sh"]\n'
    assert found(PYTHON + copied) == ["4 SM110"]


def test_a_shell_that_is_replaced_is_not_said_to_be_pid_1(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(f"{PYTHON}ENTRYPOINT exec python x.py\n", encoding="utf-8")
    (only,) = dockerfile.findings(path)
    assert only.message == "/bin/sh -c is handed the platform's train or serve as $0, and drops it"


def test_a_script_that_starts_its_program_as_another_user_is_pid_1_too(found: Check) -> None:
    copied = 'COPY --chmod=755 <<END /start.sh\n#!/bin/sh\ngosu app python x.py\nEND\nENTRYPOINT ["/start.sh"]\n'
    assert found(PYTHON + copied) == ["4 SM110"]


def test_a_large_file_is_no_dockerfile(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(PYTHON + "#" * (1 << 20), encoding="utf-8")
    with pytest.raises(RefusedError, match="is larger than 1 MiB: expected a Dockerfile"):
        dockerfile.findings(path)


def test_the_build_context_may_be_above_the_dockerfile(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "start.sh").write_text("#!/bin/sh\npython x.py\n", encoding="utf-8")
    (tmp_path / "start.sh").chmod(0o755)
    path = tmp_path / "docker/Dockerfile"
    path.write_text(f'{PYTHON}COPY start.sh /\nENTRYPOINT ["/start.sh"]\n', encoding="utf-8")
    assert [(Path(one.file).name, one.line, one.code) for one in dockerfile.findings(path)] == [
        ("start.sh", 2, "SM110")
    ]


PIECES = st.sampled_from(
    (
        *(
            "FROM a AS b\n",
            "FROM b\n",
            "RUN ",
            "COPY ",
            "ADD ",
            "ENV ",
            "ARG ",
            "ENTRYPOINT ",
            "CMD ",
            "WORKDIR ",
            "VOLUME ",
        ),
        *(
            "ONBUILD ",
            "<<EOF ",
            "EOF\n",
            "\\\n",
            "\n",
            "# escape=`\n",
            "`\n",
            "[",
            '"a"',
            ",",
            "]",
            "--from=b ",
            "$A",
            "${A:-",
        ),
        *(
            "}",
            "A=b ",
            "'",
            '"',
            "/opt/ml/x ",
            "/ ",
            ". ",
            "*.py ",
            "pip install -r ",
            "apt-get install ",
            "tini ",
            "sh -c ",
        ),
        *("STOPSIGNAL ", "é\ufffd", "\0", " "),
    )
)


@settings(max_examples=100, deadline=None)
@given(st.lists(PIECES, max_size=40))
def test_whatever_is_written_is_looked_at_or_refused(pieces: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory, contextlib.suppress(RefusedError):
        path = Path(directory, "Dockerfile")
        path.write_text("FROM python\n" * (len(pieces) % 2) + "".join(pieces), encoding="utf-8")
        dockerfile.findings(path)
