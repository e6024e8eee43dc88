"""Descriptors: splice between them, pipe sizes, flags, what is open."""

from __future__ import annotations

import ctypes
import fcntl
import os

from .syscalls import check, libc

libc.syncfs.argtypes = [ctypes.c_int]

F_SETPIPE_SZ = 1031
F_GETPIPE_SZ = 1032
SPLICE_F_MOVE = 1
SPLICE_F_NONBLOCK = 2
SPLICE_F_MORE = 4


def splice(source: int, target: int, count: int, flags: int = SPLICE_F_MOVE | SPLICE_F_NONBLOCK) -> int:
    """splice(2): bytes moved inside the kernel, one side being a pipe; 0 is the end of `source`. Raises OSError,
    BlockingIOError when either side is not ready."""
    return os.splice(source, target, count, flags=flags)


def set_pipe_size(fd: int, size: int) -> int:
    """The size the pipe has afterwards: the kernel rounds up, and refuses ordinary users above
    /proc/sys/fs/pipe-max-size, which leaves the pipe as it was."""
    try:
        return int(fcntl.fcntl(fd, F_SETPIPE_SZ, size))
    except PermissionError:
        return int(fcntl.fcntl(fd, F_GETPIPE_SZ))


def pipe_size(fd: int) -> int:
    """How many bytes the pipe holds."""
    return int(fcntl.fcntl(fd, F_GETPIPE_SZ))


def set_cloexec(fd: int, close: bool = True) -> None:
    """Whether execve closes it."""
    os.set_inheritable(fd, not close)


def syncfs(fd: int) -> None:
    """syncfs(2): everything of the file system behind `fd` is on the disk when it returns. Raises OSError, among them
    an earlier failed write-back."""
    check(libc.syncfs(fd))


def open_fds() -> list[int]:
    """What this process has open, in order, without the descriptor used to look."""
    fd = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return sorted(n for n in map(int, os.listdir(fd)) if n != fd and _is_open(n))
    finally:
        os.close(fd)


def _is_open(fd: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        return False
    return True


def reopen(fd: int, flags: int) -> int:
    """Open anew, by /proc/self/fd, what an (O_PATH) descriptor holds: the same thing, whatever its path means by now.
    Raises OSError."""
    return os.open(f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC)


def same(a: int, b: int) -> bool:
    """Whether two descriptors hold the same file."""
    one, other = os.fstat(a), os.fstat(b)
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
