"""Directories below a root that hostile archives and running containers may have a hand in: reached by fd, kept by fd.

Every parent is resolved with openat2(RESOLVE_IN_ROOT | NO_MAGICLINKS) from the root's fd: a symlink in it leads
somewhere inside the root and nowhere else. What is then done is done to a single name in that directory's fd, and never
follows a link. Fds are cached by the name they were reached by; replacing anything that a name could lead
through empties the cache.
"""

from __future__ import annotations

import os

from wharfie.base import errors
from wharfie.kernel import walk

from .limits import refused

_KEPT = 256
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Tree:
    """The directories below `root` (an fd that stays the caller's). New parents get `owner` and mode 0755."""

    def __init__(self, root: int, owner: tuple[int, int] = (0, 0)) -> None:
        self.root = root
        self._owner = owner
        self._fds: dict[bytes, int] = {}

    def directory(self, path: bytes, *, make: bool = False) -> int:
        """An fd (the tree's own) of the directory `path`, clean and relative. Raises Invalid for a parent that is no
        directory, NotFound when it is missing and `make` is off."""
        if not path:
            return self.root
        fd = self._fds.get(path)
        if fd is None:
            fd = self._open(path, make=make)
            self._fds[path] = fd
        return fd

    def _open(self, path: bytes, *, make: bool) -> int:
        try:
            try:
                return walk.open_in_root(self.root, os.fsdecode(path), _DIRECTORY)
            except FileNotFoundError:
                if not make:
                    raise
            return self._make(path)
        except FileNotFoundError as error:
            raise errors.NotFound(f"archive: no such directory inside: {os.fsdecode(path)}") from error
        except (NotADirectoryError, FileExistsError) as error:
            raise refused("a parent is not a directory", path) from error
        except OSError as error:
            raise refused(f"a parent cannot be reached ({error.strerror})", path) from error

    def _make(self, path: bytes) -> int:
        made = walk.make_dirs(self.root, os.fsdecode(path), 0o755, *self._owner)
        try:
            return os.open(".", _DIRECTORY, dir_fd=made)
        finally:
            os.close(made)

    def remove(self, parent: int, base: bytes) -> None:
        """Take away whatever has the name `base` in `parent`, a whole directory too. Never crosses a mount."""
        try:
            walk.remove_tree(parent, os.fsdecode(base))
        finally:
            self.forget()

    def trim(self) -> None:
        """Keep the number of open fds bounded. Call it only when no fd got from `directory` is in use."""
        if len(self._fds) >= _KEPT:
            self.forget()

    def forget(self) -> None:
        """Close the kept fds."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()
