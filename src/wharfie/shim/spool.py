"""What attached clients have not taken yet: bytes by offset, on disk without a name, in segments that are given back
as soon as everybody has read them.

The log itself cannot serve a lagging client: json-file holds text, in which bytes that are not UTF-8 are lost, and a
stream must arrive byte for byte. So the shim spools beside the log, only while somebody lags.

Without a directory (log driver "none"), when the disk is full or the container's allowance is used up, pieces stay in
memory and `append` says so: the caller then stops reading from the process until the laggards have caught up. That is
the only case of back-pressure (docs/adr/0005-spool-for-lagging-attachers.md).
"""

from __future__ import annotations

import os

SEGMENT = 16 << 20
LIMIT = 1 << 30


class Allowance:
    """How many bytes on disk the spools of one container, its own and its execs', may have together."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.used = 0

    def take(self, count: int) -> bool:
        """Whether there was room; it is taken then."""
        if self.used + count > self.limit:
            return False
        self.used += count
        return True

    def give(self, count: int) -> None:
        """Bytes that are on disk no more."""
        self.used -= count


_container = Allowance()  # a shim is one container's, so its process is the account


class _Segment:
    def __init__(self, base: int, fd: int, memory: bytes = b"") -> None:
        self.base = base
        self.fd = fd
        self.memory = memory
        self.length = len(memory)

    def read(self, at: int, size: int) -> bytes:
        if self.fd < 0:
            return self.memory[at : at + size]
        return os.pread(self.fd, min(size, self.length - at), at)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class Spool:
    """Offsets only grow. `end` is where the next piece goes."""

    def __init__(self, directory: str = "", allowance: Allowance = _container) -> None:
        self._directory = directory
        self._allowance = allowance
        self._segments: list[_Segment] = []
        self.end = 0

    def append(self, data: bytes) -> bool:
        """Keep a piece. False: it is in memory, take no more until `release` has emptied the spool."""
        kept = self._directory != "" and self._allowance.take(len(data))
        if kept and not self._append_file(data):
            self._allowance.give(len(data))
            kept = False
        if not kept:
            self._segments.append(_Segment(self.end, -1, data))
        self.end += len(data)
        return kept

    def read(self, position: int, size: int) -> bytes:
        """At most `size` bytes from `position` (which must not have been released); b"" at the end."""
        for segment in self._segments:
            if segment.base <= position < segment.base + segment.length:
                return segment.read(position - segment.base, size)
        return b""

    def release(self, position: int) -> None:
        """Everything before `position` has been read by everybody."""
        while self._segments and self._segments[0].base + self._segments[0].length <= position:
            read = self._segments.pop(0)
            if read.fd >= 0:
                self._allowance.give(read.length)
            read.close()

    @property
    def empty(self) -> bool:
        return not self._segments

    def _append_file(self, data: bytes) -> bool:
        try:
            last = self._segments[-1] if self._segments else None
            if last is None or last.fd < 0 or last.length >= SEGMENT:
                last = _Segment(self.end, os.open(self._directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600))
                self._segments.append(last)
            view, at = memoryview(data), last.length
            while view:
                done = os.pwrite(last.fd, view, at)
                view, at = view[done:], at + done
            last.length = at
        except OSError:
            if self._segments and not self._segments[-1].length:
                self._segments.pop().close()
            return False
        return True
