"""Extended attributes of things held by fd. O_PATH descriptors (openat2 walks, fsmount, open_tree) are refused by the
f*xattr calls, so the call goes by /proc/self/fd/<n>, which names exactly the thing held (links too)."""

from __future__ import annotations

import errno
import os

_NONE = (errno.ENODATA, errno.EOPNOTSUPP)


def _name(fd: int) -> str:
    return f"/proc/self/fd/{fd}"


def get(fd: int, attribute: str) -> bytes | None:
    """The value, or None when it has none (or the file system knows none). Raises OSError."""
    try:
        return os.getxattr(_name(fd), attribute)
    except OSError as failed:
        if failed.errno in _NONE:
            return None
        raise


def set(fd: int, attribute: str, value: bytes) -> None:
    """Raises OSError: EPERM for trusted.* in a user namespace, EOPNOTSUPP where the file system has none."""
    os.setxattr(_name(fd), attribute, value)


def remove(fd: int, attribute: str) -> None:
    """Nothing there is fine. Raises OSError."""
    try:
        os.removexattr(_name(fd), attribute)
    except OSError as failed:
        if failed.errno not in _NONE:
            raise


def names(fd: int) -> list[str]:
    """All attributes this process may see. Raises OSError."""
    try:
        return os.listxattr(_name(fd))
    except OSError as failed:
        if failed.errno in _NONE:
            return []
        raise
