"""Packing: a directory given by fd becomes a tar stream. Ordinary entries are plain ustar; what does not fit there
(long names, large numbers, attributes, fractions of a second) goes into pax records.

The order is by name and nothing depends on the clock, so equal trees give equal bytes.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping

from wharfie.kernel import walk

from . import header, names, pax
from .entry import BLOCK, BLOCK_SIZE, CHAR, DIRECTORY, FIFO, FILE, LINK, SYMLINK, Entry

Place = tuple[int, bytes]
"""A directory's fd and the name of something in it."""

END = bytes(2 * BLOCK_SIZE)
_PIECE = 1 << 20
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_FORMATS = {stat.S_IFREG: FILE, stat.S_IFDIR: DIRECTORY, stat.S_IFLNK: SYMLINK, stat.S_IFCHR: CHAR,
            stat.S_IFBLK: BLOCK, stat.S_IFIFO: FIFO}


def encode(entry: Entry) -> bytes:
    """The header blocks of an entry; its data, padded to whole blocks, is to follow."""
    records = _records(entry)
    name = entry.name + b"/" if entry.kind == DIRECTORY and not entry.name.endswith(b"/") else entry.name
    main = header.build(name, header.TYPES[entry.kind], mode=entry.mode, uid=entry.uid, gid=entry.gid,
                        size=entry.size if entry.kind == FILE else 0, mtime=entry.mtime // 10**9, link=entry.link,
                        device=entry.device)
    if not records:
        return main
    data = pax.encode(records)
    return header.build(b"PaxHeaders/" + name[:80], b"x", size=len(data)) + padded(data) + main


def _records(entry: Entry) -> list[tuple[str, bytes]]:
    name_length = len(entry.name) + (entry.kind == DIRECTORY)
    records: list[tuple[str, bytes]] = []
    if name_length > 100:
        records.append(("path", entry.name + (b"/" if entry.kind == DIRECTORY else b"")))
    if len(entry.link) > 100:
        records.append(("linkpath", entry.link))
    if entry.mtime % 10**9 or entry.mtime < 0 or entry.mtime // 10**9 >= 8**11:
        records.append(("mtime", pax.seconds(entry.mtime)))
    if entry.size >= 8**11:
        records.append(("size", b"%d" % entry.size))
    records += [(key, b"%d" % value) for key, value in (("uid", entry.uid), ("gid", entry.gid)) if value >= 8**7]
    records += [(pax.XATTR + key, value) for key, value in sorted(entry.xattrs.items())]
    return records


def padded(data: bytes) -> bytes:
    """Data filled up to whole blocks."""
    return data + bytes(-len(data) % BLOCK_SIZE)


def file(name: str, data: bytes, *, mode: int = 0o644, mtime: int = 0) -> bytes:
    """A small regular file as one piece of an archive."""
    return encode(Entry(os.fsencode(name), FILE, mode=mode, size=len(data), mtime=mtime)) + padded(data)


def pack(
    root: int, *, prefix: bytes = b"", whiteouts: bool = False,
    owner: Callable[[int, int], tuple[int, int]] | None = None, end: bool = True, top: bool = True, stay: bool = False,
    mounts: Mapping[bytes, Place] | None = None,
) -> Iterator[bytes]:
    """The tree below the directory fd `root` (it stays the caller's) as a tar stream, the root itself first.

    prefix: put before every name; b"/" makes them absolute. whiteouts: the tree is an overlay's upper; its deletions
    become OCI whiteouts. owner: (uid, gid) on disk → in the archive. end=False leaves the end mark out, top=False the
    root itself. stay: what is mounted in the tree is told as the empty place it is mounted on. mounts: names in whose
    place something else is packed, by (directory fd, name in it). Sockets are left out, as tar does. The tree may
    change meanwhile: what vanishes is left out, a file that shrinks is filled with zeros, no symlink is ever followed.
    """
    packer = _Packer(prefix, whiteouts, owner, stay, mounts or {})
    yield from packer.directory(root, b"", told=top)
    if end:
        yield END


def pack_one(place: Place, name: bytes) -> Iterator[bytes]:
    """An archive of one thing that is no directory, under `name`. Raises OSError when it is not there."""
    packer = _Packer(name, False, None, False, {})
    found = os.stat(place[1], dir_fd=place[0], follow_symlinks=False)
    kind = _FORMATS.get(stat.S_IFMT(found.st_mode))
    if kind not in (None, DIRECTORY):
        yield from packer.leaf(*place, b"", found, str(kind))
    yield END


