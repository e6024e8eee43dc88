"""Files with holes: the four GNU ways to say which pieces are present (GNU tar manual, "Storing Sparse Files").

    old     type S: four (offset, length) pairs in the header, more in blocks that follow
    0.0     pax GNU.sparse.offset / .numbytes, repeated
    0.1     pax GNU.sparse.map "offset,length,…" and GNU.sparse.name
    1.0     pax GNU.sparse.major=1: the map is decimal lines at the front of the data
"""

from __future__ import annotations

from . import header
from .entry import BLOCK_SIZE, Entry, Source
from .limits import Limits, damaged

Pieces = list[tuple[int, int]]


def old(block: bytes, entry: Entry, source: Source, limits: Limits) -> None:
    """Read the map of a type S entry, its extension blocks included."""
    pieces = _pairs(block[386:482], 4)
    more = block[482]
    while more:
        if len(pieces) > limits.holes:
            raise damaged("too many holes", entry.name)
        extension = source.exactly(BLOCK_SIZE, entry.name)
        pieces += _pairs(extension[:504], 21)
        more = extension[504]
    entry.holes = pieces
    entry.size = header.number(block[483:495])
    check(entry, limits)


def _pairs(data: bytes, count: int) -> Pieces:
    found = []
    for i in range(count):
        offset, length = data[i * 24 : i * 24 + 12], data[i * 24 + 12 : i * 24 + 24]
        if not length[0]:
            break
        found.append((header.number(offset), header.number(length)))
    return found


def from_pax(records: list[tuple[str, bytes]], entry: Entry, source: Source, limits: Limits) -> None:
    """Read the map of formats 0.0, 0.1 and 1.0, when the records say there is one. For 1.0 the map is taken from the
    front of the data."""
    told = {key: value for key, value in records if key.startswith("GNU.sparse.")}
    if not told:
        return
    if "GNU.sparse.name" in told:
        entry.name = told["GNU.sparse.name"]
    real = told.get("GNU.sparse.realsize") or told.get("GNU.sparse.size")
    if told.get("GNU.sparse.major") == b"1":
        entry.holes, taken = _leading_map(entry, source, limits)
        entry.stored -= taken
    elif "GNU.sparse.map" in told:
        entry.holes = _flat([_number(t) for t in told["GNU.sparse.map"].split(b",") if t])
    else:
        flat = [_number(value) for key, value in records if key in ("GNU.sparse.offset", "GNU.sparse.numbytes")]
        entry.holes = _flat(flat) if flat or "GNU.sparse.numblocks" in told else None
    if entry.holes is not None:
        if real is None:
            raise damaged("a sparse file without its size", entry.name)
        entry.size = _number(real)
        check(entry, limits)


def _leading_map(entry: Entry, source: Source, limits: Limits) -> tuple[Pieces, int]:
    """The map at the front of the data and the whole blocks it fills."""
    held, taken = b"", 0
    numbers: list[int] = []
    wanted: int | None = None
    while wanted is None or len(numbers) < wanted:
        if taken >= entry.stored:
            raise damaged("the sparse map is longer than the entry", entry.name)
        held += source.exactly(BLOCK_SIZE, entry.name)
        taken += BLOCK_SIZE
        *lines, held = held.split(b"\n")
        for line in lines:
            value = _number(line)
            if wanted is None:
                if value > limits.holes:
                    raise damaged("too many holes", entry.name)
                wanted = value * 2
            elif len(numbers) < wanted:
                numbers.append(value)
            else:
                break
    return _flat(numbers), taken


def _flat(numbers: list[int]) -> Pieces:
    if len(numbers) % 2:
        raise damaged("a sparse map has an odd length")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _number(value: bytes) -> int:
    if not value.isdigit() or len(value) > 19:
        raise damaged("a sparse map holds something that is no number")
    return int(value)


def check(entry: Entry, limits: Limits) -> None:
    """The pieces are in order, apart, inside the file, and all there. Raises Damaged."""
    pieces = entry.holes or []
    if len(pieces) > limits.holes:
        raise damaged("too many holes", entry.name)
    end = total = 0
    for offset, length in pieces:
        if offset < end or length < 0:
            raise damaged("a sparse map is out of order", entry.name)
        end = offset + length
        total += length
    if end > entry.size or total != entry.stored:
        raise damaged("a sparse map does not fit its file", entry.name)
