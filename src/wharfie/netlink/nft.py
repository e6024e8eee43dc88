"""nf_tables messages (linux/netfilter/nf_tables.h) for one atomic batch. Pure.

An idempotent rebuild is `table, delete_table, table, …` in one batch: the first line makes the second possible, and the
kernel swaps old for new at the commit.

Known traps: a concatenated key is made of fields padded to four bytes, and NFT_SET_CONCAT without field descriptions is
EINVAL, so the flag is left out; without the byte order in a set's user data `nft list` prints interface names as "".
"""

from __future__ import annotations

import struct

from wharfie.base.value import Value

from . import wire
from .expr import be32, value, verdict
from .wire import Message, attr, nest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SUBSYSTEM = 10
BATCH_BEGIN, BATCH_END = 0x10, 0x11
_NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _GETCHAIN, _DELCHAIN, _NEWRULE, _GETRULE, _DELRULE = range(9)
_NEWSET, _GETSET, _DELSET, _NEWELEM, _GETELEM, _DELELEM = range(9, 15)

INET, IPV4, IPV6 = 1, 2, 10
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)

# Data types as the nft program numbers them (its own convention; the kernel only carries them).
TYPE_ADDRESS, TYPE_PROTOCOL, TYPE_PORT, TYPE_INTERFACE = 7, 12, 13, 41
TYPE_VERDICT = 0xFFFFFF00
_MAP = 8
# One element of a map takes about 80 bytes of the 65,531 an attribute can hold.
_ELEMENTS_PER_MESSAGE = 400


class Chain(Value):
    """A chain as the kernel tells it. `hook` is -1 for one that is only jumped to; policy 0 is drop."""

    family: int
    table: str
    name: str
    kind: str
    hook: int
    policy: int


class Rule(Value):
    """A rule as the kernel tells it: enough to find and delete it again."""

    family: int
    table: str
    chain: str
    handle: int
    comment: str


def concat(*types: int) -> int:
    """The number of a concatenated type."""
    made = 0
    for kind in types:
        made = made << 6 | kind
    return made


def _message(kind: int, family: int, body: bytes, flags: int, what: str) -> Message:
    return Message(SUBSYSTEM << 8 | kind, struct.pack(">BBH", family, 0, 0) + body, flags, what)


def batch_edge(kind: int) -> Message:
    """BATCH_BEGIN or BATCH_END, naming the subsystem."""
    return Message(kind, struct.pack(">BBH", 0, 0, SUBSYSTEM), 0, "nft batch")


def _comment(words: str) -> bytes:
    raw = words.encode()[:126] + b"\0"
    return bytes((0, len(raw))) + raw


def table(family: int, name: str, comment: str = "") -> Message:
    """The table exists afterwards; no error when it did before."""
    body = attr(1, name) + (attr(6, _comment(comment)) if comment else b"")
    return _message(_NEWTABLE, family, body, wire.CREATE, f"add table {name}")


def delete_table(family: int, name: str) -> Message:
    """With all that is in it. ENOENT when there is none."""
    return _message(_DELTABLE, family, attr(1, name), 0, f"delete table {name}")


def chain(family: int, in_table: str, name: str) -> Message:
    """A chain to jump to."""
    return _message(_NEWCHAIN, family, attr(1, in_table) + attr(3, name), wire.CREATE, f"add chain {name}")


def base_chain(
    family: int, in_table: str, name: str, kind: str, hook: int, priority: int, *, drop: bool = False
) -> Message:
    """A chain the kernel enters by itself; `kind` is filter or nat."""
    at = nest(4, be32(1, hook), attr(2, struct.pack(">i", priority)))
    body = attr(1, in_table) + attr(3, name) + at + be32(5, 0 if drop else 1) + attr(7, kind)
    return _message(_NEWCHAIN, family, body, wire.CREATE, f"add base chain {name}")


def rule(
    family: int, in_table: str, in_chain: str, *expressions: bytes, comment: str = "", first: bool = False
) -> Message:
    """Append a rule, or put it first. Each of `expressions` is one or several encoded expressions."""
    body = attr(1, in_table) + attr(2, in_chain) + nest(4, *expressions)
    if comment:
        body += attr(7, _comment(comment))
    flags = wire.CREATE | (0 if first else wire.APPEND)
    return _message(_NEWRULE, family, body, flags, f"add rule {comment or '?'} to {in_table} {in_chain}")


def delete_rule(family: int, in_table: str, in_chain: str, handle: int) -> Message:
    body = attr(1, in_table) + attr(2, in_chain) + attr(3, struct.pack(">Q", handle))
    return _message(_DELRULE, family, body, 0, f"delete rule {handle} of {in_table} {in_chain}")


