"""A tar stream as an engine gives it: pieces of bytes, read once, as the members in it. It does not know what they are for."""

from __future__ import annotations

import io
import tarfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BUFFER = 1 << 20


def members(stream: Iterable[bytes]) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Every member in its order, and the archive to extract it from before the next one is asked for; none of an empty stream.

    The stream is read to its end, so that the engine's connection is free again. Raises tarfile.TarError.
    """
    file = io.BufferedReader(_Pieces(iter(stream)), _BUFFER)
    if file.peek(1):
        with tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                yield archive, member
    while file.read(_BUFFER):
        pass


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        length = min(len(buffer), len(self._left))
        buffer[:length] = self._left[:length]
        self._left = self._left[length:]
        return length
