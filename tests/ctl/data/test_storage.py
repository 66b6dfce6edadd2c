"""Objects in directories that stand for parts of S3."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smentry.ctl.data import storage
from smentry.ctl.data.storage import Storage
from smentry.errors import RefusedError


def tree(directory: Path, *paths: str) -> Path:
    """Files that hold their own path."""
    for path in paths:
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)
    return directory


def keys(stored: Storage, uri: str) -> list[str]:
    return [each.key for each in stored.objects(uri)]


def test_a_prefix_is_no_directory(tmp_path: Path) -> None:
    stored = Storage([("s3://b", tree(tmp_path, "train/x", "training/y", "test/z"))])
    assert keys(stored, "s3://b/train") == ["train/x", "training/y"]
    assert keys(stored, "s3://b/train/") == ["train/x"]
    assert keys(stored, "s3://b/t") == ["test/z", "train/x", "training/y"]
    assert keys(stored, "s3://b") == keys(stored, "s3://b/") == ["test/z", "train/x", "training/y"]


def test_the_longest_prefix_wins_and_hides_what_is_under_it(tmp_path: Path) -> None:
    outer = tree(tmp_path / "outer", "a/1", "b/2", "b/sub/3", "bc/4")
    inner = tree(tmp_path / "inner", "9")
    stored = Storage([("s3://k/d/b/", inner), ("s3://k/d", outer)])
    assert keys(stored, "s3://k/d/") == ["d/a/1", "d/b/9", "d/bc/4"]
    assert keys(stored, "s3://k/d/b") == ["d/b/9", "d/bc/4"]
    assert stored.object("s3://k/d/b/9").path == inner / "9"
    with pytest.raises(RefusedError, match="s3://k/d/b/2: expected an object, found none"):
        stored.object("s3://k/d/b/2")


def test_a_file_may_stand_for_an_object(tmp_path: Path) -> None:
    file = tree(tmp_path, "list.json") / "list.json"
    stored = Storage([("s3://k/m.manifest", file)])
    assert stored.object("s3://k/m.manifest").path == file
    assert keys(stored, "s3://k/m.man") == ["m.manifest"]


def test_an_object_is_read_and_fetched(tmp_path: Path) -> None:
    stored = Storage([("s3://k", tree(tmp_path / "d", "a/b"))])
    found = stored.object("s3://k/a/b")
    assert (found.size, found.uri) == (3, "s3://k/a/b")
    with stored.open(found) as file:
        assert file.read() == b"a/b"
    stored.fetch(found, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "a/b"


def test_a_fetch_from_another_file_system_is_whole(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as source:
        source.write(data)
        source.flush()
        stored = Storage()
        stored.fetch(stored.object(source.name), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data


def test_directories_of_this_machine_need_no_mapping(tmp_path: Path) -> None:
    tree(tmp_path, "b/2", "a")
    for uri in (str(tmp_path), f"file://{tmp_path}"):
        assert keys(Storage(), uri) == [str(tmp_path / "a"), str(tmp_path / "b/2")]
    assert keys(Storage(), str(tmp_path / "a")) == [str(tmp_path / "a")]


def test_links_are_followed_and_what_no_upload_takes_is_left_out(tmp_path: Path) -> None:
    tree(tmp_path / "other", "file")
    here = tree(tmp_path / "d", "a")
    (here / "link").symlink_to(tmp_path / "other")
    (here / "gone").symlink_to("nowhere")
    (here / "again").symlink_to(here)
    (here / "itself").symlink_to("itself")
    os.mkfifo(here / "fifo")
    stored = Storage()
    assert keys(stored, str(here)) == [str(here / "a"), str(here / "link/file")]
    assert sorted(stored.left_out) == [
        f"{here}/again: a link to a directory that it is in",
        f"{here}/fifo: neither a file nor a directory",
        f"{here}/gone: a link to nothing",
        f"{here}/itself: a link to nothing",
    ]


def test_the_same_directory_may_be_linked_twice(tmp_path: Path) -> None:
    tree(tmp_path / "other", "file")
    here = tree(tmp_path / "d", "a")
    for name in ("x", "y"):
        (here / name).symlink_to(tmp_path / "other")
    assert keys(Storage(), str(here)) == [f"{here}/{name}" for name in ("a", "x/file", "y/file")]


def test_nothing_under_a_prefix_is_refused(tmp_path: Path) -> None:
    stored = Storage([("s3://b/data", tmp_path)])
    with pytest.raises(RefusedError, match="s3://b/data/train: expected objects under it, found none"):
        stored.objects("s3://b/data/train")
    with pytest.raises(RefusedError, match="nowhere: expected a directory or a file, nothing is there"):
        stored.objects(str(tmp_path / "nowhere"))
    with pytest.raises(RefusedError, match="expected a file, found none"):
        stored.object(str(tmp_path))


def test_a_key_cannot_leave_its_directory(tmp_path: Path) -> None:
    tree(tmp_path, "secret", "d/a")
    with pytest.raises(RefusedError, match="expected an object, found none"):
        Storage([("s3://b", tmp_path / "d")]).object("s3://b/../secret")


@pytest.mark.parametrize("key", ["/a", "d//a", "d/./a", "x/../a", "d/a/", "a" * 5000, "\0", "\ud800"])
def test_a_key_is_no_path(key: str, tmp_path: Path) -> None:
    tree(tmp_path, "a", "d/a")
    for stored, uri in (
        (Storage([("s3://b", tmp_path)]), f"s3://b/{key}"),
        (Storage([("s3://b/p/", tmp_path)]), f"s3://b/p/{key}"),
    ):
        with pytest.raises(RefusedError, match="expected an object, found none"):
            stored.object(uri)


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "https://b/k", "s3:b"])
def test_what_is_no_uri_is_refused(uri: str) -> None:
    with pytest.raises(RefusedError, match="expected a URI such as s3://bucket/prefix"):
        storage.split(uri)


def test_a_mapping_is_read(tmp_path: Path) -> None:
    assert storage.mapping(f"s3://b/p={tmp_path}") == ("s3://b/p", tmp_path)
    assert storage.mapping(f"s3://b/year=2024/p={tmp_path}") == ("s3://b/year=2024/p", tmp_path)
    odd = tmp_path / "a=b"
    odd.mkdir()
    assert storage.mapping(f"s3://b/p={odd}") == ("s3://b/p", odd)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s3://b/p", "--s3: expected s3://bucket/prefix=DIR, got 's3://b/p'"),
        ("s3://b/p=", "--s3: expected s3://bucket/prefix=DIR"),
        ("/d=/", "expected a URI such as s3://bucket/prefix, got '/d'"),
        ("s3://b/p=/nowhere/at/all", "--s3: /nowhere/at/all: expected a directory or a file"),
    ],
)
def test_what_is_no_mapping_is_refused(text: str, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        storage.mapping(text)


NAMES = st.lists(st.sampled_from(["a", "b", "ab", "a.b"]), min_size=1, max_size=3).map("/".join)


@given(st.sets(NAMES, min_size=1, max_size=8), st.sampled_from(["", "p", "p/q"]), st.text("ab/pq.", max_size=6))
def test_the_objects_of_a_mapping_are_those_whose_key_begins_with_the_prefix(
    names: set[str], mapped: str, prefix: str
) -> None:
    files = {each for each in names if not any(other.startswith(f"{each}/") for other in names)}
    all_keys = sorted(f"{mapped}/{each}".lstrip("/") for each in files)
    with tempfile.TemporaryDirectory() as directory:
        stored = Storage([(f"s3://k/{mapped}", tree(Path(directory), *files))])
        expected = [key for key in all_keys if key.startswith(prefix)]
        if expected:
            assert keys(stored, f"s3://k/{prefix}") == expected
        elif stored._mapped("k", prefix):
            with pytest.raises(RefusedError, match="found none"):
                stored.objects(f"s3://k/{prefix}")
