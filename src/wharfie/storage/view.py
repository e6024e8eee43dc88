"""What a container sees, as seen from outside: its root by fd and, while it is stopped, its volumes and binds in the
places where they will be mounted. (Those of a running one are mounted on its root: the kernel crosses into them.)

A path is resolved here, component by component and as if inside the root: every link is read by fd and followed by us,
never by the kernel, so none leads out, whoever swaps what meanwhile. What comes out is a path without links; it is
opened by openat2 with RESOLVE_NO_SYMLINKS. No mount is made for it (CVE-2018-15664, CVE-2019-14271, CVE-2026-41568).
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Sequence

from wharfie.base import errors
from wharfie.base.value import Value
from wharfie.kernel import overlay, walk

_MAX_LINKS = 40
_NO_LINKS = walk.RESOLVE_NO_SYMLINKS
Parts = tuple[str, ...]


class Mounted(Value):
    """One volume or bind. `source` is a directory or file of the host, which the administrator chose."""

    destination: str
    source: str
    readonly: bool = False


def stopped(rootfs: overlay.Rootfs, mounts: Sequence[Mounted], *, write: bool, readonly: bool = False) -> View:
    """The view of a container without process. To be read only, its writable layer is mounted as the top one of the
    layers, so that the container may be started meanwhile; to be written to, it is mounted as it will be, and the
    caller keeps the container from being started. Raises OSError."""
    if not write:
        rootfs = rootfs.replace(lowers=(rootfs.upper, *rootfs.lowers), upper="", work="", readonly=True)
    return View(overlay.mount(rootfs), mounts, readonly=readonly)


class View:
    """Owns `root`, an fd of the container's root; close it. `readonly`: nothing may be written to the root itself."""

    def __init__(self, root: int, mounts: Sequence[Mounted] = (), *, readonly: bool = False) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._readonly = readonly
        self._mounts = {tuple(p for p in m.destination.split("/") if p): m for m in mounts}
        self._sources: dict[str, tuple[int, str]] = {}

    def close(self) -> None:
        """Idempotent. Nobody may be using the view meanwhile: its descriptors may be somebody else's at once."""
        with self._lock:
            fds = [self.root, *(fd for fd, _ in self._sources.values())]
            self.root = -1
            self._sources.clear()
        for fd in fds:
            if fd >= 0:
                os.close(fd)

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    __del__ = close  # a stream nobody asked for is never begun, and so never ended

    def resolve(self, path: str, *, follow: bool, missing: bool = False) -> Parts:
        """`path` without links and dots, which may be followed in its last part or not. Raises NotFound, unless
        `missing`; Invalid for a file where a directory is needed, and for too many links."""
        waiting = [p for p in reversed(path.split("/")) if p not in ("", ".")]
        done: list[str] = []
        links = 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                del done[-1:]
                continue
            here = (*done, part)
            try:
                found = self.stat(here)
            except FileNotFoundError as error:
                if not missing:
                    raise errors.NotFound(f"no such file: {path}", name=path) from error
                return here + tuple(reversed(waiting))
            except NotADirectoryError as error:
                raise errors.Invalid(f"not a directory: /{'/'.join(done)}", name=path) from error
            if stat.S_ISLNK(found.st_mode) and (follow or waiting):
                links += 1
                if links > _MAX_LINKS:
                    raise errors.Invalid(f"too many levels of symbolic links: {path}", name=path)
                target = self.readlink(here)
                waiting += [p for p in reversed(target.split("/")) if p not in ("", ".")]
                done = [] if target.startswith("/") else done
            else:
                done.append(part)
        return tuple(done)

    def stat(self, parts: Parts) -> os.stat_result:
        """Of a resolved path; a link itself. Raises OSError."""
        if any(len(m) > len(parts) and m[:len(parts)] == parts for m in self._mounts):
            try:
                fd = self.open(parts, os.O_PATH | os.O_NOFOLLOW)
            except FileNotFoundError:
                return os.fstat(self.root)  # a directory that will be made for the mount below it
        else:
            fd = self.open(parts, os.O_PATH | os.O_NOFOLLOW)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def readlink(self, parts: Parts) -> str:
        """Of a resolved path. Raises OSError."""
        fd = self.open(parts, os.O_PATH | os.O_NOFOLLOW)
        try:
            return os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)

    def open(self, parts: Parts, flags: int) -> int:
        """An fd of a resolved path. Raises OSError; ELOOP when somebody has put a link into it since."""
        root, inside = self.place(parts)
        return walk.open_in_root(root, inside, flags, resolve=_NO_LINKS)

    def place(self, parts: Parts) -> tuple[int, str]:
        """(fd of the view's own, path below it) of a resolved path: the container's root, or the directory that has a
        mount's source."""
        at = self._mount_of(parts)
        if at is None:
            return self.root, "/".join(parts)
        parent, base = self._source(self._mounts[at])
        return parent, "/".join([base, *parts[len(at):]]).strip("/")

    def anchor(self, parts: Parts) -> tuple[int, str]:
        """(a new fd, path below it) of a resolved directory: the container's root or the mount it lies in, out of which
        no link of an archive may lead. Raises OSError."""
        at = self._mount_of(parts) or ()
        return self.open(at, os.O_RDONLY | os.O_DIRECTORY), "/".join(parts[len(at):])

    def is_readonly(self, parts: Parts) -> str:
        """Docker's words when nothing may be written at a resolved path; "" when it may."""
        at = self._mount_of(parts)
        if at is None:
            return "container rootfs is marked read-only" if self._readonly else ""
        return "mounted volume is marked read-only" if self._mounts[at].readonly else ""

    def below(self, parts: Parts) -> dict[bytes, tuple[int, bytes]]:
        """The mounts below a resolved path, as `archive.pack` takes them."""
        found = {}
        for at, one in self._mounts.items():
            if len(at) > len(parts) and at[:len(parts)] == parts:
                parent, base = self._source(one)
                found[os.fsencode("/".join(at[len(parts):]))] = (parent, os.fsencode(base or "."))
        return found

    def _mount_of(self, parts: Parts) -> Parts | None:
        for cut in range(len(parts), 0, -1):
            if parts[:cut] in self._mounts:
                return parts[:cut]
        return None

    def _source(self, one: Mounted) -> tuple[int, str]:
        """The directory that holds a mount's source, opened once. Raises OSError."""
        known = self._sources.get(one.destination)
        if known is None:
            directory, base = os.path.split(os.path.realpath(one.source))
            fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            known = self._sources[one.destination] = (fd, base)
        return known
