"""The 512-byte header block: POSIX ustar and GNU's variants (pax(1); tar.h; GNU tar manual, "Basic Tar Format").

    0 name 100 | 100 mode 8 | 108 uid 8 | 116 gid 8 | 124 size 12 | 136 mtime 12 | 148 checksum 8 | 156 type 1
    157 link 100 | 257 magic 6 | 263 version 2 | 265 uname 32
    297 gname 32 | 329 major 8 | 337 minor 8 | 345 prefix 155

Numbers are octal text, or base 256 when the top bit of the first byte is set (GNU; 0xff begins a negative one).
"""

from __future__ import annotations

from wharfie.base import errors

from .entry import BLOCK, BLOCK_SIZE, CHAR, DIRECTORY, FIFO, FILE, LINK, SYMLINK, Entry
from .limits import damaged

ZEROS = bytes(BLOCK_SIZE)
KINDS = {
    b"0": FILE, b"\0": FILE, b"7": FILE, b"S": FILE, b"1": LINK, b"2": SYMLINK, b"3": CHAR, b"4": BLOCK,
    b"5": DIRECTORY, b"6": FIFO, b"D": DIRECTORY,
}
TYPES = {FILE: b"0", LINK: b"1", SYMLINK: b"2", CHAR: b"3", BLOCK: b"4", DIRECTORY: b"5", FIFO: b"6"}
MAX_ID = 0xFFFFFFFE


def number(field: bytes) -> int:
    """The number in a header field. Raises Damaged."""
    first = field[0]
    if first & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (len(field) * 8 - 1)) - 1)
        if first & 0x40:
            value -= 1 << (len(field) * 8 - 1)
        if not -(1 << 63) <= value < 1 << 63:
            raise damaged("a number in a header is out of range")
        return value
    text = field.split(b"\0", 1)[0].strip(b" ")
    if not text:
        return 0
    if text.strip(b"01234567"):
        raise damaged("a header field is no octal number")
    return int(text, 8)


def octal(value: int, width: int) -> bytes:
    """A field of `width` bytes: octal when it fits, else base 256."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return (value & ((1 << (width * 8)) - 1) | (1 << (width * 8 - 1))).to_bytes(width, "big")


def is_valid(block: bytes) -> bool:
    """Whether the checksum fits: unsigned as POSIX says, or signed as old Sun tars wrote it."""
    try:
        stored = number(block[148:156])
    except errors.Damaged:
        return False
    unsigned = sum(block) - sum(block[148:156]) + 256
    if stored == unsigned:
        return True
    high = sum(1 for b in block[:148] + block[156:] if b & 0x80)
    return stored == unsigned - 256 * high


def text(field: bytes) -> bytes:
    """A NUL-terminated field."""
    return field.split(b"\0", 1)[0]


def parse(block: bytes) -> tuple[bytes, Entry]:
    """(type byte, entry) of a valid header block. Of an extended header only the size is meaningful. Raises Damaged."""
    kind = block[156:157]
    name = text(block[:100])
    magic = block[257:265]
    if magic == b"ustar\x0000" or magic[:6] == b"ustar\0":
        prefix = text(block[345:500])
        if prefix and kind not in b"xgLKS":
            name = prefix + b"/" + name
    entry = Entry(
        name, KINDS.get(kind, FILE), mode=number(block[100:108]) & 0o7777, uid=number(block[108:116]),
        gid=number(block[116:124]), size=number(block[124:136]), mtime=number(block[136:148]) * 10**9,
        link=text(block[157:257]),
    )
    if kind in (b"3", b"4"):
        entry.device = number(block[329:337]), number(block[337:345])
    return kind, entry


def build(name: bytes, kind: bytes, *, mode: int = 0o644, uid: int = 0, gid: int = 0, size: int = 0, mtime: int = 0,
          link: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """A ustar header block. What does not fit has been put into pax records before; here it is cut."""
    block = bytearray(BLOCK_SIZE)
    block[0 : min(len(name), 100)] = name[:100]
    block[100:108] = octal(mode & 0o7777, 8)
    block[108:116] = octal(uid if uid < 8**7 else 0, 8)
    block[116:124] = octal(gid if gid < 8**7 else 0, 8)
    block[124:136] = octal(size if size < 8**11 else 0, 12)
    block[136:148] = octal(mtime if 0 <= mtime < 8**11 else 0, 12)
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[157 : 157 + min(len(link), 100)] = link[:100]
    block[257:265] = b"ustar\x0000"
    block[329:337] = octal(device[0], 8)
    block[337:345] = octal(device[1], 8)
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
