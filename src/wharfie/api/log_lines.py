"""Log entries → the bytes of `docker logs`: selected, stamped, framed. Pure, and made for bulk: a hundred megabytes of
short lines must not cost a Python step more per line than the framing itself.

Docker sends one frame per line, and clients rely on it (`for line in container.logs(stream=True)`).
"""

from __future__ import annotations

from collections.abc import Iterable

from wharfie.base import frames, when
from wharfie.logs import reader

_MAX_CACHED = 1024
_HEADS: dict[int, list[bytes]] = {
    stream: [frames.header(stream, n) for n in range(_MAX_CACHED)] for stream in (frames.STDOUT, frames.STDERR)
}
Entry = tuple[int, int, bytes]


class Rendering:
    """What one client wants to see. `over` becomes true when an entry after `until` was met."""

    def __init__(
        self, *, stdout: bool, stderr: bool, since: int = 0, until: int = 0, timestamps: bool = False,
        mux: bool = True,
    ) -> None:
        self._streams = {s for s, on in ((frames.STDOUT, stdout), (frames.STDERR, stderr)) if on}
        self._since = since
        self._until = until
        self._timestamps = timestamps
        self._mux = mux
        self.over = False

    def render(self, entries: Iterable[Entry], out: list[bytes]) -> int:
        """Appends pieces to `out`; returns how many bytes they have."""
        size = 0
        for stream, ns, lines in entries:
            if self._until and ns > self._until:
                self.over = True
                break
            if ns < self._since or stream not in self._streams:
                continue
            if self._timestamps:
                lines = reader.stamped(lines, when.rfc3339_fixed(ns).encode())
            piece = framed(stream, lines) if self._mux else lines
            out.append(piece)
            size += len(piece)
        return size


def framed(stream: int, lines: bytes) -> bytes:
    """One frame per line."""
    if lines.count(b"\n") <= 1:
        return frames.frame(stream, lines)
    heads = _HEADS[stream]
    parts = lines.splitlines(keepends=True) if b"\r" not in lines else _split(lines)
    out: list[bytes] = []
    for part in parts:
        length = len(part)
        out.append(heads[length] if length < _MAX_CACHED else frames.header(stream, length))
        out.append(part)
    return b"".join(out)


def _split(lines: bytes) -> list[bytes]:
    """Cut after each newline only (splitlines would also cut at a carriage return)."""
    parts = lines.split(b"\n")
    last = parts.pop()
    out = [part + b"\n" for part in parts]
    if last:
        out.append(last)
    return out
