"""Unpacking: entries into a directory given by fd. Nothing outside it is read, written, linked or chmodded.

Refused (Invalid): a name that climbs out by "..", a parent that is no directory, a hard link to something that is not
inside, a whiteout of nothing, "." or "..". Confined: absolute names, and symlinks on the way, are taken as seen from
the root; a symlink may point anywhere, because it is only ever followed inside. Duplicates: the last one holds, and a
directory over a directory is merged.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable

from wharfie.base import errors
from wharfie.kernel import walk

from . import names
from .entry import BLOCK, CHAR, DIRECTORY, FIFO, FILE, LINK, SYMLINK, Entry
from .limits import DEFAULT, Limits, refused
from .tree import Tree

Owner = Callable[[int, int], tuple[int, int]]
OPAQUE_TRUSTED = "trusted.overlay.opaque"
OPAQUE_USER = "user.overlay.opaque"
# Attributes that say something to overlayfs or to this host's security module are never taken from an archive.
_KEPT_XATTRS = ("user.", "trusted.", "security.capability", "system.posix_acl_")
_NEVER_XATTRS = ("user.overlay.", "trusted.overlay.")
_NO_XATTR = {95, 1, 22}  # EOPNOTSUPP, EPERM, EINVAL: the file system, or the user namespace, cannot keep it


def extract(
    entries: Iterable[Entry], root: int, *, owner: Owner | None = None, whiteouts: str | None = None,
    userxattr: bool = False, devices: bool = True, keep_kinds: bool = False, limits: Limits = DEFAULT,
) -> Unpacked:
    """Write all entries below the directory fd `root`.

    owner: (uid, gid) in the archive → on disk. whiteouts: None (plain names), "overlay" (device 0:0 and the opaque
    attribute; `userxattr` names it user.overlay.* as an overlay inside a user namespace reads it), or "apply" (delete
    what is there). devices=False leaves device nodes out (a user namespace cannot make them).
    keep_kinds refuses to put a directory in the place of something else, and something else in that of a directory.
    Raises Invalid (hostile entry), Damaged (broken archive), Exhausted (disk full); what was written stays for the
    caller to throw away.
    """
    with Tree(root, owner(0, 0) if owner else (0, 0)) as tree:
        unpacker = _Unpacker(tree, owner, whiteouts, OPAQUE_USER if userxattr else OPAQUE_TRUSTED, devices, keep_kinds,
                             limits)
        for entry in entries:
            try:
                unpacker.add(entry)
            except OSError as error:
                raise _meaning(error, entry) from error
        unpacker.finish()
        return unpacker.done


class Unpacked:
    """What was written: `size` bytes of files, `entries`, and the attributes and devices left out."""

    def __init__(self) -> None:
        self.size = 0
        self.entries = 0
        self.skipped: set[str] = set()


def _meaning(error: OSError, entry: Entry) -> errors.WharfieError:
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return errors.Exhausted(f"no space left while unpacking {os.fsdecode(entry.name[:200])}",
                                action="make room on the disk of the data root")
    return refused(f"cannot be unpacked ({error.strerror})", entry.name)


class _Unpacker:
    def __init__(self, tree: Tree, owner: Owner | None, whiteouts: str | None, opaque: str, devices: bool,
                 keep_kinds: bool, limits: Limits) -> None:
        self.done = Unpacked()
        self._tree = tree
        self._owner = owner
        self._whiteouts = whiteouts
        self._opaque = opaque
        self._devices = devices
        self._keep_kinds = keep_kinds
        self._limits = limits
        self._times: dict[bytes, int] = {}
        self._fresh: set[bytes] = set()
        self._makers = {
            FILE: self._file, DIRECTORY: self._directory, SYMLINK: self._symlink, LINK: self._link,
            CHAR: self._node, BLOCK: self._node, FIFO: self._node,
        }

    def add(self, entry: Entry) -> None:
        """Write one entry."""
        name = names.clean(entry.name, self._limits)
        self._tree.trim()
        self.done.entries += 1
        if not name:
            if entry.kind == DIRECTORY:
                self._attributes(self._tree.root, entry)
                self._times[b""] = entry.mtime
            return
        directory, base = names.split(name)
        if self._whiteouts and base.startswith(names.PREFIX):
            self._whiteout(directory, base, entry)
            return
        parent = self._tree.directory(directory, make=True)
        if self._whiteouts == "apply":
            self._remember(name)
        if self._keep_kinds:
            _check_kind(parent, base, entry)
        self._makers[entry.kind](parent, base, name, entry)

    def finish(self) -> None:
        """Directory times last: whatever is made inside changes them."""
        for name, mtime in self._times.items():
            directory, base = names.split(name)
            try:
                if base:
                    os.utime(base, ns=(mtime, mtime), dir_fd=self._tree.directory(directory), follow_symlinks=False)
                else:
                    os.utime(self._tree.root, ns=(mtime, mtime))
            except (OSError, errors.WharfieError):
                continue  # replaced meanwhile by a later entry
        self._times.clear()

    def _ids(self, entry: Entry) -> tuple[int, int]:
        return self._owner(entry.uid, entry.gid) if self._owner else (entry.uid, entry.gid)

    def _clear(self, parent: int, base: bytes) -> bool:
        """Make room for a new entry; whether an overlay whiteout stood there. What is mounted in a container's mount
        namespace stays: unlink(2) from outside of it would take the mount away and say nothing."""
        try:
            found = os.stat(base, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if walk.is_mountpoint(parent, base):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        if stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode):
            self._tree.remove(parent, base)
        else:
            os.unlink(base, dir_fd=parent)
        return _is_whiteout(found)

    def _file(self, parent: int, base: bytes, name: bytes, entry: Entry) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(base, flags, 0o600, dir_fd=parent)
        except FileExistsError:
            self._clear(parent, base)
            parent = self._tree.directory(names.split(name)[0])
            fd = os.open(base, flags, 0o600, dir_fd=parent)
        try:
            written = _write(fd, entry)
            if written < entry.size:
                os.ftruncate(fd, entry.size)
            self._attributes(fd, entry)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)
        self.done.size += entry.size

    def _directory(self, parent: int, base: bytes, name: bytes, entry: Entry) -> None:
        hidden = False
        try:
            os.mkdir(base, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(base, dir_fd=parent, follow_symlinks=False).st_mode):
                hidden = self._clear(parent, base)
                parent = self._tree.directory(names.split(name)[0])
                os.mkdir(base, 0o700, dir_fd=parent)
        fd = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            self._attributes(fd, entry)
            if hidden and self._whiteouts == "overlay":
                os.setxattr(fd, self._opaque, b"y")  # deleted below, then made anew: nothing shines through
        finally:
            os.close(fd)
        self._times[name] = entry.mtime

    def _symlink(self, parent: int, base: bytes, name: bytes, entry: Entry) -> None:
        if not entry.link or b"\0" in entry.link:
            raise refused("a symlink points nowhere", entry.name)
        self._clear(parent, base)
        parent = self._tree.directory(names.split(name)[0])
        os.symlink(entry.link, base, dir_fd=parent)
        self._finish_node(parent, base, entry, mode=False)

    def _link(self, parent: int, base: bytes, name: bytes, entry: Entry) -> None:
        target = names.clean(entry.link, self._limits)
        if target == name:
            return
        directory, last = names.split(target)
        if not last:
            raise refused("a hard link to the root", entry.name)
        try:
            source = self._tree.directory(directory)
            found = os.stat(last, dir_fd=source, follow_symlinks=False)
        except (FileNotFoundError, errors.NotFound) as error:
            raise refused(f"a hard link to something that is not inside ({os.fsdecode(entry.link[:200])})",
                          entry.name) from error
        if stat.S_ISDIR(found.st_mode):
            raise refused("a hard link to a directory", entry.name)
        if self._exists(parent, base):
            self._clear(parent, base)
            parent, source = self._tree.directory(names.split(name)[0]), self._tree.directory(directory)
        os.link(last, base, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)

    def _node(self, parent: int, base: bytes, name: bytes, entry: Entry) -> None:
        kind = {CHAR: stat.S_IFCHR, BLOCK: stat.S_IFBLK, FIFO: stat.S_IFIFO}[entry.kind]
        if entry.kind != FIFO and not self._devices:
            self.done.skipped.add("devices")
            return
        self._clear(parent, base)
        parent = self._tree.directory(names.split(name)[0])
        os.mknod(base, kind | 0o600, os.makedev(*entry.device) if entry.kind != FIFO else 0, dir_fd=parent)
        self._finish_node(parent, base, entry, mode=True)

    def _exists(self, parent: int, base: bytes) -> bool:
        try:
            os.stat(base, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _finish_node(self, parent: int, base: bytes, entry: Entry, *, mode: bool) -> None:
        """Owner, mode and time of what cannot be opened. The directory is written by us alone, or the name is a plain
        node of ours; chmod would follow a symlink, so it is never asked of one."""
        os.chown(base, *self._ids(entry), dir_fd=parent, follow_symlinks=False)
        if mode:
            fd = os.open(base, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            try:
                if not stat.S_ISLNK(os.fstat(fd).st_mode):
                    os.chmod(f"/proc/self/fd/{fd}", entry.mode)
            finally:
                os.close(fd)
        os.utime(base, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def _attributes(self, fd: int, entry: Entry) -> None:
        """Owner first: chown drops setuid bits and file capabilities."""
        os.fchown(fd, *self._ids(entry))
        os.fchmod(fd, entry.mode)
        for key, value in entry.xattrs.items():
            if not key.startswith(_KEPT_XATTRS) or key.startswith(_NEVER_XATTRS):
                self.done.skipped.add(key)
                continue
            try:
                os.setxattr(fd, key, value)
            except OSError as error:
                if error.errno not in _NO_XATTR:
                    raise
                self.done.skipped.add(key)

    def _whiteout(self, directory: bytes, base: bytes, entry: Entry) -> None:
        if base == names.OPAQUE:
            if self._whiteouts == "overlay":
                os.setxattr(self._tree.directory(directory, make=True), self._opaque, b"y")
            else:
                self._empty(directory)
            return
        if base.startswith(names.METADATA):
            return
        hidden = names.whited_out(base, entry.name)
        if self._whiteouts == "overlay":
            self._hide(self._tree.directory(directory, make=True), hidden)
        elif directory + b"/" + hidden not in self._fresh:
            try:
                self._tree.remove(self._tree.directory(directory), hidden)
            except (FileNotFoundError, errors.NotFound):
                pass

    def _hide(self, parent: int, hidden: bytes) -> None:
        """An overlay whiteout. A whiteout is about lower layers: what this layer itself has under the name stays, and a
        directory becomes opaque."""
        try:
            os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(hidden, dir_fd=parent, follow_symlinks=False).st_mode):
                fd = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
                try:
                    os.setxattr(fd, self._opaque, b"y")
                finally:
                    os.close(fd)

    def _remember(self, name: bytes) -> None:
        """For "apply": this name and its parents come from this layer, so its whiteouts don't mean them."""
        while name:
            self._fresh.add(name if b"/" in name else b"/" + name)
            name = names.split(name)[0]

    def _empty(self, directory: bytes) -> None:
        fd = self._tree.directory(directory, make=True)
        for child in os.listdir(fd):
            if directory + b"/" + os.fsencode(child) not in self._fresh:
                self._tree.remove(self._tree.directory(directory), os.fsencode(child))


def _check_kind(parent: int, base: bytes, entry: Entry) -> None:
    """Raises Invalid in Docker's words when a directory would become something else, or the other way round."""
    try:
        there = stat.S_ISDIR(os.stat(base, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return
    if there != (entry.kind == DIRECTORY):
        words = ("directory", "non-directory") if there else ("non-directory", "directory")
        raise errors.Invalid(f'cannot overwrite {words[0]} "{os.fsdecode(entry.name)}" with {words[1]}')


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _write(fd: int, entry: Entry) -> int:
    """The data of a file, holes left out; the offset after the last piece."""
    at = 0
    for offset, data in entry.chunks():
        if offset != at:
            os.lseek(fd, offset, os.SEEK_SET)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        at = offset + len(data)
    return at
