"""One entry of an archive, and the source that its data comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .compression import Readable
from .limits import damaged

FILE, LINK, SYMLINK, CHAR, BLOCK, DIRECTORY, FIFO = "file", "link", "symlink", "char", "block", "dir", "fifo"

BLOCK_SIZE = 512
_PIECE = 1 << 20


class Source:
    """Reads exactly what is asked, from something that may give less. `position` counts the bytes taken."""

    __slots__ = ("_raw", "position")

    def __init__(self, raw: Readable) -> None:
        self._raw = raw
        self.position = 0

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end of the stream."""
        out = self._raw.read(size)
        if len(out) < size and out:
            parts = [out]
            got = len(out)
            while got < size:
                more = self._raw.read(size - got)
                if not more:
                    break
                parts.append(more)
                got += len(more)
            out = b"".join(parts)
        self.position += len(out)
        return out

    def exactly(self, size: int, name: bytes = b"") -> bytes:
        """`size` bytes. Raises Damaged when the stream ends before."""
        out = self.read(size)
        if len(out) < size:
            raise damaged("the archive ends too early", name)
        return out

    def skip(self, size: int, name: bytes = b"") -> None:
        """Read and drop. Raises Damaged when the stream ends before."""
        while size > 0:
            size -= len(self.exactly(min(size, _PIECE), name))


class Entry:
    """A file, directory, link or device as the archive tells it. Names are bytes, cleaned of nothing.

    size: bytes of the file with its holes. mtime: ns since 1970. xattrs: full names ("user.x"). holes: None, or the
    (offset, length) of the pieces that are present. Data is read by `chunks` before the next entry is asked for;
    what is not read is skipped.
    """

    __slots__ = ("_left", "_source", "device", "gid", "holes", "kind", "link", "mode", "mtime", "name", "pax", "size",
                 "stored", "uid", "xattrs")

    def __init__(self, name: bytes, kind: str, *, mode: int = 0o644, uid: int = 0, gid: int = 0, size: int = 0,
                 mtime: int = 0, link: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self.name = name
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
        self.stored = size
        self.mtime = mtime
        self.link = link
        self.device = device
        self.xattrs: dict[str, bytes] = {}
        self.pax: dict[str, bytes] = {}
        self.holes: list[tuple[int, int]] | None = None
        self._source: Source | None = None
        self._left = 0

    def __repr__(self) -> str:
        arrow = f" -> {self.link!r}" if self.link else ""
        return f"<{self.kind} {self.name!r}{arrow} {self.mode:04o} {self.uid}:{self.gid} {self.size}>"

    def attach(self, source: Source) -> None:
        """Say where the data of this entry begins: here."""
        self._source = source
        self._left = self.stored

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """(offset in the file, bytes), in order; holes are left out. Usable once."""
        pieces = self.holes if self.holes is not None else [(0, self.stored)]
        for offset, length in pieces:
            while length > 0:
                data = self._take(min(length, _PIECE))
                yield offset, data
                offset += len(data)
                length -= len(data)

    def content(self, limit: int) -> bytes:
        """The whole file. Raises Damaged when it is larger than `limit` bytes."""
        if self.size > limit:
            raise damaged(f"larger than {limit} bytes", self.name)
        out = bytearray(self.size)
        for offset, data in self.chunks():
            out[offset : offset + len(data)] = data
        return bytes(out)

    def finish(self) -> None:
        """Skip what was not read, and the padding to the next block."""
        source: Any = self._source
        source.skip(self._left + -self.stored % BLOCK_SIZE, self.name)
        self._left = 0

    def _take(self, size: int) -> bytes:
        if self._source is None or size > self._left:
            raise damaged("the sparse map asks for more than is stored", self.name)
        data = self._source.exactly(size, self.name)
        self._left -= size
        return data
