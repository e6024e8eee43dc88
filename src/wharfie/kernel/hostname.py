"""The names of a UTS namespace."""

from __future__ import annotations

import ctypes

from .syscalls import check, libc

libc.sethostname.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
libc.setdomainname.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def sethostname(name: str) -> None:
    """sethostname(2), at most 64 bytes. Raises OSError: EPERM, EINVAL when too long."""
    raw = name.encode()
    check(libc.sethostname(raw, len(raw)))


def setdomainname(name: str) -> None:
    """setdomainname(2), the NIS domain; at most 64 bytes. Raises OSError."""
    raw = name.encode()
    check(libc.setdomainname(raw, len(raw)))
