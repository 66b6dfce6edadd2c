"""RecordIO framing, read back by a reader of its own."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smentry.ctl.data import recordio

MAGIC = bytes.fromhex("0a23d7ce")


def read(stream: bytes) -> list[bytes]:
    """The records of a stream, as dmlc-core's RecordIOReader puts them together."""
    records, parts, place = [], [], 0
    while place < len(stream):
        magic, word = struct.unpack_from("<II", stream, place)
        assert magic == 0xCED7230A
        flag, length = word >> 29, word & (1 << 29) - 1
        place += 8
        parts.append(stream[place : place + length])
        padding = stream[place + length : place + length + -length % 4]
        assert padding == bytes(-length % 4)
        place += length + len(padding)
        if flag in (0, 3):
            records.append(MAGIC.join(parts))
            parts = []
        else:
            assert flag == (2 if len(parts) > 1 else 1)
    assert not parts
    return records


def test_a_record_is_magic_length_data_and_padding() -> None:
    assert recordio.record(b"hello") == MAGIC + b"\5\0\0\0" + b"hello" + b"\0\0\0"
    assert recordio.record(b"") == MAGIC + bytes(4)


def test_a_magic_number_at_a_multiple_of_four_is_never_inside_of_a_record() -> None:
    stream = recordio.record(b"abcd" + MAGIC + b"efgh" + MAGIC)
    assert stream == (
        MAGIC + struct.pack("<I", 1 << 29 | 4) + b"abcd"
        + MAGIC + struct.pack("<I", 2 << 29 | 4) + b"efgh"
        + MAGIC + struct.pack("<I", 3 << 29)
    )  # fmt: skip
    assert MAGIC in recordio.record(b"a" + MAGIC)[4:]


@given(st.lists(st.lists(st.one_of(st.binary(max_size=9), st.just(MAGIC))).map(b"".join), max_size=4))
def test_what_is_framed_is_read_back(data: list[bytes]) -> None:
    assert read(b"".join(map(recordio.record, data))) == data


def test_more_than_the_length_word_can_say_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordio, "LONGEST", 7)
    with pytest.raises(ValueError, match="up to 7 bytes, got 8"):
        recordio.record(bytes(8))
