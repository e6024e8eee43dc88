"""Docker's multiplexed stream (Engine API, "Stream format" of attach): an eight byte header before every piece.

    [stream: 0 stdin, 1 stdout, 2 stderr][0][0][0][length: 4 bytes, big endian] payload

No I/O: bytes in, frames out. Shared by shim, api and client.
"""

from __future__ import annotations

import struct

STDIN, STDOUT, STDERR = 0, 1, 2
HEADER_SIZE = 8
MAX_FRAME = 1 << 20
_HEADER = struct.Struct(">BxxxI")


def header(stream: int, length: int) -> bytes:
    """The header of a frame of `length` payload bytes."""
    return _HEADER.pack(stream, length)


def frame(stream: int, payload: bytes) -> bytes:
    """One whole frame."""
    return _HEADER.pack(stream, len(payload)) + payload


class Splitter:
    """Cuts a byte stream into frames. `feed` returns the whole frames so far as (stream, payload)."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Raises ValueError for a stream number above 3 (3 is the engine's own error stream)."""
        held = self._held
        held += data
        out: list[tuple[int, bytes]] = []
        at = 0
        while len(held) - at >= HEADER_SIZE:
            stream, length = _HEADER.unpack_from(held, at)
            if stream > 3:
                raise ValueError(f"not a multiplexed stream: stream number {stream}")
            end = at + HEADER_SIZE + length
            if end > len(held):
                break
            out.append((stream, bytes(held[at + HEADER_SIZE : end])))
            at = end
        del held[:at]
        return out

    @property
    def pending(self) -> int:
        """Bytes held of an unfinished frame."""
        return len(self._held)
