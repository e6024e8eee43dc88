"""Operations that keep the container from parts of the kernel's own trees: masked and read-only paths, and the sysctls
that it may have."""

from __future__ import annotations

import os
import stat

from wharfie.base import errors
from wharfie.kernel import hostname, mounts, walk

from . import mounting
from .operation import Operation, World
from .options import Options


class Mask(Operation):
    """Files are covered by a /dev/null, directories by one empty read-only tmpfs. Paths that do not exist are left
    out. The null is an fd held since its making, so nobody can have swapped it (CVE-2025-31133)."""

    paths: tuple[str, ...]

    def describe(self) -> str:
        return f"mask {', '.join(self.paths)}"

    def perform(self, world: World) -> None:
        null = world.null if world.null >= 0 else _host_null()
        empty = -1
        try:
            for path in self.paths:
                place = _find(world, path)
                if place < 0:
                    continue
                try:
                    if not stat.S_ISDIR(os.fstat(place).st_mode):
                        _cover(place, null)
                    elif empty < 0:
                        options = Options(set=mounts.MOUNT_ATTR_RDONLY, data=("size=0k",))
                        empty = mounting.make("tmpfs", "tmpfs", options)
                        mounts.move_mount(empty, place)
                    else:
                        _cover(place, empty)
                finally:
                    os.close(place)
        finally:
            if empty >= 0:
                os.close(empty)


class MakeReadonly(Operation):
    """Each path bound onto itself, read-only with all below."""

    paths: tuple[str, ...]

    def describe(self) -> str:
        return f"make read-only {', '.join(self.paths)}"

    def perform(self, world: World) -> None:
        flags = mounts.OPEN_TREE_CLONE | mounts.OPEN_TREE_CLOEXEC | mounts.AT_RECURSIVE
        for path in self.paths:
            place = _find(world, path)
            if place < 0:
                continue
            try:
                copy = mounts.open_tree(place, "", flags)
                try:
                    mounts.mount_setattr(copy, "", set=mounts.MOUNT_ATTR_RDONLY, recursive=True)
                    mounts.move_mount(copy, place)
                finally:
                    os.close(copy)
            finally:
                os.close(place)


def _find(world: World, path: str) -> int:
    try:
        return walk.open_in_root(world.root, path)
    except (FileNotFoundError, NotADirectoryError):
        return -1


def _cover(place: int, what: int) -> None:
    copy = mounts.open_tree(what, "")
    try:
        mounts.move_mount(copy, place)
    finally:
        os.close(copy)


def _host_null() -> int:
    fd = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
    seen = os.fstat(fd)
    if not stat.S_ISCHR(seen.st_mode) or seen.st_rdev != os.makedev(1, 3):
        os.close(fd)
        raise errors.Unavailable("the host's /dev/null is not the null device")
    return fd


class SetHostname(Operation):
    """Host and domain name of the UTS namespace."""

    hostname: str
    domainname: str

    def describe(self) -> str:
        return f"set the host name {self.hostname}"

    def perform(self, world: World) -> None:
        if self.hostname:
            hostname.sethostname(self.hostname)
        if self.domainname:
            hostname.setdomainname(self.domainname)


class SetSysctls(Operation):
    """Kernel parameters of the container's own namespaces, written through the fd of its own procfs: the path inside it
    may hold no link and cross no mount (CVE-2025-52881)."""

    values: tuple[tuple[tuple[str, ...], str], ...]

    def describe(self) -> str:
        return f"set sysctl {', '.join('.'.join(path) for path, _ in self.values)}"

    def perform(self, world: World) -> None:
        proc = world.proc if world.proc >= 0 else mounting.make("proc", "proc", Options())
        resolve = walk.RESOLVE_BENEATH | walk.RESOLVE_NO_XDEV | walk.RESOLVE_NO_SYMLINKS | walk.RESOLVE_NO_MAGICLINKS
        if mounts.fs_type(proc) != mounts.PROC_SUPER_MAGIC:
            raise errors.Unavailable("what is at /proc is no procfs")
        for path, value in self.values:
            try:
                fd = walk.openat2(proc, "/".join(("sys", *path)), os.O_WRONLY, 0, resolve)
                try:
                    os.write(fd, value.encode())
                finally:
                    os.close(fd)
            except OSError as error:
                # in Go's lower case: of "no such file or directory" clients make exit code 127, as with runc
                name, why = ".".join(path), os.strerror(error.errno or 0).lower()
                raise errors.Invalid(f"set sysctl {name} to '{value}': {why}", name=name) from error
