"""What a plan is made of: an operation says in words what it does (`describe`) and does it (`perform`). The world is
what the operations leave to each other while init works; it never leaves that process."""

from __future__ import annotations

import os
import stat

from wharfie.base import errors
from wharfie.base.value import Value
from wharfie.kernel import mounts, walk

# Below these the image has no say: no symbolic link on the way (CVE-2023-27561, CVE-2019-19921, CVE-2026-41579).
KERNEL_TREES = ("/proc", "/sys", "/dev")


class World:
    """The state of one init or joiner.

    root: O_PATH fd of the container's root. trees: the detached mounts that the parent opened, by the plan's index.
    namespaces: those made ahead, (kind, fd). joins: the cgroup's files, opened by the parent, to write "0" to.
    proc, dev: fds of the container's own procfs and of its tmpfs at /dev, -1 before they exist. null: fd of a /dev/null
    that nobody can have swapped.
    terminal: (master, slave) once a console exists.
    """

    def __init__(
        self, root: int, *, trees: tuple[int, ...] = (), namespaces: tuple[tuple[str, int], ...] = (),
        joins: tuple[int, ...] = (),
    ) -> None:
        self.root = root
        self.trees = trees
        self.namespaces = namespaces
        self.joins = joins
        self.proc = -1
        self.null = -1
        self.dev = -1
        self.terminal: tuple[int, int] | None = None

    def directory(self, path: str) -> int:
        """An O_PATH fd of the directory `path` in the root, made if missing. Raises OSError."""
        if not in_kernel_tree(path):
            return walk.make_dirs(self.root, path)
        try:
            return self.plain(path, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            os.close(walk.make_dirs(self.root, path))
            return self.plain(path, os.O_PATH | os.O_DIRECTORY)

    def place_for(self, tree: int, path: str) -> int:
        """An O_PATH fd of the place where `tree` is to be mounted: a directory for a directory, else a file."""
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            return self.directory(path)
        if in_kernel_tree(path):
            os.close(self.directory(os.path.dirname(path)))
        return walk.make_file(self.root, path)

    def plain(self, path: str, flags: int = os.O_PATH) -> int:
        """Open `path` in the root where no component may be a symbolic link. Raises OSError (ELOOP)."""
        return walk.open_in_root(self.root, path, flags, resolve=walk.RESOLVE_NO_SYMLINKS)

    def attach(self, tree: int, path: str) -> None:
        """Mount the detached `tree` at `path` in the root."""
        head, _, name = path.rpartition("/")
        if head == "/dev" and self.dev >= 0 and self._fresh(tree, name):
            mounts.move_mount(tree, self.dev, name)
            return
        place = self.place_for(tree, path)
        try:
            if not in_kernel_tree(path) and mounts.fs_type(place) == mounts.PROC_SUPER_MAGIC:
                raise errors.Invalid(f"{path} leads into /proc, where nothing may be mounted", name=path)
            mounts.move_mount(tree, place)
        finally:
            os.close(place)

    def _fresh(self, tree: int, name: str) -> bool:
        """Make the place for `tree` directly in our own /dev; whether there was nothing of that name."""
        try:
            if stat.S_ISDIR(os.fstat(tree).st_mode):
                os.mkdir(name, 0o755, dir_fd=self.dev)
            else:
                os.mknod(name, stat.S_IFREG | 0o644, dir_fd=self.dev)
        except FileExistsError:
            return False
        return True


def in_kernel_tree(path: str) -> bool:
    """Whether `path` (absolute, normal) is /proc, /sys, /dev or below."""
    return any(path == top or path.startswith(top + "/") for top in KERNEL_TREES)


class Operation(Value):
    """One step of a plan. A subclass is a frozen value with what the step needs."""

    def describe(self) -> str:
        """What it does, as a phrase that can stand before a colon and an error: "mount proc at /proc"."""
        raise NotImplementedError

    def perform(self, world: World) -> None:
        """Do it. Raises OSError or a WharfieError."""
        raise NotImplementedError
