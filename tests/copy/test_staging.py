"""The step from old to new: at once, entry by entry, interrupted, and beside other copies."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from smentry.copy.staging import Staging
from tests.copy.copying import (
    RENAMEAT2,
    UID,
    Answer,
    Copier,
    many,
    mounted,
    names,
    needs_root,
    picture,
    rich,
    texts,
    tree,
)


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EINVAL])
def test_without_exchange_the_target_is_replaced_by_renames(copy: Copier, here: Path, error: int) -> None:
    tree(here / "to", "old")
    answer = copy(here / "to", tree(here / "source"), refuse={RENAMEAT2: error})
    assert answer.error is None
    assert texts(here / "to") == texts(here / "source")
    assert names(here) == ["source", "to"]


def test_an_old_target_that_was_renamed_away_is_put_back(copy: Copier, here: Path) -> None:
    tree(here / ".to.smentry-12345678", "new")
    tree(here / ".to.smentry-12345678-old", "old")
    (tree(here / "source") / "out").symlink_to("/")
    assert copy(here / "to", here / "source").error is not None
    assert set(texts(here / "to").values()) == {"old"}
    assert names(here) == ["source", "to"]


@needs_root
def test_a_mount_point_is_replaced_entry_by_entry(copy: Copier, here: Path) -> None:
    rich(here / "source")
    with mounted(here / "volume", "-t", "tmpfs", "tmpfs") as volume:
        (volume / "lost+found").mkdir()
        (tree(volume / "sub", "old") / "more").touch()
        (volume / "old").touch()
        (volume / "file0").mkdir()
        for refused in ({}, {RENAMEAT2: errno.ENOSYS}):
            assert copy(volume, here / "source", refuse=refused).said[-1].startswith("copied")
            assert names(volume) == sorted(["lost+found", *names(here / "source")])
            expected = {name: facts for name, facts in picture(here / "source").items() if name != "."}
            assert {name: facts for name, facts in picture(volume).items() if name in expected} == expected


@needs_root
def test_a_mount_point_below_the_target_keeps_what_is_in_it(copy: Copier, here: Path) -> None:
    tree(here / "to", "old")
    with mounted(here / "to/sub", "-t", "tmpfs", "tmpfs") as volume:
        (volume / "precious").touch()
        answer = copy(here / "to", tree(here / "source"))
        assert answer.error == f"{here}/to cannot be replaced as a whole: {here}/to/sub in it is a mount point"
        assert names(volume) == ["precious"]


@needs_root
def test_a_user_who_may_write_only_the_target_replaces_its_entries(copy: Copier, here: Path) -> None:
    tree(here / "source")
    (here / "source/sub").chmod(0o555)
    (here / "to").mkdir()
    os.chown(here / "to", UID, UID)
    for _ in range(2):
        answer = copy(here / "to", here / "source", uid=UID)
        assert (answer.error, answer.warnings) == (None, [])
        assert texts(here / "to") == texts(here / "source")
        assert names(here / "to") == names(here / "source")
        assert stat.S_IMODE((here / "to/sub").stat().st_mode) == 0o555


@needs_root
def test_entries_that_cannot_be_replaced_leave_all_as_it_was(copy: Copier, here: Path) -> None:
    tree(here / "source")
    tree(here / "to", "old")
    os.chown(here / "to", UID, UID)
    (here / "to").chmod(0o1777)
    (here / "to/extra").mkdir()
    answer = copy(here / "to", here / "source", uid=UID + 1)
    assert answer.error == f"{here}/to cannot be replaced: operation not permitted"
    assert set(texts(here / "to").values()) == {"old"}
    assert names(here / "to") == ["extra", "file0", "file1", "sub"]


@needs_root
def test_a_directory_of_an_image_is_replaced(copy: Copier, here: Path) -> None:
    tree(here / "source")
    (here / "lower/model").mkdir(parents=True)
    (here / "lower/model/file0").write_text("old")
    tree(here / "lower/deep", "old")
    for name in ("upper", "work"):
        (here / name).mkdir()
    layers = f"lowerdir={here}/lower,upperdir={here}/upper,workdir={here}/work,redirect_dir=off"
    with mounted(here / "image", "-t", "overlay", "overlay", "-o", layers) as image:
        assert copy(image / "model", here / "source").error is None
        assert texts(image / "model") == texts(here / "source")
        assert names(image) == ["deep", "model"]
        assert copy(image / "deep", here / "source").error == (
            f"{image}/deep cannot be replaced: invalid cross-device link, being a directory of the image:"
            " mount a volume there"
        )
        assert set(texts(image / "deep").values()) == {"old"}
        assert names(image) == ["deep", "model"]


@pytest.mark.parametrize("kind", ["directory", "file", "without exchange"])
def test_killed_at_any_moment_the_target_is_old_or_new(copy: Copier, here: Path, kind: str) -> None:
    versions = {}
    for text in ("one", "two"):
        source = here / text
        if kind == "file":
            source.write_text(text * 1_000_000)
        else:
            many(source, 200, text)
        versions[text] = source

    def content() -> set[str]:
        if kind == "file":
            held = (here / "to").read_text()
            return {text for text in versions if held == text * 1_000_000}
        held_files = texts(here / "to")
        return set(held_files.values()) if len(held_files) == 200 else set()

    refused = {RENAMEAT2: errno.ENOSYS} if kind == "without exchange" else {}
    whole = [copy(here / "to", versions[text], refuse=refused).seconds for text in ("one", "two", "one")]
    killed, now = 0, {"one"}
    chance = random.Random(4)
    for turn in range(400):
        if turn >= 40 and killed > 10:  # how many of them come in time depends on what else the machine does
            break
        (other,) = set(versions) - now
        killed += copy(here / "to", versions[other], refuse=refused, kill=chance.uniform(0, max(whole))).killed
        if kind == "without exchange" and not (here / "to").exists():
            continue  # between the renames: the old one waits for the next copy
        now = content()
        assert len(now) == 1
    assert killed > 10
    copy(here / "to", versions["one"])
    assert names(here) == ["one", "to", "two"]


def test_the_place_of_a_living_copy_is_left_alone(copy: Copier, here: Path) -> None:
    tree(here / ".to.smentry-0123abcd")
    tree(here / ".to.smentry-deadbeef")
    (here / ".to.smentry-00000000").touch()
    living = os.open(here / ".to.smentry-0123abcd", os.O_RDONLY)
    try:
        fcntl.flock(living, fcntl.LOCK_EX)
        copy(here / "to", tree(here / "source"))
        assert names(here) == [".to.smentry-0123abcd", "source", "to"]
    finally:
        os.close(living)


@pytest.mark.parametrize(
    "name", [".to.smentry-notes", ".to.smentry-deadbeef1", ".to.smentry-notes-old", ".to.smentry-"]
)
def test_what_only_begins_like_a_place_is_left_alone(copy: Copier, here: Path, name: str) -> None:
    tree(here / name, "mine")
    (here / ".to.smentry-deadbeef").symlink_to(name)
    assert copy(here / "to", tree(here / "source")).error is None
    assert names(here) == sorted([name, ".to.smentry-deadbeef", "source", "to"])
    assert set(texts(here / name).values()) == {"mine"}


@needs_root
def test_in_a_mount_point_only_places_are_removed_beforehand(copy: Copier, here: Path) -> None:
    (tree(here / "source") / "out").symlink_to("/")
    with mounted(here / "volume", "-t", "tmpfs", "tmpfs") as volume:
        tree(volume / ".smentry-foo", "mine")
        tree(volume / ".smentry-deadbeef")
        assert copy(volume, here / "source").error is not None
        assert names(volume) == [".smentry-foo"]
        (here / "source/out").unlink()
        assert copy(volume, here / "source").error is None
        assert names(volume) == names(here / "source")


def test_copies_that_begin_at_once_do_not_take_each_others_place(here: Path) -> None:
    def begin() -> None:
        for _ in range(200):
            Staging.of(str(here / "to"), directory=True).clear()

    with ThreadPoolExecutor(4) as threads:
        for begun in [threads.submit(begin) for _ in range(4)]:
            begun.result()
    assert names(here) == []


def old(at: Path) -> Path:
    """What takes longer to remove than there is time."""
    at.mkdir(exist_ok=True)
    (at / "0").touch()
    for number in range(1, 100_000):
        os.link(at / "0", at / str(number))
    return at


def in_too_little_time(copy: Copier, to: Path, source: Path) -> Answer:
    """A copy with time enough for itself, on a machine as busy as this one is now, but not for removing what is `old`."""
    for seconds in (0.4, 0.8, 1.6):
        answer = copy(to, source, seconds=seconds)
        if answer.error is None:
            break
        assert "out of time" in answer.error
    return answer


@pytest.mark.slow
def test_an_old_target_that_there_is_no_time_to_remove_is_left_with_a_warning(copy: Copier, here: Path) -> None:
    old(here / "to")
    answer = in_too_little_time(copy, here / "to", tree(here / "source"))
    assert answer.error is None
    assert texts(here / "to") == texts(here / "source")
    (left,) = [name for name in names(here) if name.startswith(".to.smentry-")]
    assert answer.said[-1] == (
        f"warning: what was {here}/to before is left as {here}/{left}:"
        " no time is left to remove it; the next copy to this target does"
    )
    assert answer.said[-2].startswith("copied")
    late = copy(here / "to", here / "source", seconds=0.1)
    assert late.error is not None
    assert "out of time" in late.error
    assert copy(here / "to", here / "source").error is None
    assert names(here) == ["source", "to"]


@needs_root
@pytest.mark.slow
def test_what_is_left_in_a_mount_point_is_named(copy: Copier, here: Path) -> None:
    tree(here / "source")
    with mounted(here / "volume", "-t", "tmpfs", "tmpfs") as volume:
        old(volume / "old")
        answer = in_too_little_time(copy, volume, here / "source")
        assert answer.error is None
        (left,) = set(names(volume)) - set(names(here / "source"))
        assert f" is left as {volume}/{left}: no time is left" in answer.warnings[0]
        assert copy(volume, here / "source").error is None
        assert names(volume) == names(here / "source")
