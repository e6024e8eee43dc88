"""Mounts: the old calls (mount, umount2, pivot_root) and the new ones (fsopen … mount_setattr, Linux 5.2–5.12).

With the new calls a mount is an fd: made detached, changed, and attached with move_mount by whoever holds the fd. The
fds of fsmount and open_tree are O_PATH: to list one, openat(fd, ".") first.
"""

from __future__ import annotations

import ctypes
import os
import struct

from .syscalls import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    NR_FSCONFIG,
    NR_FSMOUNT,
    NR_FSOPEN,
    NR_FSPICK,
    NR_MOUNT_SETATTR,
    NR_MOVE_MOUNT,
    NR_OPEN_TREE,
    NR_PIVOT_ROOT,
    call,
    check,
    error,
    libc,
)

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_SILENT = 32768
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

MNT_FORCE = 1
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x0
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
AT_RECURSIVE = 0x8000
MOVE_MOUNT_F_SYMLINKS = 0x1
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_SYMLINKS = 0x10
MOVE_MOUNT_T_EMPTY_PATH = 0x40
MOVE_MOUNT_SET_GROUP = 0x100
MOVE_MOUNT_BENEATH = 0x200

_SET_FLAG, _SET_STRING, _SET_FD, _CREATE, _RECONFIGURE = 0, 1, 5, 6, 7

PROC_SUPER_MAGIC = 0x9FA0
SYSFS_MAGIC = 0x62656572
TMPFS_MAGIC = 0x01021994
DEVPTS_SUPER_MAGIC = 0x1CD1
OVERLAYFS_SUPER_MAGIC = 0x794C7630
CGROUP_SUPER_MAGIC = 0x27E0EB
CGROUP2_SUPER_MAGIC = 0x63677270
MQUEUE_MAGIC = 0x19800202
NSFS_MAGIC = 0x6E736673

libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]
libc.fstatfs.argtypes = [ctypes.c_int, ctypes.c_void_p]


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def mount(source: str | None, target: str, fstype: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2). Raises OSError with the target as its path."""
    check(libc.mount(_bytes(source), os.fsencode(target), _bytes(fstype), flags, _bytes(data)), target)


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2). Raises OSError with the target as its path."""
    check(libc.umount2(os.fsencode(target), flags), target)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2); ("." , ".") stacks the old root over the new one, to be detached by umount2(".", MNT_DETACH).
    Raises OSError: EINVAL when the new root is no mount point or a mount there is shared."""
    call(NR_PIVOT_ROOT, os.fsencode(new_root), os.fsencode(put_old), path=new_root)


def fsopen(fstype: str, flags: int = FSOPEN_CLOEXEC) -> int:
    """fsopen(2): a configuration fd for a new file system. Raises OSError ENODEV for an unknown type."""
    return call(NR_FSOPEN, fstype.encode(), flags, path=fstype)


def fspick(dirfd: int, path: str, flags: int = 0x1 | 0x8) -> int:
    """fspick(2): a configuration fd for an existing file system (default flags: close-on-exec, empty path)."""
    return call(NR_FSPICK, dirfd, os.fsencode(path), flags, path=path)


def fsconfig_flag(fd: int, key: str) -> None:
    """fsconfig(2) FSCONFIG_SET_FLAG."""
    _fsconfig(fd, _SET_FLAG, key, None, 0)


def fsconfig_string(fd: int, key: str, value: str) -> None:
    """fsconfig(2) FSCONFIG_SET_STRING; the kernel takes at most 255 bytes of value. Raises OSError."""
    _fsconfig(fd, _SET_STRING, key, os.fsencode(value), 0)


def fsconfig_fd(fd: int, key: str, value: int) -> None:
    """fsconfig(2) FSCONFIG_SET_FD."""
    _fsconfig(fd, _SET_FD, key, None, value)


def fsconfig_create(fd: int) -> None:
    """fsconfig(2) FSCONFIG_CMD_CREATE: makes the super block. Raises OSError carrying the kernel's own words."""
    _fsconfig(fd, _CREATE, None, None, 0)


def fsconfig_reconfigure(fd: int) -> None:
    """fsconfig(2) FSCONFIG_CMD_RECONFIGURE, after fspick."""
    _fsconfig(fd, _RECONFIGURE, None, None, 0)


def _fsconfig(fd: int, command: int, key: str | None, value: bytes | None, number: int) -> None:
    try:
        call(NR_FSCONFIG, fd, command, key.encode() if key is not None else None, value, number)
    except OSError as failed:
        said = _fs_log(fd)
        detail = f"{key}: {said}" if key and said else said or key or ""
        raise error(failed.errno or 0, detail=detail) from None


def _fs_log(fd: int) -> str:
    """What the file system said of the last failure: each read of the configuration fd gives one line."""
    lines = []
    for _ in range(8):
        try:
            lines.append(os.read(fd, 4096).decode("utf-8", "replace").rstrip("\n").removeprefix("e "))
        except OSError:
            break
    return "; ".join(lines)


def fsmount(fd: int, flags: int = FSMOUNT_CLOEXEC, attributes: int = 0) -> int:
    """fsmount(2): a detached mount (O_PATH fd) of the configured file system. Raises OSError."""
    return call(NR_FSMOUNT, fd, flags, attributes)


def open_tree(dirfd: int, path: str, flags: int = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC) -> int:
    """open_tree(2): with OPEN_TREE_CLONE a detached copy of a mount (AT_RECURSIVE: of all below too), else only an
    O_PATH fd. Path "" means `dirfd` itself. Raises OSError."""
    if not path:
        flags |= AT_EMPTY_PATH
    return call(NR_OPEN_TREE, dirfd, os.fsencode(path), flags, path=path)


def move_mount(from_fd: int, to_fd: int, to_path: str = "", *, from_path: str = "", flags: int = 0) -> None:
    """move_mount(2): attach a detached mount (or move an attached one). Empty paths mean the fds themselves; symbolic
    links at the end of a path are not followed. Raises OSError."""
    if not from_path:
        flags |= MOVE_MOUNT_F_EMPTY_PATH
    if not to_path:
        flags |= MOVE_MOUNT_T_EMPTY_PATH
    call(NR_MOVE_MOUNT, from_fd, os.fsencode(from_path), to_fd, os.fsencode(to_path), flags, path=to_path or None)


def mount_setattr(dirfd: int, path: str, *, set: int = 0, clear: int = 0, propagation: int = 0, userns_fd: int = -1,
                  recursive: bool = False) -> None:
    """mount_setattr(2): change MOUNT_ATTR_* and propagation (MS_PRIVATE, …); path "" means `dirfd`. Setting an access
    time mode needs MOUNT_ATTR__ATIME in `clear`. `userns_fd` goes with MOUNT_ATTR_IDMAP. Raises OSError."""
    flags = (AT_RECURSIVE if recursive else 0) | (0 if path else AT_EMPTY_PATH)
    raw = struct.pack("=4Q", set, clear, propagation, max(userns_fd, 0))
    call(NR_MOUNT_SETATTR, dirfd, os.fsencode(path), flags, raw, len(raw), path=path or None)


def fs_type(fd: int) -> int:
    """The magic number of the file system behind `fd` (fstatfs f_type, *_MAGIC here). Raises OSError."""
    buffer = ctypes.create_string_buffer(256)
    check(libc.fstatfs(fd, buffer))
    return int(ctypes.c_ulong.from_buffer(buffer).value)


def attach_at(mount_fd: int, path: str) -> None:
    """Attach a detached mount at a path of this process."""
    move_mount(mount_fd, AT_FDCWD, path)