def set_(
    family: int, in_table: str, name: str, set_id: int, key: tuple[int, int], data: tuple[int, int] | None = None
) -> Message:
    """A set, or with `data` a map. `key` and `data` are (type number, length in bytes); rules of the same batch refer
    to it by `set_id`."""
    byte_order = b"\0\4" + struct.pack("=I", 1 if key[0] == TYPE_INTERFACE else 2)
    body = attr(1, in_table) + attr(2, name) + be32(3, _MAP if data else 0) + be32(4, key[0]) + be32(5, key[1])
    if data:
        body += be32(6, data[0]) + (be32(7, data[1]) if data[0] != TYPE_VERDICT else b"")
    body += be32(10, set_id) + attr(13, byte_order)
    return _message(_NEWSET, family, body, wire.CREATE, f"add set {name}")


def element(key: bytes, data: bytes | None = None) -> bytes:
    """An element of a set or map."""
    return nest(1, value(1, key), *([value(2, data)] if data is not None else []))


def verdict_element(key: bytes, code: int, to_chain: str = "") -> bytes:
    """An element of a verdict map."""
    return nest(1, value(1, key), verdict(2, code, to_chain))


def add_elements(family: int, in_table: str, in_set: str, elements: Iterable[bytes]) -> Iterator[Message]:
    """Add elements, in as many messages as they need. The same element again is accepted, the same key with another
    value is EEXIST."""
    return _elements(_NEWELEM, wire.CREATE, "add to", family, (in_table, in_set), list(elements))


def delete_elements(family: int, in_table: str, in_set: str, elements: Iterable[bytes]) -> Iterator[Message]:
    """Delete elements; ENOENT, and nothing deleted, when one of them is missing."""
    return _elements(_DELELEM, 0, "delete from", family, (in_table, in_set), list(elements))


def _elements(
    kind: int, flags: int, verb: str, family: int, where: tuple[str, str], elements: list[bytes]
) -> Iterator[Message]:
    for at in range(0, len(elements), _ELEMENTS_PER_MESSAGE):
        part = elements[at : at + _ELEMENTS_PER_MESSAGE]
        body = attr(1, where[0]) + attr(2, where[1]) + nest(3, *part)
        yield _message(kind, family, body, flags, f"{verb} set {where[1]}")


def dump_tables(family: int = 0) -> Message:
    return _message(_GETTABLE, family, b"", 0, "list tables")


def dump_chains(family: int = 0) -> Message:
    return _message(_GETCHAIN, family, b"", 0, "list chains")


def dump_rules(family: int = 0) -> Message:
    return _message(_GETRULE, family, b"", 0, "list rules")


def dump_sets(family: int = 0) -> Message:
    return _message(_GETSET, family, b"", 0, "list sets")


def dump_elements(family: int, in_table: str, in_set: str) -> Message:
    return _message(_GETELEM, family, attr(1, in_table) + attr(2, in_set), 0, f"list set {in_set}")


def parse_table(body: bytes) -> tuple[int, str]:
    """(family, name)."""
    return body[0], wire.text(wire.attrs(body, 4).get(1, b""))


def parse_set(body: bytes) -> tuple[int, str, str]:
    """(family, table, name) of a set or map."""
    found = wire.attrs(body, 4)
    return body[0], wire.text(found.get(1, b"")), wire.text(found.get(2, b""))


def parse_chain(body: bytes) -> Chain:
    found = wire.attrs(body, 4)
    hook = wire.attrs(found[4]) if 4 in found else {}
    number = struct.unpack(">I", hook[1])[0] if 1 in hook else -1
    policy = struct.unpack(">I", found[5])[0] if 5 in found else 1
    return Chain(body[0], wire.text(found[1]), wire.text(found[3]), wire.text(found.get(7, b"")), number, policy)


def parse_rule(body: bytes) -> Rule:
    found = wire.attrs(body, 4)
    noted, words = found.get(7, b""), ""
    if len(noted) >= 2 and noted[0] == 0:
        words = wire.text(noted[2 : 2 + noted[1]])
    return Rule(body[0], wire.text(found[1]), wire.text(found[2]), struct.unpack(">Q", found[3])[0], words)


def parse_elements(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(key, data) of each element; data is empty for sets and for verdicts."""
    for kind, raw in wire.items(wire.attrs(body, 4).get(3, b"")):
        if kind != 1:
            continue
        found = wire.attrs(raw)
        data = wire.attrs(found.get(2, b"")).get(1, b"")
        yield wire.attrs(found.get(1, b"")).get(1, b""), data
