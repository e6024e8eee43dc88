"""Readables made of other things: pieces, files, and one that digests what passes through."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from .compression import Readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash


class Pieces:
    """A readable over an iterable of bytes."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces: Iterator[bytes] = iter(pieces)
        self._held = b""
        self._at = 0

    def read(self, size: int, /) -> bytes:
        while self._at >= len(self._held):
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._held, self._at = piece, 0
        out = self._held[self._at : self._at + size]
        self._at += len(out)
        return out


class File:
    """A readable over a file descriptor, which it does not own."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, size: int, /) -> bytes:
        return os.read(self._fd, min(size, 1 << 20))


class Hashed:
    """Passes bytes on and feeds them to a hash object. Small reads are served from pieces of 256 KiB."""

    def __init__(self, raw: Readable, hasher: _Hash) -> None:
        self.hasher = hasher
        self.length = 0
        self._raw = raw
        self._held = b""
        self._at = 0

    def read(self, size: int, /) -> bytes:
        if self._at >= len(self._held):
            self._held = self._raw.read(max(size, 1 << 18))
            self._at = 0
            self.hasher.update(self._held)
            self.length += len(self._held)
        out = self._held[self._at : self._at + size]
        self._at += len(out)
        return out

    def drain(self) -> None:
        """Take what is left, so that the digest is that of the whole stream."""
        while self.read(1 << 20):
            pass
