"""Files that are either old or new, never half: write under a temporary name, fsync, rename, fsync the directory.

rename(2) is durable only after fsync of the directory. Run directories live on tmpfs, where syncing is pointless;
callers there pass durable=False. A file that is bind-mounted into a container (/etc/hosts) must keep its inode: use
`rewrite` for those.
"""

from __future__ import annotations

import os


def write(path: str | os.PathLike[str], data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace the file at `path` by `data` in one step. Raises OSError; on error the old file stays and no temporary
    file is left."""
    target = os.fspath(path)
    temporary = f"{target}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            _write_all(fd, data)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, target)
    except BaseException:
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
        raise
    if durable:
        sync_directory(os.path.dirname(target) or ".")


def rewrite(path: str | os.PathLike[str], data: bytes, *, mode: int = 0o644) -> None:
    """Replace the content and keep the inode, for files that are bind-mounted somewhere."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        _write_all(fd, data)
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
