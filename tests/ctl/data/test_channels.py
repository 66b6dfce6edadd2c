"""What a channel holds, and the directories that come of it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from smentry.ctl.data import channels
from smentry.ctl.data.channels import Entry
from smentry.ctl.data.storage import Object, Storage
from smentry.ctl.request.job import AUGMENTED, MANIFEST, PIPE, Channel
from smentry.errors import RefusedError
from tests.ctl.data.test_storage import tree

if TYPE_CHECKING:
    from pathlib import Path


def names(channel: Channel, stored: Storage) -> list[str]:
    return [each.name for each in channels.entries(channel, stored)]


@pytest.mark.parametrize(
    ("uri", "key", "name"),
    [
        ("s3://b/data/train/", "data/train/x/y", "x/y"),
        ("s3://b/data/train", "data/train/x/y", "x/y"),
        ("s3://b/data/train", "data/train-1.csv", "train-1.csv"),
        ("s3://b/data/train", "data/training/y", "training/y"),
        ("s3://b/data/train-1.csv", "data/train-1.csv", "train-1.csv"),
        ("s3://b/data/train-1.csv", "data/train-1.csv.gz", "train-1.csv.gz"),
        ("s3://b", "data/x", "data/x"),
        ("s3://b/", "data/x", "data/x"),
        ("/d/", "/d/x/y", "x/y"),
        ("file:///d", "/d/x", "x"),
        ("/d/x", "/d/x", "x"),
    ],
)
def test_files_are_named_relative_to_the_prefix(uri: str, key: str, name: str) -> None:
    assert channels.name(uri, Object(uri, key, 0)) == name


def test_a_manifest_names_the_objects_and_their_order(tmp_path: Path) -> None:
    tree(tmp_path, "data/sub/a", "data/b", "data/c")
    (tmp_path / "m.json").write_text(json.dumps([{"prefix": "s3://k/data/"}, "sub/a", "b"]))
    stored = Storage([("s3://k", tmp_path)])
    assert names(Channel("c", "s3://k/m.json", kind=MANIFEST), stored) == ["sub/a", "b"]


def test_a_manifest_may_be_a_file_of_this_machine(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b")
    (tmp_path / "m.json").write_text(json.dumps([{"prefix": f"{tmp_path}/"}, "b", "a"]))
    assert names(Channel("c", f"{tmp_path}/m.json", kind=MANIFEST), Storage()) == ["b", "a"]


def test_an_object_that_a_manifest_names_and_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps([{"prefix": "s3://k/data/"}, "gone"]))
    stored = Storage([("s3://k", tmp_path)])
    with pytest.raises(RefusedError, match=r"^channel c: s3://k/data/gone: expected an object, found none"):
        channels.entries(Channel("c", "s3://k/m.json", kind=MANIFEST), stored)


def test_a_line_of_an_augmented_manifest_is_one_entry(tmp_path: Path) -> None:
    tree(tmp_path, "1.jpg")
    (tmp_path / "m").write_text('{"image-ref": "s3://k/1.jpg", "cat": 1}\n{"image-ref": "s3://k/1.jpg", "cat": 0}\n')
    stored = Storage([("s3://k", tmp_path)])
    channel = Channel("c", "s3://k/m", kind=AUGMENTED, mode=PIPE, attributes=("cat", "image-ref"))
    image = stored.object("s3://k/1.jpg")
    assert channels.entries(channel, stored) == [Entry(("1", image)), Entry(("0", image))]


def test_an_augmented_manifest_needs_a_line(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("\n")
    channel = Channel("c", f"{tmp_path}/m", kind=AUGMENTED, mode=PIPE, attributes=("a",))
    with pytest.raises(RefusedError, match=f"^channel c: {tmp_path}/m: expected at least one line, got none"):
        channels.entries(channel, Storage())


def test_an_augmented_manifest_needs_a_pipe(tmp_path: Path) -> None:
    with pytest.raises(
        RefusedError, match="channel c: an augmented manifest can only be used with the input mode Pipe"
    ):
        channels.entries(Channel("c", str(tmp_path), kind=AUGMENTED), Storage())


def test_files_lose_their_modes_and_links_become_files(tmp_path: Path) -> None:
    source = tree(tmp_path / "source", "bin/run.sh", "secret", "target")
    (source / "bin/run.sh").chmod(0o4755)
    (source / "bin").chmod(0o700)
    (source / "secret").chmod(0o600)
    (source / "link").symlink_to("target")
    before = os.umask(0o077)
    try:
        made = channels.fill(tmp_path / "c", channels.entries(Channel("c", str(source)), Storage()), Storage())
    finally:
        os.umask(before)
    modes = {
        str(each.relative_to(tmp_path)): oct(each.lstat().st_mode)
        for each in [tmp_path / "c", *(tmp_path / "c").rglob("*")]
    }
    file, directory = "0o100644", "0o40755"
    assert modes == {
        "c": directory,
        "c/bin": directory,
        "c/bin/run.sh": file,
        "c/secret": file,
        "c/target": file,
        "c/link": file,
    }
    assert (tmp_path / "c/link").read_text() == "target"
    assert [part.path for each in made for part in each.parts if isinstance(part, Object)] == [
        tmp_path / "c" / each for each in ("bin/run.sh", "link", "secret", "target")
    ]


def test_the_users_own_files_stay_as_they_are(tmp_path: Path) -> None:
    source = tree(tmp_path / "source", "a")
    (source / "a").chmod(0o755)
    channels.fill(tmp_path / "c", channels.entries(Channel("c", str(source)), Storage()), Storage())
    (tmp_path / "c/a").write_text("changed")
    assert (source / "a").read_text() == "a"
    assert (source / "a").stat().st_mode & 0o777 == 0o755


def entry(name: str, key: str = "") -> Entry:
    return Entry((Object(f"s3://k/{key or name}", key or name, 0),), name)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([entry("a"), entry("a/b")], "s3://k/a: cannot be a file beside s3://k/a/b"),
        ([entry("a", "x/a"), entry("a", "y/a")], "s3://k/x/a and s3://k/y/a are both the file a of the channel"),
        ([entry("../a")], "no file can have the name '../a'"),
        ([entry("x/../a")], "no file can have the name"),
        ([entry("")], "no file can have the name ''"),
        ([entry("a" * 256)], "no file can have the name"),
    ],
)
def test_keys_that_cannot_be_files_are_refused(wanted: list[Entry], message: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=message):
        channels.fill(tmp_path / "c", wanted, Storage())


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    source = tree(tmp_path / "source", "a")
    wanted = channels.entries(Channel("c", str(source)), Storage())
    (source / "a").unlink()
    with pytest.raises(RefusedError, match=f"^{source}/a: cannot be copied to {tmp_path}/c/a: no such file"):
        channels.fill(tmp_path / "c", wanted, Storage())


def test_only_a_directory_with_nothing_that_s3_would_lose_is_bare(tmp_path: Path) -> None:
    source = tree(tmp_path, "a", "b/c")
    for each in (source, source / "b"):
        each.chmod(0o755)
    for each in (source / "a", source / "b/c"):
        each.chmod(0o644)
    assert channels.is_bare(source)
    (source / "a").chmod(0o755)
    assert not channels.is_bare(source)
    (source / "a").chmod(0o644)
    (source / "b").chmod(0o700)
    assert not channels.is_bare(source)
    (source / "b").chmod(0o755)
    (source / "l").symlink_to("b")
    assert not channels.is_bare(source)
    (source / "l").unlink()
    (source / "empty").mkdir(mode=0o755)
    assert not channels.is_bare(source)
