"""Request and response bodies as pure decoders (RFC 9112 section 6-7): bytes in, payload out, no I/O.

`take(held)` removes from the front of `held` what belongs to the body and returns its payload; what follows the body
(the next pipelined request, early bytes of a hijacked stream) stays in `held`. `done` says that the end was seen.
"""

from __future__ import annotations

from .request import Refused

_HEX = frozenset(b"0123456789abcdefABCDEF")
_MAX_LINE = 4096
_MAX_TRAILERS = 65536


class Length:
    """A body of a known number of bytes; 0 is "no body"."""

    def __init__(self, length: int) -> None:
        self.left = length

    @property
    def done(self) -> bool:
        return self.left == 0

    def take(self, held: bytearray) -> bytes:
        if not self.left or not held:
            return b""
        if len(held) <= self.left:
            out = bytes(held)
            held.clear()
        else:
            out = bytes(memoryview(held)[: self.left])
            del held[: self.left]
        self.left -= len(out)
        return out


class UntilClose:
    """A response body that ends with the connection (HTTP/1.0, hijacked streams). Never done by itself."""

    done = False
    left = -1

    def take(self, held: bytearray) -> bytes:
        out = bytes(held)
        held.clear()
        return out


class Chunked:
    """The chunked transfer coding; extensions and trailers are read and dropped. Strict: CRLF only, at most 16 hex
    digits, bounded lines, since every leniency here has been somebody's request smuggling."""

    left = -1

    def __init__(self) -> None:
        self.done = False
        self._data = 0
        self._step = self._size_line
        self._trailers = 0

    def take(self, held: bytearray) -> bytes:
        """Raises Refused (400) on a malformed chunk."""
        out: list[bytes] = []
        at = 0
        while not self.done:
            moved, payload = self._step(held, at)
            if payload:
                out.append(payload)
            if moved == at:
                break
            at = moved
        del held[:at]
        return out[0] if len(out) == 1 else b"".join(out)

    def _line(self, held: bytearray, at: int, limit: int) -> bytes | None:
        end = held.find(b"\n", at, at + limit + 2)
        if end < 0:
            if len(held) - at > limit:
                raise Refused("chunk line too long")
            return None
        if end == at or held[end - 1] != 13:
            raise Refused("malformed chunked encoding")
        return bytes(held[at : end - 1])

    def _size_line(self, held: bytearray, at: int) -> tuple[int, bytes]:
        line = self._line(held, at, _MAX_LINE)
        if line is None:
            return at, b""
        digits = line.partition(b";")[0].rstrip(b" \t")
        if not digits or len(digits) > 16 or not _HEX.issuperset(digits):
            raise Refused("malformed chunked encoding")
        self._data = int(digits, 16)
        self._step = self._payload if self._data else self._trailer
        return at + len(line) + 2, b""

    def _payload(self, held: bytearray, at: int) -> tuple[int, bytes]:
        size = min(self._data, len(held) - at)
        payload = bytes(memoryview(held)[at : at + size])
        self._data -= size
        if not self._data:
            self._step = self._payload_end
        return at + size, payload

    def _payload_end(self, held: bytearray, at: int) -> tuple[int, bytes]:
        if len(held) - at < 2:
            return at, b""
        if held[at] != 13 or held[at + 1] != 10:
            raise Refused("malformed chunked encoding")
        self._step = self._size_line
        return at + 2, b""

    def _trailer(self, held: bytearray, at: int) -> tuple[int, bytes]:
        line = self._line(held, at, _MAX_LINE)
        if line is None:
            return at, b""
        self._trailers += len(line) + 2
        if self._trailers > _MAX_TRAILERS:
            raise Refused("trailers too long")
        if not line:
            self.done = True
        return at + len(line) + 2, b""


Decoder = Length | Chunked | UntilClose
