from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smentry.ctl.run import artifacts
from smentry.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator


def stream(directory: Path, *, called: str | None = None, piece: int = 700) -> Iterator[bytes]:
    """A directory or file as an engine's archive gives it, in small pieces."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.add(directory, arcname=called or directory.name)
    content = made.getvalue()
    yield from (content[at : at + piece] for at in range(0, len(content), piece))


def tree(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def contents(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        found = {}
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                found[member.name] = content.read().decode()
        return found


def test_the_model_is_packed_without_the_directorys_own_name(tmp_path: Path) -> None:
    model = tree(tmp_path / "model", {"weights.bin": "w" * 5000, "code/inference.py": "pass"})
    packed = artifacts.pack([stream(model)], tmp_path / "out/model.tar.gz")
    assert packed is not None
    assert contents(packed.path) == {"weights.bin": "w" * 5000, "code/inference.py": "pass"}
    assert (packed.files, packed.size) == (2, packed.path.stat().st_size)


def test_modes_and_links_are_kept(tmp_path: Path) -> None:
    model = tree(tmp_path / "model", {"run.sh": "true", "step/9": "nine"})
    (model / "run.sh").chmod(0o750)
    (model / "newest").symlink_to("step/9")
    os.link(model / "run.sh", model / "same.sh")
    packed = artifacts.pack([stream(model)], tmp_path / "model.tar.gz")
    assert packed is not None
    with tarfile.open(packed.path) as archive:
        archive.extractall(tmp_path / "got", filter="fully_trusted")
    assert stat.S_IMODE((tmp_path / "got/run.sh").stat().st_mode) == 0o750
    assert (tmp_path / "got/newest").read_text() == "nine"
    assert (tmp_path / "got/same.sh").stat().st_ino == (tmp_path / "got/run.sh").stat().st_ino


NAMES = ["w\u00e4rme.json", "n" * 250, "d" * 120 + "/" + "f" * 120, "with\nline", os.fsdecode(b"\xff\xfe")]


def test_no_name_is_too_odd_for_an_artifact(tmp_path: Path) -> None:
    model = tree(tmp_path / "model", dict.fromkeys(NAMES, "w"))
    packed = artifacts.pack([stream(model)], tmp_path / "model.tar.gz")
    assert packed is not None
    assert contents(packed.path) == dict.fromkeys(NAMES, "w")
    unpacked = artifacts.unpack([stream(model)], tmp_path / "bucket")
    assert unpacked is not None
    assert unpacked.files == len(NAMES)
    assert all((tmp_path / "bucket" / name).read_text() == "w" for name in NAMES)


def test_a_second_name_of_what_is_not_kept_is_not_kept(tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:  # as the engine has it, and Python alone would not
        for name, kind, linked in (
            ("weights", tarfile.REGTYPE, ""),
            ("a-fifo", tarfile.FIFOTYPE, ""),
            ("other-fifo", tarfile.LNKTYPE, "model/a-fifo"),
            ("a-link", tarfile.SYMTYPE, "weights"),
            ("other-link", tarfile.LNKTYPE, "model/a-link"),
        ):
            member = tarfile.TarInfo(f"model/{name}")
            member.type, member.linkname = kind, linked
            archive.addfile(member)
    packed = artifacts.pack([[made.getvalue()]], tmp_path / "model.tar.gz")
    assert packed is not None
    with tarfile.open(packed.path) as archive:
        assert archive.getnames() == ["weights", "a-link", "other-link"]
    unpacked = artifacts.unpack([[made.getvalue()]], tmp_path / "bucket")
    assert unpacked is not None
    assert [path.name for path in (tmp_path / "bucket").iterdir()] == ["weights"]


def test_the_first_hosts_file_wins(tmp_path: Path) -> None:
    one = tree(tmp_path / "1/model", {"shared": "one", "of-1": "1"})
    two = tree(tmp_path / "2/model", {"shared": "two", "of-2": "2"})
    packed = artifacts.pack([stream(one), stream(two)], tmp_path / "model.tar.gz")
    assert packed is not None
    assert contents(packed.path) == {"shared": "one", "of-1": "1", "of-2": "2"}


@pytest.mark.parametrize("empty", ["no directory", "empty directory"])
def test_nothing_is_written_where_there_is_nothing(empty: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    streams = [iter(())] if empty == "no directory" else [stream(tmp_path / "model")]
    assert artifacts.pack(streams, tmp_path / "out/model.tar.gz") is None
    assert list((tmp_path / "out").iterdir()) == []


def test_a_stream_that_breaks_off_leaves_the_artifact_that_was_there(tmp_path: Path) -> None:
    model = tree(tmp_path / "model", {"weights.bin": "w" * 50_000})
    target = tmp_path / "out/model.tar.gz"
    target.parent.mkdir()
    target.write_text("before")
    half = b"".join(stream(model))[:20_000]
    with pytest.raises(RefusedError, match="cannot be read"):
        artifacts.pack([iter([half])], target)
    assert target.read_text() == "before"
    assert [path.name for path in target.parent.iterdir()] == ["model.tar.gz"]


def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    model = tree(tmp_path / "model", {"weights.bin": "w"})
    (tmp_path / "out").write_text("a file")
    with pytest.raises(RefusedError, match=r"out/model\.tar\.gz cannot be written"):
        artifacts.pack([stream(model)], tmp_path / "out/model.tar.gz")


def test_checkpoints_are_kept_as_files_without_their_modes(tmp_path: Path) -> None:
    kept = tree(tmp_path / "checkpoints", {"step-2/state": "two"})
    (kept / "step-2/state").chmod(0o777)
    (kept / "newest").symlink_to("step-2")
    os.mkfifo(kept / "pipe")
    os.link(kept / "step-2/state", kept / "z")
    target = tree(tmp_path / "bucket", {"step-1/state": "one", "step-2/state": "old"})
    found = artifacts.unpack([stream(kept)], target)
    assert found is not None
    there = {str(path.relative_to(target)): path.read_text() for path in target.rglob("*") if path.is_file()}
    assert there == {"step-1/state": "one", "step-2/state": "two", "z": "two"}
    assert not (target / "step-2/state").stat().st_mode & 0o111
    assert found.files == 2


def test_a_path_of_its_own_name_is_below_the_directory(tmp_path: Path) -> None:
    kept = tree(tmp_path / "data", {"a": "1"})
    found = artifacts.unpack([stream(kept, called="checkpoints")], tmp_path / "bucket")
    assert found is not None
    assert (tmp_path / "bucket/a").read_text() == "1"


@pytest.mark.parametrize("name", ["/etc/passwd", "model/../../escaped"])
def test_a_name_that_leaves_the_directory_is_refused(name: str, tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(RefusedError, match="expected a name below"):
        artifacts.unpack([iter([made.getvalue()])], tmp_path / "bucket")


@pytest.mark.parametrize(
    ("written", "expected"),
    [("why", "why"), ("ö" * 3000, "ö" * 1024), ("𝄞" * 1025, "𝄞" * 1024), ("", "")],
)
def test_the_first_1024_characters_of_the_failure_file_are_read(written: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "failure").write_text(written)
    assert artifacts.failure(stream(tmp_path / "failure")) == expected


def test_without_a_failure_file_there_is_no_text() -> None:
    assert artifacts.failure(iter(())) == ""


def test_a_failure_file_of_bytes_that_are_no_text_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "failure").write_bytes(b"\xff\xfeok")
    assert artifacts.failure(stream(tmp_path / "failure")) == "\ufffd\ufffdok"


def test_a_directory_in_the_place_of_the_failure_file_has_no_text(tmp_path: Path) -> None:
    (tmp_path / "failure").mkdir()
    assert artifacts.failure(stream(tmp_path / "failure")) == ""


@pytest.mark.parametrize(
    ("text", "code", "out_of_memory", "expected"),
    [
        ("", 1, False, "AlgorithmError: , exit code: 1"),
        ("no data", 3, False, "AlgorithmError: no data, exit code: 3"),
        ("no data", 137, True, "AlgorithmError: no data, exit code: 137"),
    ],
)
def test_the_reason_has_the_platforms_form(text: str, code: int, out_of_memory: bool, expected: str) -> None:
    assert artifacts.reason(text, code, out_of_memory) == expected


def test_a_host_that_was_killed_for_its_memory_is_told_so() -> None:
    assert artifacts.reason("", 137, True).startswith("ClientError: Please use an instance type with more memory")
