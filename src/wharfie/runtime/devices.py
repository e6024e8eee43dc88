"""Operations for /dev: nodes, links, the console. /dev is ours, made by fd; the image has no say in it."""

from __future__ import annotations

import errno
import os
import stat

from wharfie.base.value import Value
from wharfie.kernel import mounts, pty, walk

from . import mounting
from .operation import Operation, World
from .options import Options

LINKS: tuple[tuple[str, str], ...] = (
    ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"), ("core", "/proc/kcore"), ("ptmx", "pts/ptmx"),
)


class Node(Value):
    """A device node. `tree` is the index of the host's node among the parent's trees, -1 to make it with mknod (which
    no user namespace allows)."""

    path: str
    kind: int
    major: int
    minor: int
    mode: int = 0o666
    uid: int = 0
    gid: int = 0
    tree: int = -1


class MakeNodes(Operation):
    """The nodes of /dev."""

    nodes: tuple[Node, ...]

    def describe(self) -> str:
        return f"make device nodes: {', '.join(n.path for n in self.nodes)}"

    def perform(self, world: World) -> None:
        dev = world.directory("/dev")
        try:
            for node in self.nodes:
                self._one(world, dev, node)
        finally:
            os.close(dev)

    def _one(self, world: World, dev: int, node: Node) -> None:
        if node.tree >= 0:
            world.attach(world.trees[node.tree], node.path)
            if node.path == "/dev/null":
                world.null = world.trees[node.tree]
            return
        head, _, name = node.path.rpartition("/")
        parent = dev if head == "/dev" else world.directory(head or "/")
        try:
            _mknod(parent, name, node)
            if node.path == "/dev/null":
                world.null = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        finally:
            if parent != dev:
                os.close(parent)


def _mknod(parent: int, name: str, node: Node) -> None:
    device = os.makedev(node.major, node.minor)
    try:
        os.mknod(name, node.kind | node.mode, device, dir_fd=parent)
    except FileExistsError:
        seen = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_IFMT(seen.st_mode) != node.kind or seen.st_rdev != device:
            raise
        return
    except OSError as error:
        error.filename = node.path
        raise
    if node.uid or node.gid:
        os.chown(name, node.uid, node.gid, dir_fd=parent, follow_symlinks=False)


class MakeLinks(Operation):
    """/dev/fd, stdin, stdout, stderr, core, ptmx."""

    def describe(self) -> str:
        return "make the links of /dev"

    def perform(self, world: World) -> None:
        dev = world.directory("/dev")
        try:
            for name, target in LINKS:
                try:
                    os.symlink(target, name, dir_fd=dev)
                except FileExistsError:
                    if name == "ptmx":  # the image's own node would lead to the host's devpts
                        os.unlink(name, dir_fd=dev)
                        os.symlink(target, name, dir_fd=dev)
        finally:
            os.close(dev)


class MakeConsole(Operation):
    """A pseudo terminal of the container's own devpts; its slave is /dev/console too. The slave is opened through the
    master and mounted by fd, never by name (CVE-2025-52565)."""

    uid: int
    size: tuple[int, int]
    place: bool = True

    def describe(self) -> str:
        return "make the console"

    def perform(self, world: World) -> None:
        pts = world.plain("/dev/pts", os.O_RDONLY | os.O_DIRECTORY)
        try:
            if mounts.fs_type(pts) != mounts.DEVPTS_SUPER_MAGIC:
                raise OSError(errno.ENODEV, "is no devpts", "/dev/pts")
            master, slave = pty.openpty(pts)
        finally:
            os.close(pts)
        if self.size != (0, 0):
            pty.set_size(slave, *self.size)
        try:
            os.fchown(slave, self.uid, -1)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL, errno.EROFS):
                raise
        world.terminal = (master, slave)
        if self.place:
            self._mount(world, slave)

    def _mount(self, world: World, slave: int) -> None:
        copy = mounts.open_tree(slave, "")
        dev = world.directory("/dev")
        os.close(dev)
        place = walk.make_file(world.root, "/dev/console", 0o620)
        try:
            mounts.move_mount(copy, place)
        finally:
            os.close(place)
            os.close(copy)


def open_null(world: World, host: int = -1) -> int:
    """The container's own /dev/null, read and write, for stdio that nobody gave: an fd of the host's node would let the
    container's root chmod it. Where it has none (any more), a node made for this. Where none can be made, in a user
    namespace, the host's, which nobody in there may change: `host`, else what is at /dev/null now. Raises OSError."""
    try:
        fd = world.plain("/dev/null", os.O_RDWR)
        seen = os.fstat(fd)
        if stat.S_ISCHR(seen.st_mode) and seen.st_rdev == os.makedev(1, 3):
            return fd
        os.close(fd)
    except OSError:
        pass
    try:
        return _private_null()
    except OSError:
        return os.dup(host) if host >= 0 else os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)


def _private_null() -> int:
    tree = mounting.make("tmpfs", "null", Options(data=("mode=755", "size=4k")))
    try:
        os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3), dir_fd=tree)
        return os.open("null", os.O_RDWR | os.O_CLOEXEC, dir_fd=tree)
    finally:
        os.close(tree)
