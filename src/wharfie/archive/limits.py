"""What one archive may cost. Everything an archive claims is compared with these before memory or disk is spent."""

from __future__ import annotations

from wharfie.base import errors
from wharfie.base.value import Value


class Limits(Value):
    """Bounds of one archive. `header` bounds each extended header (pax records, a GNU long name), `headers` their sum;
    `data` the bytes really present in the archive; `logical` the size of all files with their holes."""

    entries: int = 4_000_000
    header: int = 1 << 20
    headers: int = 256 << 20
    records: int = 4096
    name: int = 4095
    depth: int = 1024
    holes: int = 1 << 20
    data: int = 1 << 42
    logical: int = 1 << 44


DEFAULT = Limits()


def damaged(text: str, name: bytes = b"") -> errors.Damaged:
    """The error for bytes that are no tar archive, or no longer one."""
    return errors.Damaged(f"archive: {text}" + (f": {show(name)}" if name else ""), name=show(name))


def refused(text: str, name: bytes) -> errors.Invalid:
    """The error for an entry that is well-formed and that we do not accept."""
    return errors.Invalid(f"archive: {text}: {show(name)}", name=show(name))


def show(name: bytes) -> str:
    """A name for a message: printable, at most 200 characters."""
    text = name[:200].decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text) + ("…" if len(name) > 200 else "")
