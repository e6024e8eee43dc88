"""Compressed streams, detected by their first bytes, read in bounded pieces.

A compressed chunk may swell a thousandfold; so every decompressor is asked for at most `_PIECE` bytes at a time. All
of them stop at the end of a gzip member, zstd frame or xz stream: what follows begins a new one.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Any, Protocol

from .limits import damaged

_fast: Any = None
try:
    from isal import isal_zlib as _fast
except ImportError:  # no wheel for this machine: slower, same result
    pass

_PIECE = 1 << 18
_XZ_MEMORY = 256 << 20
_ZSTD_WINDOW_LOG = 27

NONE, GZIP, ZSTD, XZ, BZIP2 = "", "gzip", "zstd", "xz", "bzip2"
_MAGIC = ((b"\x1f\x8b", GZIP), (b"\x28\xb5\x2f\xfd", ZSTD), (b"\xfd7zXZ\x00", XZ), (b"BZh", BZIP2))
HEAD = 6


class Readable(Protocol):
    """Where bytes come from: at most `size` of them, b"" only at the end."""

    def read(self, size: int, /) -> bytes: ...


def detect(head: bytes) -> str:
    """The compression whose magic number `head` (at least HEAD bytes, or all there are) begins with."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    # zstd's skippable frames (0x184D2A5?) come before a frame
    if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:
        return ZSTD
    return NONE


def open_stream(raw: Readable) -> Stream:
    """A readable of the plain bytes of `raw`, whatever its compression."""
    head = b""
    while len(head) < HEAD:
        more = raw.read(HEAD - len(head))
        if not more:
            break
        head += more
    return Stream(raw, detect(head), head)


class _Gzip:
    """zlib and isal share the interface of a limited decompress; this gives it the shape of the others."""

    def __init__(self) -> None:
        self._inner: Any = (_fast or zlib).decompressobj(31)
        self.unused_data = b""
        self.eof = False
        self._held = b""

    @property
    def needs_input(self) -> bool:
        return not self._held and not self.eof

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out: bytes = self._inner.decompress(self._held + data, max_length)
        self._held = self._inner.unconsumed_tail
        self.eof = self._inner.eof
        self.unused_data = self._inner.unused_data
        return out


def _zstd() -> Any:
    try:
        from backports import zstd
    except ImportError:
        from compression import zstd  # type: ignore[import-not-found, no-redef]
    return zstd


def _decompressor(name: str) -> Any:
    if name == GZIP:
        return _Gzip()
    if name == XZ:
        return lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
    if name == BZIP2:
        return bz2.BZ2Decompressor()
    zstd = _zstd()
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})


def _foreign_errors() -> tuple[type[Exception], ...]:
    found: list[type[Exception]] = [zlib.error, lzma.LZMAError, OSError, EOFError, ValueError]
    if _fast is not None:
        found.append(_fast.error)
    try:
        found.append(_zstd().ZstdError)
    except ImportError:
        pass
    return tuple(found)


_FOREIGN = _foreign_errors()


class Stream:
    """The plain bytes. `read` returns at most `size` bytes, b"" at the end; raises Damaged for broken or cut data."""

    def __init__(self, raw: Readable, compression: str, head: bytes = b"") -> None:
        self.compression = compression
        self._raw = raw
        self._head = head
        self._inner: Any = None
        self._end = False

    def read(self, size: int, /) -> bytes:
        if self.compression == NONE:
            if self._head:
                out, self._head = self._head[:size], self._head[size:]
                return out
            return self._raw.read(size)
        while not self._end:
            out = self._step(min(size, _PIECE))
            if out:
                return out
        return b""

    def _step(self, size: int) -> bytes:
        """One turn of the decompressor; b"" when it only took input in or the end was reached."""
        inner = self._inner
        fresh = inner is None
        if fresh or inner.eof:
            data = (b"" if fresh else inner.unused_data) or self._input()
            if self.compression in (GZIP, XZ):
                data = self._skip_padding(data)
            if not data or (not fresh and detect(data) != self.compression and len(data) >= HEAD):
                self._end = True  # trailing rubbish after the last member, which gzip and Docker ignore too
                return b""
            inner = self._inner = _decompressor(self.compression)
        else:
            data = self._input() if inner.needs_input else b""
            if not data and inner.needs_input:
                raise damaged(f"the {self.compression} data ends too early")
        return self._call(inner, data, size)

    def _call(self, inner: Any, data: bytes, size: int) -> bytes:
        try:
            out: bytes = inner.decompress(data, size)
        except _FOREIGN as error:
            raise damaged(f"broken {self.compression} data ({error})") from error
        return out

    def _skip_padding(self, data: bytes) -> bytes:
        """Zero bytes between members (tapes, xz stream padding)."""
        while data and not data.strip(b"\0"):
            data = self._raw.read(_PIECE)
        return data.lstrip(b"\0") if data[:1] == b"\0" else data

    def _input(self) -> bytes:
        if self._head:
            out, self._head = self._head, b""
            return out
        return self._raw.read(_PIECE)


class Gzipper:
    """Compresses with gzip, reproducibly: no name, no time, and fixed input pieces, because isal's output depends on
    the size of the writes."""

    def __init__(self) -> None:
        self._inner: Any = _fast.compressobj(2, wbits=31) if _fast else zlib.compressobj(6, wbits=31)
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Take some bytes; give what is ready."""
        self._held += data
        out = []
        while len(self._held) >= _PIECE:
            out.append(self._inner.compress(bytes(self._held[:_PIECE])))
            del self._held[:_PIECE]
        return b"".join(out)

    def finish(self) -> bytes:
        """The rest. The object is spent."""
        rest: bytes = self._inner.compress(bytes(self._held)) + self._inner.flush()
        return rest
