"""MXNet's RecordIO framing of one piece of data. It does not know where the data is from, and reads nothing.

A record is the magic number, a word with a flag (3 bits) and the length (29 bits), the data, and zeros up to a multiple of
four; all words are little-endian (dmlc-core, recordio.h). Where the data itself has the magic number at a multiple of four,
the record is written in parts around it, which are flagged as the first, a middle and the last one, so that a reader can
find the next record wherever it starts to read.
"""

from __future__ import annotations

import struct

MAGIC = struct.pack("<I", 0xCED7230A)
LONGEST = (1 << 29) - 1
"""Bytes that fit into a record."""

_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)


def record(data: bytes) -> bytes:
    """The data as a record. Raises ValueError where it is longer than LONGEST."""
    if len(data) > LONGEST:
        raise ValueError(f"a record holds up to {LONGEST} bytes, got {len(data)}")
    parts = _parts(data)
    if len(parts) == 1:
        return _framed(_WHOLE, data)
    flags = [_FIRST, *[_MIDDLE] * (len(parts) - 2), _LAST]
    return b"".join(map(_framed, flags, parts))


def _parts(data: bytes) -> list[bytes]:
    """The data, cut at each magic number that begins at a multiple of four; the number itself left out."""
    parts, start, found = [], 0, data.find(MAGIC)
    while found >= 0:
        if found % 4 == 0:
            parts.append(data[start:found])
            start = found = found + 4
        else:
            found += 1
        found = data.find(MAGIC, found)
    return [*parts, data[start:]]


def _framed(flag: int, data: bytes) -> bytes:
    return b"".join((MAGIC, struct.pack("<I", flag << 29 | len(data)), data, bytes(-len(data) % 4)))
