"""Operations that build the container's file system tree. Every place is found by a walk on held fds inside the root,
every mount is an fd that is moved there; no path is used twice (CVE-2021-30465, CVE-2024-45310)."""

from __future__ import annotations

import errno
import os

from wharfie.kernel import mounts

from . import channel, faults, tinyinit
from .operation import Operation, World
from .options import Options, decorate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SUPER_WORDS = frozenset(("sync", "dirsync", "lazytime", "mand"))


class AttachRoot(Operation):
    """The rootfs on top of the old root. From here on it is in this mount namespace, so that mounts can go onto it;
    nothing propagates back to the host."""

    def describe(self) -> str:
        return "attach the root file system"

    def perform(self, world: World) -> None:
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        mounts.attach_at(world.root, "/")


def make(fstype: str, source: str, options: Options) -> int:
    """A detached mount of a new file system, with its attributes. Raises OSError."""
    config = mounts.fsopen(fstype)
    try:
        if source:
            mounts.fsconfig_string(config, "source", source)
        for word in options.data:
            key, equals, value = word.partition("=")
            if equals:
                mounts.fsconfig_string(config, key, value)
            else:
                mounts.fsconfig_flag(config, key)
        mounts.fsconfig_create(config)
        tree = mounts.fsmount(config, attributes=(options.set | options.below_set) & ~mounts.MOUNT_ATTR__ATIME)
    finally:
        os.close(config)
    atime = options.set & mounts.MOUNT_ATTR__ATIME
    if atime or options.propagation:
        decorate(tree, Options(set=atime, clear=mounts.MOUNT_ATTR__ATIME if atime else 0,
                               propagation=options.propagation, propagation_below=options.propagation_below))
    return tree


class MountNew(Operation):
    """A new file system: tmpfs, mqueue, devpts, and what else the kernel knows."""

    type: str
    source: str
    destination: str
    options: Options

    def describe(self) -> str:
        return f"mount {self.type} at {self.destination}"

    def perform(self, world: World) -> None:
        tree = make(self.type, self.source, self.options)
        if self.destination == "/dev":
            world.attach(tree, self.destination)
            world.dev = tree
            return
        try:
            world.attach(tree, self.destination)
        finally:
            os.close(tree)


class MountProc(MountNew):
    """procfs of the container's pid namespace. Its fd is kept: sysctls are written through it and not through a path
    (CVE-2025-52881). procfs shows the pid namespace of its maker; where that is shared and the maker stays outside, the
    kernel is told which one (option pidns, Linux 6.17), else a child goes in for this one thing."""

    shared_pid: bool = False

    def perform(self, world: World) -> None:
        if self.shared_pid:
            tree = _proc_of(dict(world.namespaces)["pid"], self.source, self.options)
        else:
            tree = make(self.type, self.source, self.options)
        world.attach(tree, self.destination)
        world.proc = tree


def _proc_of(pid_namespace: int, source: str, options: Options) -> int:
    """A procfs of a pid namespace that its caller's children are in, but not the caller."""
    config = mounts.fsopen("proc")
    try:
        mounts.fsconfig_fd(config, "pidns", pid_namespace)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return _by_child(lambda: make("proc", source, options))
    else:
        mounts.fsconfig_create(config)
        return mounts.fsmount(config, attributes=options.set & ~mounts.MOUNT_ATTR__ATIME)
    finally:
        os.close(config)


def _by_child(work: Callable[[], int]) -> int:
    """The fd that `work` makes, made in a child."""
    mine, theirs = channel.pair()
    pid = os.fork()
    if pid == 0:
        try:
            theirs.send({"made": 1}, (work(),))
        except BaseException as error:
            theirs.send({"failed": faults.describe(error, "mount proc")})
        finally:
            os._exit(0)
    theirs.close()
    got = mine.receive()
    mine.close()
    os.waitpid(pid, 0)
    if got is None or "failed" in got[0]:
        raise faults.revive(got[0]["failed"]) if got else OSError(errno.EIO, "the child ended without a word")
    return got[1][0]


class MountBind(Operation):
    """A tree of the host, opened by the parent in the host's mount namespace and given its attributes there."""

    index: int
    source: str
    destination: str

    def describe(self) -> str:
        return f"bind {self.source} at {self.destination}"

    def perform(self, world: World) -> None:
        world.attach(world.trees[self.index], self.destination)


