"""The netlink envelope (netlink(7)): a header of 16 bytes, then a fixed part, then attributes padded to four bytes.

No I/O. All numbers of the envelope are in host byte order.
"""

from __future__ import annotations

import os
import struct

from wharfie.base.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")
_ATTR = struct.Struct("=HH")
_INT = struct.Struct("=i")

# Header flags.
REQUEST, MULTI, ACK, DUMP_INTERRUPTED = 0x1, 0x2, 0x4, 0x10
DUMP = 0x300
REPLACE, EXCL, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800
CAPPED, ACK_TLVS = 0x100, 0x200
# Kinds below 16 belong to the envelope itself.
ERROR, DONE = 2, 3

NESTED = 0x8000
_KIND_MASK = 0x3FFF


class Message(Value):
    """One request: `kind` as the protocol numbers it, the body after the header, header flags beside REQUEST and ACK,
    and what it is for ("add link wharfie0"), which an error repeats."""

    kind: int
    body: bytes
    flags: int = 0
    what: str = ""


class Reply(Value):
    """One message from the kernel."""

    kind: int
    flags: int
    seq: int
    body: bytes


class NetlinkError(OSError):
    """The kernel refused a message. `message` is the request, `errno` and the text are the kernel's, its extended
    acknowledgement (the reason in words) included."""

    def __init__(self, errno: int, reason: str, message: Message) -> None:
        said = os.strerror(errno) + (f": {reason}" if reason else "")
        super().__init__(errno, f"{message.what or 'netlink message'}: {said}")
        self.reason = reason
        self.message = message


def attr(kind: int, value: bytes | int | str) -> bytes:
    """One attribute, padded. An int becomes 32 bits in host order, a text gets its closing NUL."""
    if isinstance(value, int):
        value = struct.pack("=I", value)
    elif isinstance(value, str):
        value = value.encode() + b"\0"
    size = len(value)
    return _ATTR.pack(size + 4, kind) + value + b"\0" * (-size % 4)


def nest(kind: int, *parts: bytes) -> bytes:
    """An attribute made of attributes, marked as nested. Raises ValueError above 65,531 bytes (the length has 16 bits;
    a longer one would be cut silently)."""
    inner = b"".join(parts)
    if len(inner) > 0xFFFF - 4:
        raise ValueError(f"nested attribute of {len(inner)} bytes; 65531 are possible")
    return _ATTR.pack(len(inner) + 4, kind | NESTED) + inner


def items(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Attributes from `offset` on as (kind without flags, value); stops at the first damaged one."""
    end = len(data)
    while offset + 4 <= end:
        size, kind = _ATTR.unpack_from(data, offset)
        if size < 4 or offset + size > end:
            return
        yield kind & _KIND_MASK, data[offset + 4 : offset + size]
        offset += (size + 3) & ~3


def attrs(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Attributes by kind; of repeated ones the last."""
    return dict(items(data, offset))


def text(value: bytes) -> str:
    """A NUL-terminated text attribute."""
    return value.split(b"\0", 1)[0].decode("utf-8", "replace")


def encode(message: Message, seq: int, flags: int = 0) -> bytes:
    """The message with its header."""
    header = HEADER.pack(HEADER.size + len(message.body), message.kind, REQUEST | message.flags | flags, seq, 0)
    return header + message.body + b"\0" * (-len(message.body) % 4)


def split(data: bytes) -> Iterator[Reply]:
    """The messages in one received buffer."""
    offset, end = 0, len(data)
    while offset + HEADER.size <= end:
        size, kind, flags, seq, _port = HEADER.unpack_from(data, offset)
        if size < HEADER.size or offset + size > end:
            return
        yield Reply(kind, flags, seq, data[offset + HEADER.size : offset + size])
        offset += (size + 3) & ~3


def verdict(reply: Reply) -> tuple[int, str]:
    """Error number (0 for a plain acknowledgement) and the kernel's reason in words, of an ERROR or DONE reply."""
    if len(reply.body) < 4:
        return 0, ""
    code: int = _INT.unpack_from(reply.body)[0]
    if reply.kind != ERROR or not reply.flags & ACK_TLVS:
        return -code, ""
    start = 4 + HEADER.size
    if not reply.flags & CAPPED:
        start = 4 + ((HEADER.unpack_from(reply.body, 4)[0] + 3) & ~3)
    return -code, text(attrs(reply.body, start).get(1, b""))
