"""Extended headers: pax records `LENGTH KEY=VALUE\\n` (pax(1), "pax Extended Header"), where LENGTH counts itself."""

from __future__ import annotations

from .entry import Entry
from .limits import Limits, damaged

XATTR = "SCHILY.xattr."
LIBARCHIVE_XATTR = "LIBARCHIVE.xattr."
_SPARSE = "GNU.sparse."


def parse(data: bytes, limits: Limits) -> list[tuple[str, bytes]]:
    """The records in order (GNU.sparse 0.0 repeats keys). Raises Damaged."""
    records: list[tuple[str, bytes]] = []
    at = 0
    while at < len(data) and data[at]:
        space = data.find(b" ", at, at + 20)
        digits = data[at:space] if space > 0 else b""
        if not digits.isdigit():
            raise damaged("a pax record has no length")
        end = at + int(digits)
        if end <= space or end > len(data) or data[end - 1 : end] != b"\n":
            raise damaged("a pax record has a wrong length")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise damaged("a pax record has no key")
        records.append((key.decode("utf-8", "surrogateescape"), value))
        if len(records) > limits.records:
            raise damaged(f"more than {limits.records} pax records")
        at = end
    return records


def encode(records: list[tuple[str, bytes]]) -> bytes:
    """The records as bytes, in the order given."""
    out = []
    for key, value in records:
        body = b" " + key.encode("utf-8", "surrogateescape") + b"=" + value + b"\n"
        length = len(body) + 1
        while len(b"%d" % length) + len(body) != length:
            length = len(b"%d" % length) + len(body)
        out.append(b"%d" % length + body)
    return b"".join(out)


def apply(records: list[tuple[str, bytes]], entry: Entry) -> None:
    """Let the records overrule the header: path, linkpath, size, ids, mtime, xattrs. Raises Damaged."""
    for key, value in records:
        if key.startswith(XATTR):
            entry.xattrs[key[len(XATTR) :]] = value
        elif key == "path":
            entry.name = value
        elif key == "linkpath":
            entry.link = value
        elif key == "size":
            entry.size = entry.stored = _whole(key, value)
        elif key == "uid":
            entry.uid = _whole(key, value)
        elif key == "gid":
            entry.gid = _whole(key, value)
        elif key == "mtime":
            entry.mtime = nanoseconds(value)
        elif key.startswith(_SPARSE):
            entry.pax[key] = value
        if b"\0" in value and key in ("path", "linkpath"):
            raise damaged("a pax name holds a NUL byte")


def _whole(key: str, value: bytes) -> int:
    if not value.isdigit() or len(value) > 20:
        raise damaged(f"pax record {key} is no number")
    return int(value)


def nanoseconds(value: bytes) -> int:
    """Seconds with a decimal fraction, perhaps negative. Raises Damaged."""
    whole, _, fraction = value.partition(b".")
    sign = -1 if whole[:1] == b"-" else 1
    digits = whole.lstrip(b"-")
    if not digits.isdigit() or len(digits) > 18 or (fraction and not fraction.isdigit()):
        raise damaged("a pax time is no number")
    return sign * (int(digits) * 10**9 + int((fraction + b"000000000")[:9]))


def seconds(ns: int) -> bytes:
    """The inverse of `nanoseconds`, without trailing zeros."""
    sign, ns = (b"-", -ns) if ns < 0 else (b"", ns)
    whole, fraction = divmod(ns, 10**9)
    return sign + (b"%d.%09d" % (whole, fraction)).rstrip(b"0").rstrip(b".")
