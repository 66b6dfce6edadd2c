from __future__ import annotations

import gzip
import io
import os
import random
import stat
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smentry.sagemaker import unpack
from smentry.sagemaker.unpack import UnpackError

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE, LINK, HARD, DIRECTORY = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


class Entry(NamedTuple):
    """One entry of an archive."""

    name: str
    kind: bytes = FILE
    link: str = ""
    mode: int = 0o644
    data: bytes = b"data"


def pack(entries: Sequence[Entry], *, form: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive with these entries, whatever they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for entry in entries:
            member = tarfile.TarInfo(entry.name)
            member.type, member.linkname, member.mode = entry.kind, entry.link, entry.mode
            member.size = len(entry.data) if entry.kind == FILE else 0
            tar.addfile(member, io.BytesIO(entry.data))
    return buffer.getvalue()


class Place:
    """A directory to unpack into, with things around it that must stay as they are."""

    def __init__(self, directory: Path) -> None:
        self.around = directory / "around"
        self.target = self.around / "target"
        self.target.mkdir(parents=True)
        (self.around / "secret").write_text("untouched")
        self.archive = directory / "archive"

    def unpack(self, data: bytes) -> tuple[int, int]:
        """Unpack an archive; whatever comes of it, nothing around may have changed, and nothing inside may be dangerous."""
        self.archive.write_bytes(data)
        try:
            return unpack.unpack(str(self.archive), str(self.target))
        finally:
            self.check()

    def check(self) -> None:
        assert sorted(os.listdir(self.around)) == ["secret", "target"]
        secret = self.around / "secret"
        assert (secret.read_text(), secret.stat().st_nlink) == ("untouched", 1)
        root = os.path.realpath(self.target)
        for directory, directories, files in os.walk(self.target):
            for name in directories + files:
                path = os.path.join(directory, name)
                mode = os.lstat(path).st_mode
                assert stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
                if stat.S_ISLNK(mode):
                    assert (os.path.realpath(path) + "/").startswith(root + "/"), path
                else:
                    assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX | stat.S_IWOTH | stat.S_IWGRP)

    def tree(self) -> list[str]:
        """All paths that were unpacked."""
        return sorted(str(path.relative_to(self.target)) for path in self.target.rglob("*"))


def outcome(place: Place, data: bytes) -> str:
    """Why an archive is refused, empty where it is not."""
    try:
        place.unpack(data)
    except UnpackError as error:
        return str(error)
    return ""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_files_directories_and_links_come_as_they_are(place: Place) -> None:
    entries = [
        Entry("./", DIRECTORY),
        Entry("./train.py", mode=0o644),
        Entry("./bin/run.sh", mode=0o755, data=b"#!/bin/sh\n"),
        Entry("empty", DIRECTORY),
        Entry("lib/current", LINK, "../bin"),
        Entry("again.sh", HARD, "bin/run.sh"),
        Entry("ünïcödé/" + "x" * 120, data=b""),
    ]
    for number, form in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)):
        other = Place(place.archive.parent / str(number))
        assert other.unpack(pack(entries, form=form)) == (5, 14)
        assert (other.target / "train.py").read_bytes() == b"data"
        assert (other.target / "train.py").stat().st_mode & 0o777 == 0o644
        assert (other.target / "lib/current/run.sh").stat().st_mode & 0o777 == 0o755
        assert (other.target / "again.sh").read_bytes() == b"#!/bin/sh\n"
        assert (other.target / "empty").is_dir()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_compression_is_known_by_its_content(mode: str, place: Place) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        tar.addfile(tarfile.TarInfo("train.py"))
    assert place.unpack(buffer.getvalue()) == (1, 0)


def test_what_is_there_twice_is_as_it_comes_last(place: Place) -> None:
    place.unpack(
        pack([Entry("a", data=b"1"), Entry("b", HARD, "a"), Entry("a", data=b"2"), Entry("c", LINK, "a"), Entry("c")])
    )
    assert [(place.target / name).read_bytes() for name in "abc"] == [b"2", b"1", b"data"]
    assert not (place.target / "c").is_symlink()


@pytest.mark.parametrize("mode", [0o777, 0o4755, 0o2755, 0o1777, 0o7777, 0o000, 0o222])
def test_nobody_else_may_write_and_nothing_is_set(mode: int, place: Place) -> None:
    place.unpack(pack([Entry("file", mode=mode), Entry("directory", DIRECTORY, mode=mode)]))
    assert (place.target / "file").stat().st_mode & 0o777 in (0o600, 0o644, 0o755)


