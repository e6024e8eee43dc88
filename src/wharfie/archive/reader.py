"""The one tar reader: ustar, pax, GNU long names, sparse files, base-256 numbers. A stream in, entries out.

Hostile archives are bounded here (counts, header sizes, claims) and judged in `unpack` (where names lead).
"""

from __future__ import annotations

from collections.abc import Iterator

from . import header, pax, sparse
from .compression import Readable
from .entry import BLOCK_SIZE, DIRECTORY, FILE, Entry, Source
from .limits import DEFAULT, Limits, damaged

Records = list[tuple[str, bytes]]


def read(stream: Readable, limits: Limits = DEFAULT) -> Iterator[Entry]:
    """The entries of an uncompressed archive, in order. Each entry's data is to be read before the next is asked for.
    Raises Damaged for what is no tar archive, ends too early, or goes over a limit. Reads on to the end mark only;
    the caller drains the stream when it wants the digest of all of it."""
    source = Source(stream)
    extended = _Extended(source, limits)
    count = data = logical = 0
    while True:
        block = _next_header(source, first=not count and not extended.seen)
        if block is None:
            return
        kind, entry = header.parse(block)
        if kind in b"xgLK":
            extended.take(kind, entry)
            continue
        _complete(block, kind, entry, extended, source, limits)
        count += 1
        data += entry.stored
        logical += entry.size
        if count > limits.entries or data > limits.data or logical > limits.logical:
            raise damaged("the archive is larger than allowed", entry.name)
        entry.attach(source)
        yield entry
        entry.finish()


def _next_header(source: Source, *, first: bool) -> bytes | None:
    """The next header block, None at the end mark (one zero block is enough) or at a clean end of the stream."""
    block = source.read(BLOCK_SIZE)
    if not block and not first:
        return None  # some writers leave the end mark out
    if len(block) < BLOCK_SIZE:
        raise damaged("this is no tar archive" if first else "the archive ends inside a header")
    if block == header.ZEROS:
        return None
    if not header.is_valid(block):
        raise damaged("this is no tar archive" if first else "a header has a wrong checksum")
    return block


def _complete(block: bytes, kind: bytes, entry: Entry, extended: _Extended, source: Source, limits: Limits) -> None:
    """Put together what header, long names, pax records and sparse map say about one entry."""
    records = extended.apply(entry)
    if kind in b"0\0" and entry.name.endswith(b"/"):
        entry.kind = DIRECTORY  # tar before POSIX knew no directory type
    if entry.kind != FILE:
        entry.size = entry.stored = 0  # whatever the size of a link, device or directory says, no data follows
    if entry.size < 0 or not 0 <= entry.uid <= header.MAX_ID or not 0 <= entry.gid <= header.MAX_ID:
        raise damaged("a size or an owner is out of range", entry.name)
    if kind == b"S":
        sparse.old(block, entry, source, limits)
    elif records and entry.kind == FILE:
        sparse.from_pax(records, entry, source, limits)
    if len(entry.name) > limits.name or len(entry.link) > limits.name:
        raise damaged("a name is too long", entry.name)
    if not entry.name:
        raise damaged("an entry has no name")


class _Extended:
    """Extended headers seen since the last entry, and the global ones since the beginning."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.seen = False
        self._source = source
        self._limits = limits
        self._total = 0
        self._global: Records = []
        self._local: Records = []
        self._name = b""
        self._link = b""

    def take(self, kind: bytes, entry: Entry) -> None:
        """Read the data of one extended header."""
        self.seen = True
        size = entry.size
        self._total += max(size, 0) + BLOCK_SIZE
        if not 0 <= size <= self._limits.header or self._total > self._limits.headers:
            raise damaged(f"an extended header claims {size} bytes", entry.name)
        data = self._source.exactly(size + -size % BLOCK_SIZE)[:size]
        if kind == b"x":
            self._local = pax.parse(data, self._limits)
        elif kind == b"g":
            self._global = (self._global + pax.parse(data, self._limits))[-self._limits.records :]
        elif kind == b"L":
            self._name = header.text(data)
        else:
            self._link = header.text(data)

    def apply(self, entry: Entry) -> Records:
        """Overrule the entry, forget what was for it alone, return the records that held."""
        if self._name:
            entry.name = self._name
        if self._link:
            entry.link = self._link
        records = self._global + self._local
        if records:
            pax.apply(records, entry)
        self._local, self._name, self._link = [], b"", b""
        return records