class _Packer:
    def __init__(
        self, prefix: bytes, whiteouts: bool, owner: Callable[[int, int], tuple[int, int]] | None, stay: bool,
        mounts: Mapping[bytes, Place],
    ) -> None:
        self._prefix = prefix if prefix == b"/" else prefix.strip(b"/")
        self._whiteouts = whiteouts
        self._owner = owner
        self._stay = stay
        self._mounts = mounts
        self._seen: dict[tuple[int, int], bytes] = {}

    def directory(self, fd: int, path: bytes, *, told: bool = True) -> Iterator[bytes]:
        """The directory behind `fd` and all below it. One level of recursion per level of depth."""
        entry = self._entry(os.fstat(fd), self._name(path) or b".")
        attributes = _attributes(f"/proc/self/fd/{fd}", follow=True)
        opaque = self._whiteouts and any(attributes.get(key) == b"y" for key in _OPAQUE)
        entry.xattrs = {k: v for k, v in attributes.items() if not _is_overlay(k)}
        if told:
            yield encode(entry)
        if opaque:
            yield encode(Entry(self._name(_join(path, names.OPAQUE)), FILE, mode=0))
        reading = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        try:
            for child in sorted(os.fsencode(c) for c in os.listdir(reading)):
                yield from self._child(reading, child, _join(path, child))
        finally:
            os.close(reading)

    def _child(self, parent: int, base: bytes, path: bytes) -> Iterator[bytes]:
        parent, base = self._mounts.get(path, (parent, base))
        try:
            found = os.stat(base, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        kind = _FORMATS.get(stat.S_IFMT(found.st_mode))
        if kind is None:
            return
        if self._stay and walk.is_mountpoint(parent, base):
            mode = 0o755 if kind == DIRECTORY else 0o644
            yield encode(Entry(self._name(path), DIRECTORY if kind == DIRECTORY else FILE, mode=mode,
                               mtime=found.st_mtime_ns))
        elif kind == DIRECTORY:
            fd = _open(base, os.O_RDONLY | os.O_DIRECTORY, parent)
            if fd < 0:
                return
            try:
                yield from self.directory(fd, path)
            finally:
                os.close(fd)
        elif kind == CHAR and self._whiteouts and found.st_rdev == 0:
            directory, last = names.split(path)
            yield encode(Entry(self._name(_join(directory, names.PREFIX + last)), FILE, mode=0))
        else:
            yield from self.leaf(parent, base, path, found, kind)

    def leaf(self, parent: int, base: bytes, path: bytes, found: os.stat_result, kind: str) -> Iterator[bytes]:
        """Anything but a directory."""
        entry = self._entry(found, self._name(path))
        first = self._seen.get((found.st_dev, found.st_ino)) if found.st_nlink > 1 else None
        if first is not None:
            entry.kind, entry.link, entry.size, entry.device = LINK, first, 0, (0, 0)
            yield encode(entry)
            return
        if found.st_nlink > 1:
            self._seen[found.st_dev, found.st_ino] = entry.name
        if kind == FILE:
            yield from self._file(parent, base, entry)
            return
        if kind == SYMLINK:
            try:
                entry.link = os.readlink(base, dir_fd=parent)
            except OSError:
                return  # swapped since stat
        yield encode(entry)

    def _file(self, parent: int, base: bytes, entry: Entry) -> Iterator[bytes]:
        fd = _open(base, os.O_RDONLY | os.O_NONBLOCK, parent)
        if fd < 0:
            return
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return  # swapped since stat
            entry.xattrs = {k: v for k, v in _attributes(fd).items() if not _is_overlay(k)}
            yield encode(entry)
            left = entry.size
            while left:
                data = os.read(fd, min(left, _PIECE)) or bytes(min(left, _PIECE))
                left -= len(data)
                yield data
            if entry.size % BLOCK_SIZE:
                yield bytes(-entry.size % BLOCK_SIZE)
        finally:
            os.close(fd)

    def _entry(self, found: os.stat_result, name: bytes) -> Entry:
        uid, gid = self._owner(found.st_uid, found.st_gid) if self._owner else (found.st_uid, found.st_gid)
        kind = _FORMATS[stat.S_IFMT(found.st_mode)]
        device = (os.major(found.st_rdev), os.minor(found.st_rdev)) if kind in (CHAR, BLOCK) else (0, 0)
        return Entry(name, kind, mode=stat.S_IMODE(found.st_mode), uid=uid, gid=gid,
                     size=found.st_size if kind == FILE else 0, mtime=found.st_mtime_ns, device=device)

    def _name(self, path: bytes) -> bytes:
        if self._prefix == b"/":
            return b"/" + path
        return _join(self._prefix, path) if self._prefix and path else (path or self._prefix)


def _open(base: bytes, flags: int, parent: int) -> int:
    """An fd of `base` itself; -1 when it has vanished, or become something else, since it was looked at."""
    try:
        return os.open(base, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        return -1
    except OSError as failed:
        if failed.errno in (errno.ELOOP, errno.ENXIO):
            return -1
        raise


def _join(directory: bytes, base: bytes) -> bytes:
    return directory + b"/" + base if directory else base


def _attributes(target: int | str, *, follow: bool = True) -> dict[str, bytes]:
    try:
        return {key: os.getxattr(target, key) for key in os.listxattr(target) if _is_packed(key)}
    except OSError:
        return {}


def _is_packed(key: str) -> bool:
    return key == "security.capability" or key.startswith(("user.", "trusted.", "system.posix_acl_"))


def _is_overlay(key: str) -> bool:
    return key.startswith(("trusted.overlay.", "user.overlay."))
