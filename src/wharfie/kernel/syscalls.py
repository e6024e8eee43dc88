"""The door to the kernel: raw system calls by number, for what the os module does not offer.

Two handles on one libc. `libc` lets other threads run during a call (the engine's threads use walk and xattrs).
`held` keeps the interpreter lock: clone3 needs it, since the child of a raw clone owns no lock that another
thread would have to give back.

Numbers from include/uapi/asm-generic/unistd.h and arch/x86/entry/syscalls/syscall_64.tbl; from 424 (5.1) on they are
the same on every architecture.
"""

from __future__ import annotations

import ctypes
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Argument = Any  # int, bytes, None, a ctypes buffer or byref()

MACHINE = os.uname().machine
_X86 = MACHINE == "x86_64"

NR_RT_SIGACTION = 13 if _X86 else 134
NR_CLONE = 56 if _X86 else 220
NR_PIVOT_ROOT = 155 if _X86 else 41
NR_CAPGET = 125 if _X86 else 90
NR_CAPSET = 126 if _X86 else 91
NR_PERSONALITY = 135 if _X86 else 92
NR_SIGNALFD4 = 289 if _X86 else 74
NR_SECCOMP = 317 if _X86 else 277
NR_BPF = 321 if _X86 else 280
NR_EXECVEAT = 322 if _X86 else 281
NR_PIDFD_SEND_SIGNAL = 424
NR_OPEN_TREE = 428
NR_MOVE_MOUNT = 429
NR_FSOPEN = 430
NR_FSCONFIG = 431
NR_FSMOUNT = 432
NR_FSPICK = 433
NR_PIDFD_OPEN = 434
NR_CLONE3 = 435
NR_CLOSE_RANGE = 436
NR_OPENAT2 = 437
NR_PIDFD_GETFD = 438
NR_MOUNT_SETATTR = 442

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_NO_AUTOMOUNT = 0x800
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

libc = ctypes.CDLL(None, use_errno=True)
held = ctypes.PyDLL(None, use_errno=True)

# c_void_p takes integers of either sign (extended to 64 bits), bytes, buffers, byref() and None alike.
_ARGUMENTS = [ctypes.c_long] + [ctypes.c_void_p] * 6
for _handle in (libc, held):
    _handle.syscall.argtypes = _ARGUMENTS
    _handle.syscall.restype = ctypes.c_long

_prctl = libc.prctl
_prctl.argtypes = [ctypes.c_int] + [ctypes.c_void_p] * 4
_prctl.restype = ctypes.c_int


def call(nr: int, *args: Argument, path: str | bytes | None = None) -> int:
    """The result of system call `nr`; EINTR is retried. Raises OSError with errno and, where given, the path."""
    a = (*args, 0, 0, 0, 0, 0, 0)[:6]
    while True:
        result: int = libc.syscall(nr, *a)
        if result >= 0:
            return result
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise error(number, path)


def call_held(nr: int, *args: Argument) -> int:
    """The same without letting go of the interpreter lock, and without a retry (clone3 must not run twice)."""
    result: int = held.syscall(nr, *(*args, 0, 0, 0, 0, 0, 0)[:6])
    if result < 0:
        raise error(ctypes.get_errno())
    return result


def error(number: int, path: str | bytes | None = None, detail: str = "") -> OSError:
    """The OSError (of the subclass that fits, as FileNotFoundError) for an errno."""
    text = f"{os.strerror(number)}: {detail}" if detail else os.strerror(number)
    return OSError(number, text, path) if path is not None else OSError(number, text)


def check(result: int, path: str | bytes | None = None) -> int:
    """`result` of a libc function that returns -1 and sets errno. Raises OSError."""
    if result < 0:
        raise error(ctypes.get_errno(), path)
    return result


def prctl(option: int, a: Argument = 0, b: Argument = 0, c: Argument = 0, d: Argument = 0) -> int:
    """prctl(2). Unused arguments are zero, as several options demand. Raises OSError."""
    return check(_prctl(option, a, b, c, d))
