"""Names in archives: cleaning, refusing, and the whiteouts of OCI layers.

    .wh.NAME         NAME of a lower layer is gone
    .wh..wh..opq     everything lower layers have in this directory is gone
    .wh..wh.*        aufs' own bookkeeping, to be skipped

(OCI image-spec, layer.md, "Whiteouts".)
"""

from __future__ import annotations

from .limits import DEFAULT, Limits, refused

PREFIX = b".wh."
OPAQUE = b".wh..wh..opq"
METADATA = b".wh..wh."
MAX_COMPONENT = 255


def clean(name: bytes, limits: Limits = DEFAULT) -> bytes:
    """The name relative to the root of the archive, without ".", doubled slashes and inner ".."; b"" is the root.
    A leading slash only means the root. Raises Invalid for a name that climbs out, holds NUL or is too deep."""
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not parts:
                raise refused("a name leads out of the archive", name)
            parts.pop()
            continue
        if len(part) > MAX_COMPONENT:
            raise refused("a part of a name is longer than 255 bytes", name)
        parts.append(part)
    if b"\0" in name:
        raise refused("a name holds a NUL byte", name)
    if len(parts) > limits.depth:
        raise refused("a name is too deep", name)
    return b"/".join(parts)


def split(name: bytes) -> tuple[bytes, bytes]:
    """(directory, last part) of a clean name."""
    directory, _, base = name.rpartition(b"/")
    return directory, base


def whited_out(base: bytes, name: bytes) -> bytes:
    """The name that a whiteout `.wh.NAME` hides. Raises Invalid when that is nothing, "." or ".."."""
    hidden = base[len(PREFIX) :]
    if hidden in (b"", b".", b".."):
        raise refused("a whiteout hides no ordinary name", name)
    return hidden
