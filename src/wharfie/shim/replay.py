"""attach with logs: what the container has written so far, from its log, and not a byte twice or too few at the seam.

The end is fixed when the client attaches: the log's size then, and the unfinished lines that are not in it yet.
"""

from __future__ import annotations

import os

from wharfie.base import frames
from wharfie.logs import reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from wharfie.logs import writer


def pieces(log: writer.Writer, outputs: frozenset[int], *, mux: bool) -> Iterator[bytes]:
    """The bytes to send, never empty, read as they are asked for."""
    seen = os.stat(log.path)
    source = reader.Reader(log.path, stop=(seen.st_ino, seen.st_size))
    unfinished = [(stream, log.held(stream)) for stream in sorted(outputs)]
    return _read(source, unfinished, outputs, mux)


def _read(source: reader.Reader, unfinished: list[tuple[int, bytes]], outputs: frozenset[int],
          mux: bool) -> Iterator[bytes]:
    try:
        while (block := source.block()) is not None:
            joined = b"".join(frames.frame(s, data) if mux else data for s, _, data in block if s in outputs)
            if joined:
                yield joined
    finally:
        source.close()
    for stream, data in unfinished:
        if data:
            yield frames.frame(stream, data) if mux else data
