"""What a container has changed in its image: its writable layer read as overlayfs reads it.

The upper directory and those directories of the layers that it is merged with are walked side by side by fd, one name
at a time and without following any link: both are somebody else's files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from wharfie.archive import pack
from wharfie.base.value import Value
from wharfie.kernel import overlay

MODIFIED, ADDED, DELETED = 0, 1, 2
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Change(Value):
    """`kind` as in Docker's API: 0 modified, 1 added, 2 deleted. `path` is absolute."""

    kind: int
    path: str


def changes(rootfs: overlay.Rootfs) -> list[Change]:
    """All changes, parents before children. Raises FileNotFoundError."""
    made = _Comparison()
    top = [os.open(path, _DIRECTORY) for path in rootfs.lowers]
    try:
        above = os.open(rootfs.upper, _DIRECTORY)
        try:
            made.directory(above, top, "")
        finally:
            os.close(above)
    finally:
        _close(top)
    return made.found


def layer(rootfs: overlay.Rootfs) -> Iterator[bytes]:
    """The changes as the tar stream of an OCI layer, deletions as whiteouts. Raises FileNotFoundError."""
    fd = os.open(rootfs.upper, _DIRECTORY)
    try:
        yield from pack.pack(fd, whiteouts=True)
    finally:
        os.close(fd)


class _Comparison:
    def __init__(self) -> None:
        self.found: list[Change] = []

    def directory(self, above: int, below: list[int], path: str) -> None:
        """Everything in `above`, which is merged with the directories `below`."""
        if _is_opaque(above):
            gone = {name for fd in below for name in os.listdir(fd)} - set(os.listdir(above))
            for name in sorted(gone):
                if _look(below, name) is not None:
                    self.found.append(Change(DELETED, f"{path}/{name}"))
            below = []
        for name in sorted(os.listdir(above)):
            try:
                self._child(above, below, name, f"{path}/{name}")
            except FileNotFoundError:
                continue  # the container runs, and has removed it

    def _child(self, above: int, below: list[int], name: str, path: str) -> None:
        mine = os.stat(name, dir_fd=above, follow_symlinks=False)
        theirs = _look(below, name)
        if _is_whiteout(mine):
            if theirs is not None:
                self.found.append(Change(DELETED, path))
        elif not stat.S_ISDIR(mine.st_mode):
            self.found.append(Change(ADDED if theirs is None else MODIFIED, path))
        else:
            self._directory(above, below, name, path, mine, theirs)

    def _directory(self, above: int, below: list[int], name: str, path: str, mine: os.stat_result,
                   theirs: os.stat_result | None) -> None:
        at = len(self.found)
        merged = _merged(below, name)
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=above)
            try:
                self.directory(fd, merged, path)
            finally:
                os.close(fd)
        finally:
            _close(merged)
        told = len(self.found) > at
        if theirs is None:
            self.found.insert(at, Change(ADDED, path))
        elif told or _attributes(mine) != _attributes(theirs):
            self.found.insert(at, Change(MODIFIED, path))


def _attributes(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_mode, found.st_uid, found.st_gid


def _look(below: list[int], name: str) -> os.stat_result | None:
    """What the layers have under a name."""
    for fd in below:
        try:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        return None if _is_whiteout(found) else found
    return None


def _merged(below: list[int], name: str) -> list[int]:
    """The directories of the layers that show through a directory `name`, the top one first."""
    found: list[int] = []
    for fd in below:
        try:
            one = os.open(name, _DIRECTORY, dir_fd=fd)
        except FileNotFoundError:
            continue
        except OSError:
            break  # a whiteout, or something else that is no directory, hides what is below it
        found.append(one)
        if _is_opaque(one):
            break
    return found


def _is_opaque(fd: int) -> bool:
    for name in _OPAQUE:
        try:
            if os.getxattr(fd, name) == b"y":
                return True
        except OSError:
            continue
    return False


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