class MountCgroup(Operation):
    """The container's own cgroup, seen from inside its cgroup namespace: one file system on v2; on v1 and hybrid hosts
    a tmpfs with one directory for each hierarchy."""

    destination: str
    options: Options
    unified: bool
    # Directory name, its words for mount, and the index of the group's own directory among the parent's trees: a copy
    # of that is cheaper by far than another view of the hierarchy (-1: no group of its own).
    hierarchies: tuple[tuple[str, tuple[str, ...], int], ...] = ()

    def describe(self) -> str:
        return f"mount cgroup at {self.destination}"

    def perform(self, world: World) -> None:
        if self.unified:
            tree = make("cgroup2", "cgroup", self.options)
            world.attach(tree, self.destination)
            os.close(tree)
            return
        writable = Options(set=self.options.set & ~mounts.MOUNT_ATTR_RDONLY, data=("mode=755",))
        top = make("tmpfs", "tmpfs", writable)
        try:
            world.attach(top, self.destination)
            for name, words, index in self.hierarchies:
                tree = world.trees[index] if index >= 0 else self._view(words)
                os.mkdir(name, 0o755, dir_fd=top)
                mounts.move_mount(tree, top, name)
                if index < 0:
                    os.close(tree)
                _links(top, name)
            decorate(top, Options(set=self.options.set & mounts.MOUNT_ATTR_RDONLY))
        finally:
            os.close(top)

    def _view(self, words: tuple[str, ...]) -> int:
        options = self.options.replace(data=words, propagation=0)
        return make("cgroup" if words else "cgroup2", "cgroup", options)


def _links(top: int, name: str) -> None:
    """cpu → cpu,cpuacct for controllers that share a hierarchy."""
    parts = name.split(",")
    for part in parts if len(parts) > 1 else ():
        os.symlink(name, part, dir_fd=top)


class MountInit(Operation):
    """Our own tiny init as a read-only file: a tmpfs that holds only it, of which only the file is mounted. A copy can
    be taken only of what is attached, so the tmpfs is attached in the old tree, which goes away with the pivot."""

    destination: str
    aside: str = "/sys"

    def describe(self) -> str:
        return f"place the tiny init at {self.destination}"

    def perform(self, world: World) -> None:
        tree = make("tmpfs", "wharfie-init", Options(data=("mode=755", "size=64k")))
        mounts.attach_at(tree, self.aside)
        file = os.open("init", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755, dir_fd=tree)
        os.write(file, tinyinit.image())
        os.close(file)
        file = os.open("init", os.O_PATH | os.O_CLOEXEC, dir_fd=tree)
        copy = mounts.open_tree(file, "")
        decorate(copy, Options(set=mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV))
        world.attach(copy, self.destination)
        for fd in (copy, file, tree):
            os.close(fd)


class MakeDirectory(Operation):
    """A directory inside the root: the working directory, when the image lacks it."""

    path: str

    def describe(self) -> str:
        return f"make the directory {self.path}"

    def perform(self, world: World) -> None:
        try:
            os.close(world.directory(self.path))
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.EROFS, errno.EACCES):
                raise  # what is there and is no directory is named when the process is to go there


class SealRoot(Operation):
    """The root read-only, after everything that had to be made in it; mounts on it keep their own mode."""

    def describe(self) -> str:
        return "make the root read-only"

    def perform(self, world: World) -> None:
        mounts.mount_setattr(world.root, "", set=mounts.MOUNT_ATTR_RDONLY)


class DisarmNodes(Operation):
    """Device nodes in the image open nothing: for hosts where no cgroup keeps the device rules. /dev has a mount of its
    own."""

    def describe(self) -> str:
        return "disarm the device nodes of the root"

    def perform(self, world: World) -> None:
        mounts.mount_setattr(world.root, "", set=mounts.MOUNT_ATTR_NODEV)


class Pivot(Operation):
    """The new root becomes the root, the old one is stacked on it and let go: nothing of the host can be named any
    more. Propagation of the root is set last, since pivot_root refuses a shared one."""

    propagation: int = 0
    below: bool = False

    def describe(self) -> str:
        return "pivot into the root"

    def perform(self, world: World) -> None:
        os.fchdir(world.root)
        mounts.pivot_root(".", ".")
        mounts.umount2(".", mounts.MNT_DETACH)
        os.chdir("/")
        if self.propagation:
            mounts.mount_setattr(world.root, "", propagation=self.propagation, recursive=self.below)