REFUSED = {
    "above": ([Entry("../secret")], "names '../secret': expected paths inside the archive"),
    "above by a way round": ([Entry("a/../../secret")], "names 'a/../../secret'"),
    "absolute": ([Entry("/etc/passwd")], "names '/etc/passwd'"),
    "a directory above": ([Entry("..", DIRECTORY)], "names '..'"),
    "no name": ([Entry(".")], "names an entry '.'"),
    "a link above": ([Entry("l", LINK, "../secret")], "holds a link 'l' to '../secret', which is outside"),
    "an absolute link": (
        [Entry("l", LINK, "/etc/passwd")],
        "holds a link 'l' to '/etc/passwd': expected a relative path",
    ),
    "a link to nothing": ([Entry("l", LINK, "x" * 5000)], "holds a link 'l' to no path"),
    "a link to itself": ([Entry("l", LINK, "l")], "holds a link 'l' that leads back to itself"),
    "links in a circle": ([Entry("a", LINK, "b"), Entry("b", LINK, "a/x")], "leads back to itself"),
    "out by two links": (
        [Entry("a/b/up", LINK, "../.."), Entry("out", LINK, "a/b/up/../secret")],
        "holds a link 'out'",
    ),
    "out by a chain": (
        [Entry("d", LINK, "."), Entry("e", LINK, "d/d/d"), Entry("f", LINK, "e/../secret")],
        "holds a link 'f' to 'e/../secret', which is outside",
    ),
    "through a link": ([Entry("l", LINK, "."), Entry("l/file")], "has 'l' as a link and puts 'l/file' below it"),
    "through a link out": ([Entry("l", LINK, ".."), Entry("l/secret")], "has 'l' as a link"),
    "below a file": ([Entry("f"), Entry("f/file")], "has 'f' as a file and puts 'f/file' below it"),
    "a file for a directory": ([Entry("d/x"), Entry("d")], "has 'd' twice"),
    "a link for a directory": ([Entry("d/x"), Entry("d", LINK, "y")], "has 'd' twice"),
    "a hard link above": ([Entry("h", HARD, "../secret")], "names '../secret'"),
    "an absolute hard link": ([Entry("h", HARD, "/etc/passwd")], "names '/etc/passwd'"),
    "a hard link to nothing": (
        [Entry("h", HARD, "later"), Entry("later")],
        "holds a hard link 'h' to 'later', which is no file",
    ),
    "a hard link through a link": ([Entry("l", LINK, ".."), Entry("h", HARD, "l/secret")], "holds a hard link 'h'"),
    "a hard link to a link out": ([Entry("l", LINK, ".."), Entry("h", HARD, "l")], "holds a link"),
    "a device": ([Entry("d", tarfile.CHRTYPE)], "holds a device, 'd': expected files, directories and links"),
    "a block device": ([Entry("d", tarfile.BLKTYPE)], "holds a device"),
    "a FIFO": ([Entry("f", tarfile.FIFOTYPE)], "holds a FIFO, 'f'"),
    "an unknown type": ([Entry("u", b"V")], "holds an entry of the unknown type b'V', 'u'"),
    "nothing": ([], "holds no file"),
    "directories only": ([Entry("d", DIRECTORY)], "holds no file"),
    "a name too long": (
        [Entry("x" * 300)],
        f"cannot be unpacked: '{'x' * 80}…{'x' * 80}': file name too long",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_leads_out_or_is_no_code_is_refused_and_named(name: str, place: Place) -> None:
    entries, message = REFUSED[name]
    with pytest.raises(UnpackError) as refused:
        place.unpack(pack(entries))
    assert message in str(refused.value)
    assert "damaged" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_link_of_a_very_long_path_does_not_lead_out(place: Place) -> None:
    """What the standard library's own filter let through (CVE-2025-4517): beyond PATH_MAX realpath(3) gives up."""
    long, entries, path = "d" * 247, [], ""
    for letter in "abcdefghijklmnop":
        entries += [Entry(path + long, DIRECTORY), Entry(path + letter, LINK, long)]
        path += letter + "/"
    entries += [Entry("q", LINK, "a/" * 16 + "../" * 17), Entry("escape", LINK, "q/../secret")]
    with pytest.raises(UnpackError):
        place.unpack(pack(entries))


WHOLE = pack([Entry("a.py", data=b"x" * 2000), Entry("b.py", data=random.Random(1).randbytes(3000))])
STORED = gzip.compress(WHOLE, 0, mtime=0)
DAMAGED = {
    "empty": (b"", "is empty: expected a tar archive"),
    "text": (b"import sys\n", "is no tar archive: it begins with b'import sys"),
    "a zip": (b"PK\3\4" + b"\0" * 100, "is a zip file: expected a tar archive"),
    "an error page": (b"<?xml version=", "is no tar archive: it begins with b'<?xml version='"),
    "gzip of text": (gzip.compress(b"import sys\n" * 100), "is no tar archive, or a damaged one"),
    "cut within a file": (WHOLE[:1000], "is cut off"),
    "cut between files": (WHOLE[:2560], "is cut off"),
    "cut within a header": (WHOLE[:2700], "is cut off"),
    "cut before its end": (WHOLE[: 512 + 2048 + 512 + 3072], "is cut off"),
    "gzip cut": (gzip.compress(WHOLE)[:-2000], "is cut off"),
    "gzip damaged": (STORED[:1000] + b"y" + STORED[1001:], "is damaged: CRC check failed"),
    "header damaged": (WHOLE[:2560] + b"\xff" * 512 + WHOLE[3072:], "is cut off or damaged after 2560 bytes"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_no_whole_archive_is_said_in_one_line(name: str, place: Place) -> None:
    data, message = DAMAGED[name]
    with pytest.raises(UnpackError) as refused:
        place.unpack(data)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_larger_than_the_disk_is_not_begun(place: Place) -> None:
    member = tarfile.TarInfo("bomb")
    member.size = 1 << 60
    with pytest.raises(UnpackError, match=r"does not fit on the disk: 'bomb' has 1152921\.5 TB, and there is room for"):
        place.unpack(member.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024)
    assert place.tree() == []


@pytest.mark.parametrize("name", ["d/" * 2000 + "x", "d/" * unpack.DEEPEST + "x", "n" * 300, "/" + "n" * 4000])
def test_a_reason_is_not_lost_behind_a_long_name(name: str, place: Place) -> None:
    why = outcome(place, pack([Entry(name)]))
    assert any(reason in why for reason in ("expected 100 at most", "file name too long", "no absolute ones"))
    assert len(why) < 400


def test_more_entries_than_code_has_are_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "MOST_ENTRIES", 10)
    with pytest.raises(UnpackError, match="holds more than 10 entries"):
        place.unpack(pack([Entry(f"f{number}") for number in range(11)]))


def test_a_size_that_leads_back_does_not_go_round_for_ever(place: Place) -> None:
    first = tarfile.TarInfo("first")
    header = bytearray(first.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 11 + b"\x00"  # base 256, negative
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    with pytest.raises(UnpackError):
        place.unpack(bytes(header) * 3 + b"\0" * 1024)


NAMES = st.lists(st.sampled_from(["a", "b", "c", "..", ".", "", "secret", "target", "x" * 100]), max_size=5).map(
    "/".join
)
ENTRIES = st.lists(
    st.builds(
        Entry,
        st.one_of(NAMES, NAMES.map("/".__add__), st.text(max_size=8)),
        st.sampled_from([FILE, FILE, LINK, LINK, HARD, DIRECTORY, tarfile.FIFOTYPE, tarfile.CHRTYPE, b"7", b"V"]),
        st.one_of(NAMES, st.text(max_size=8)),
        st.integers(0, 0o7777),
        st.binary(max_size=20),
    ),
    max_size=8,
)


@settings(max_examples=100, deadline=None)
@given(entries=ENTRIES, cut=st.integers(0, 20000), form=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
@example(
    entries=[Entry("a", LINK, "."), Entry("b", LINK, "a/.."), Entry("b/secret")], cut=20000, form=tarfile.GNU_FORMAT
)
def test_no_archive_reaches_out(entries: list[Entry], cut: int, form: int) -> None:
    try:
        data = pack(entries, form=form)[:cut]
    except (ValueError, UnicodeError):
        return  # no archive can hold that
    with tempfile.TemporaryDirectory() as directory:
        place = Place(Path(directory))
        assert "\n" not in outcome(place, data)


@settings(max_examples=75, deadline=None)
@given(at=st.integers(0, len(WHOLE) - 1), junk=st.binary(min_size=1, max_size=40))
def test_no_damage_is_a_traceback(at: int, junk: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Place(Path(directory))
        assert "\n" not in outcome(place, WHOLE[:at] + junk + WHOLE[at + len(junk) :])


def test_the_standard_librarys_filters_are_not_needed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("data_filter", "tar_filter", "fully_trusted_filter"):
        if sys.version_info >= (3, 12) or hasattr(tarfile, name):
            monkeypatch.delattr(tarfile, name)
    assert place.unpack(pack([Entry("a.py")])) == (1, 4)
