"""Anonymous files in memory (memfd_create(2)), and seals that make one unchangeable for good."""

from __future__ import annotations

import errno
import fcntl
import os

F_ADD_SEALS = 1033
F_GET_SEALS = 1034
SEAL_SEAL, SEAL_SHRINK, SEAL_GROW, SEAL_WRITE = 1, 2, 4, 8
ALL_SEALS = SEAL_SEAL | SEAL_SHRINK | SEAL_GROW | SEAL_WRITE
MFD_EXEC = 0x10


def create(name: str, *, executable: bool = False) -> int:
    """A new sealable memfd, close-on-exec. `executable` asks for MFD_EXEC where the kernel knows it (6.3). Raises
    OSError: EACCES under vm.memfd_noexec=2."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    if executable:
        try:
            return os.memfd_create(name, flags | MFD_EXEC)
        except OSError as failed:
            if failed.errno != errno.EINVAL:
                raise
    return os.memfd_create(name, flags)


def seal(fd: int) -> None:
    """No more writing, growing, shrinking or unsealing, by anybody. Raises OSError EBUSY while mapped writable."""
    fcntl.fcntl(fd, F_ADD_SEALS, ALL_SEALS)


def is_sealed(fd: int) -> bool:
    """Whether all seals are on; False for what is no memfd."""
    try:
        return int(fcntl.fcntl(fd, F_GET_SEALS)) & ALL_SEALS == ALL_SEALS
    except OSError:
        return False


def copy(path: str, name: str) -> int:
    """A sealed executable copy of a file. Raises OSError."""
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fd = create(name, executable=True)
        try:
            size = os.fstat(source).st_size
            offset = 0
            while offset < size:
                sent = os.sendfile(fd, source, offset, size - offset)
                if sent == 0:
                    raise OSError(errno.EIO, "the file became shorter while it was copied", path)
                offset += sent
            os.fchmod(fd, 0o555)
            seal(fd)
        except OSError:
            os.close(fd)
            raise
        return fd
    finally:
        os.close(source)
