"""Path work below a root that belongs to somebody else: openat2(2) and held directory fds, never a path twice.

A container may swap any component of a path at any moment for a symbolic link. So the kernel resolves the path
(RESOLVE_IN_ROOT: absolute links and ".." stay inside) and everything afterwards is done on the fd that came out.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from .syscalls import NR_OPENAT2, call, error

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
RESOLVE_CACHED = 0x20

IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS

_OPEN_HOW = struct.Struct("=3Q")
_MAX_LINKS = 40  # the kernel's own MAXSYMLINKS
_RETRIES = 128
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_CREATING = os.O_CREAT | getattr(os, "O_TMPFILE", 0) & ~os.O_DIRECTORY


def openat2(dirfd: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2), always close-on-exec. Raises OSError: EXDEV or ELOOP when `resolve` forbids the path, EAGAIN when
    somebody renamed below it meanwhile."""
    how = _OPEN_HOW.pack((flags | os.O_CLOEXEC) & 0xFFFFFFFF, mode if flags & _CREATING else 0, resolve)
    return call(NR_OPENAT2, dirfd, os.fsencode(path), how, len(how), path=path)


def open_in_root(rootfd: int, path: str | bytes, flags: int = os.O_PATH, mode: int = 0, resolve: int = 0) -> int:
    """Open `path` as a process chrooted into `rootfd` would, without magic links (/proc/*/fd/*). A concurrent rename
    makes the kernel answer EAGAIN: tried again a bounded number of times. Raises OSError."""
    for _ in range(_RETRIES):
        try:
            return openat2(rootfd, path or ".", flags, mode, resolve | IN_ROOT)
        except BlockingIOError:
            continue
    raise error(errno.EAGAIN, path)


def is_mountpoint(dirfd: int, name: str | bytes) -> bool:
    """Whether something is mounted on `name` in `dirfd`, in whatever mount namespace that directory was reached."""
    try:
        os.close(openat2(dirfd, name, os.O_PATH | os.O_NOFOLLOW, resolve=RESOLVE_NO_XDEV))
    except OSError as failed:
        return failed.errno == errno.EXDEV
    return False


def make_dirs(rootfd: int, path: str | bytes, mode: int = 0o755, uid: int = 0, gid: int = 0) -> int:
    """An O_PATH fd of the directory `path` inside the root; what is missing is made, owned and moded as given. What
    exists stays as it is. A symbolic link to nothing is followed (inside the root) and its target made, as the
    programs of an image expect of /var/run → /run. Raises OSError: NotADirectoryError, ELOOP, EINVAL for ".." below
    something that does not exist."""
    parent, missing = _settle(rootfd, path)
    try:
        for name in missing:
            below = _make_one(parent, name, mode, uid, gid)
            os.close(parent)
            parent = below
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            raise error(errno.ENOTDIR, path)
    except OSError:
        os.close(parent)
        raise
    return parent


def make_file(rootfd: int, path: str | bytes, mode: int = 0o644, uid: int = 0, gid: int = 0,
              dir_mode: int = 0o755) -> int:
    """An O_PATH fd of what is at `path` inside the root, made as an empty file, with its directories, if nothing is
    there: the place for a bind mount. Raises OSError."""
    parent, missing = _settle(rootfd, path)
    try:
        if not missing:
            return os.dup(parent)
        for name in missing[:-1]:
            below = _make_one(parent, name, dir_mode, uid, gid)
            os.close(parent)
            parent = below
        flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY | os.O_CLOEXEC
        fd = os.open(missing[-1], flags, mode, dir_fd=parent)
        try:
            os.fchmod(fd, mode)
            os.fchown(fd, uid, gid)
            return os.open(f"/proc/self/fd/{fd}", os.O_PATH | os.O_CLOEXEC)
        finally:
            os.close(fd)
    finally:
        os.close(parent)


def _settle(rootfd: int, given: str | bytes) -> tuple[int, list[str]]:
    """(fd of the deepest thing on the path that exists, the names below it that do not)."""
    path = os.fsdecode(given)
    for _ in range(_MAX_LINKS):
        parts = [p for p in path.split("/") if p and p != "."]
        for cut in range(len(parts), -1, -1):
            try:
                fd = open_in_root(rootfd, "/".join(parts[:cut]), os.O_PATH)
                break
            except FileNotFoundError:
                if cut == 0:
                    raise
        missing = parts[cut:]
        if not missing:
            return fd, []
        if ".." in missing:
            os.close(fd)
            raise error(errno.EINVAL, path, '".." below something that does not exist')
        link = _dangling(fd, missing[0])
        if link is None:
            return fd, missing
        os.close(fd)
        start = "" if link.startswith("/") else "/".join(parts[:cut])
        path = "/".join([start, link, *missing[1:]])
    raise error(errno.ELOOP, path)


def _dangling(fd: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=fd)
    except OSError as failed:
        if failed.errno in (errno.ENOENT, errno.EINVAL, errno.ENOTDIR):
            return None
        raise


def _make_one(parent: int, name: str, mode: int, uid: int, gid: int) -> int:
    """mkdir `name` in `parent` and hold it. If somebody was faster, his directory is taken as it is; a link is not."""
    try:
        os.mkdir(name, mode, dir_fd=parent)
    except FileExistsError:
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.fchmod(fd, mode)  # the umask does not count
        if (uid, gid) != (os.geteuid(), os.getegid()):
            os.fchown(fd, uid, gid)
        return os.open(".", _DIRECTORY, dir_fd=fd)
    finally:
        os.close(fd)


_DEPTH = 64


def remove_tree(dirfd: int, name: str | bytes) -> None:
    """Remove `name` below `dirfd`, a tree or a single file; nothing there is fine. Never follows a link, never enters
    another mount (EXDEV). Directories nested deeper than a few dozen are first moved up, so that neither descriptors
    nor the stack run out. Raises OSError for the first thing that would not go."""
    try:
        top = openat2(dirfd, name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, 0, RESOLVE_NO_XDEV | RESOLVE_BENEATH)
    except FileNotFoundError:
        return
    except OSError as failed:
        if failed.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        os.unlink(name, dir_fd=dirfd)
        return
    try:
        moved = [0]
        while _empty(top, top, 0, moved):
            pass
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=dirfd)


def _empty(fd: int, top: int, depth: int, moved: list[int]) -> bool:
    """Remove everything in `fd`; whether something was moved up into `top` and waits there."""
    again = False
    with os.scandir(fd) as entries:
        found = [(e.name, e.is_dir(follow_symlinks=False)) for e in entries]
    for name, is_directory in found:
        if not is_directory:
            os.unlink(name, dir_fd=fd)
        elif depth >= _DEPTH:
            moved[0] += 1
            os.rename(name, f".wharfie-rm-{moved[0]}", src_dir_fd=fd, dst_dir_fd=top)
            again = True
        else:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            below = openat2(fd, name, flags, 0, RESOLVE_NO_XDEV | RESOLVE_BENEATH)
            try:
                again |= _empty(below, top, depth + 1, moved)
            finally:
                os.close(below)
            os.rmdir(name, dir_fd=fd)
    return again
