"""Members of a tar stream, however it is cut into pieces."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from smentry.ctl.engine import tarstream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILES = {"model/a": b"", "model/b": b"b" * 700, "model/c": bytes(range(256)) * 9000}


def archive() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as packed:
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return made.getvalue()


def pieces(content: bytes, size: int, given: list[int]) -> Iterator[bytes]:
    """The content in pieces, with an empty one between each two; notes where it is."""
    for at in range(0, len(content), size):
        given.append(at)
        yield content[at : at + size]
        yield b""


def contents(stream: Iterable[bytes]) -> dict[str, bytes]:
    found = {}
    for packed, member in tarstream.members(stream):
        file = packed.extractfile(member)
        assert file is not None
        found[member.name] = file.read()
    return found


@pytest.mark.parametrize("size", [100, 512, 10_240, 1 << 20, 1 << 24])
def test_every_member_is_given_and_the_stream_read_to_its_end(size: int) -> None:
    content = archive() + bytes(3 << 20)  # tar(5): zeros after the end are allowed
    given: list[int] = []
    assert contents(pieces(content, size, given)) == FILES
    assert given[-1] + size >= len(content)


def test_members_may_be_passed_over() -> None:
    assert [member.name for _, member in tarstream.members([archive()])] == list(FILES)


@pytest.mark.parametrize("stream", [[], [b""], [b"", b""]])
def test_an_empty_stream_has_no_members(stream: list[bytes]) -> None:
    assert list(tarstream.members(stream)) == []


@pytest.mark.parametrize("content", [b"no tar", archive()[:1100], archive()[: 1 << 20]])
def test_what_is_no_archive_or_breaks_off_is_an_error(content: bytes) -> None:
    with pytest.raises(tarfile.TarError):
        contents([content])
