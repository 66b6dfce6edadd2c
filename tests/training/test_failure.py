"""report_failure: where it writes, once, and that it never stands in the way."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from running import surroundings

from smentry.sagemaker import failure as container
from smentry.sagemaker.layout import Layout
from smentry.training import failure, report_failure

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The base directory of a job."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    (tmp_path / "input/config").mkdir(parents=True)
    return tmp_path


def test_it_is_where_the_container_looks_for_it(base: Path) -> None:
    assert report_failure("the loss is no number")
    assert (base / "output/failure").read_text() == "the loss is no number"
    assert Layout(str(base)).failure == str(base / "output/failure")
    assert container.LIMIT == failure.LIMIT
    assert os.listdir(base / "output") == ["failure"]


def test_the_containers_own_report_does_not_replace_it(base: Path) -> None:
    report_failure("the loss is no number")
    assert container.write(Layout(str(base)), "exit code 1", training=True) == ""
    assert (base / "output/failure").read_text() == "the loss is no number"


def test_the_first_report_counts(base: Path) -> None:
    assert report_failure("the first cause")
    assert not report_failure("a consequence")
    assert (base / "output/failure").read_text() == "the first cause"


def test_one_of_several_at_once_counts(base: Path) -> None:
    reported: list[str] = []
    barrier = threading.Barrier(8)

    def act(text: str) -> None:
        barrier.wait(20)
        if report_failure(text):
            reported.append(text)

    threads = [threading.Thread(target=act, args=(f"rank {rank}",)) for rank in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [(base / "output/failure").read_text()] == reported
    assert os.listdir(base / "output") == ["failure"]


def test_one_that_was_opened_and_says_nothing_is_filled(base: Path) -> None:
    (base / "output").mkdir()
    (base / "output/failure").touch()
    assert report_failure("said")
    assert (base / "output/failure").read_text() == "said"


def test_of_an_exception_type_and_message(base: Path) -> None:
    assert report_failure(ValueError("expected 3 channels, got 4"))
    assert (base / "output/failure").read_text() == "ValueError: expected 3 channels, got 4"


def test_of_an_exception_without_a_message_its_type(base: Path) -> None:
    assert report_failure(KeyboardInterrupt())
    assert (base / "output/failure").read_text() == "KeyboardInterrupt"


def test_what_is_too_long_is_cut(base: Path) -> None:
    assert report_failure("ä" * 5000)
    assert (base / "output/failure").read_text(encoding="utf-8") == "ä" * 1024


def test_what_has_no_encoding_is_written_nevertheless(base: Path) -> None:
    assert report_failure("file \udcff is missing")
    assert (base / "output/failure").read_text() == "file ? is missing"


@pytest.mark.parametrize("text", ["", "  \n"])
def test_nothing_to_say_is_not_a_report(text: str, base: Path) -> None:
    assert not report_failure(text)
    assert not (base / "output").exists()


def test_an_exception_that_cannot_be_shown_is_not_another_one(base: Path) -> None:
    class BadError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("in the error")

    assert not report_failure(BadError())


def test_a_processing_job_has_a_message(base: Path) -> None:
    (base / "input/config").rmdir()
    (base / "config").mkdir()
    (base / "config/processingjobconfig.json").write_text("{}")
    assert report_failure("no input")
    assert (base / "output/message").read_text() == "no input"
    assert Layout(str(base)).message == str(base / "output/message")


def test_without_a_base_directory_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "none"))
    assert not report_failure("it failed")
    assert not list(tmp_path.iterdir())


def test_a_link_is_not_followed(base: Path) -> None:
    (base / "output").mkdir()
    (base / "elsewhere").touch()
    (base / "output/failure").symlink_to(base / "elsewhere")
    assert not report_failure("it failed")
    assert (base / "elsewhere").read_text() == ""
    assert os.listdir(base / "output") == ["failure"]


def test_where_it_cannot_be_written_it_says_so_only(base: Path) -> None:
    (base / "output").write_text("a file")
    assert not report_failure("it failed")


def test_a_full_disk_leaves_no_torn_report(base: Path) -> None:
    program = (
        "import resource, signal; from smentry.training import report_failure\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "print(report_failure('x' * 100))"
    )
    ran = subprocess.run(
        [sys.executable, "-B", "-c", program],
        env={**surroundings(), "SAGEMAKER_BASE_DIR": str(base)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout == "False\n", ran.stderr
    assert os.listdir(base / "output") == []
