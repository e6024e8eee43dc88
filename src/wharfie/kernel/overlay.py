"""Overlay root file systems as detached mounts: the fd *is* the rootfs.

Directories are named to the kernel as /proc/self/fd/<n>: short enough for fsconfig (255 bytes a value) and for mount(2)
(one page for all), free of characters to escape, and nothing of the host's layout shows in the container's mountinfo.

Two ways lead to the mount. `fsconfig lowerdir+` (Linux 6.7 on), else mount(2) in a mount namespace that lives only as
long as a throw-away thread, with open_tree(CLONE) to carry the mount out of it. Which one a kernel takes is found by
trying: EINVAL is what an older one says to the first (before 6.15 to id-mapped clones that are not attached anywhere).
Kernels before 6.5 are not asked: each refusal would be a line in their log, at every start of a container.

Index, redirect and metacopy are pinned off: a layer or an upper directory must mean the same on every host and to every
reader (diff, commit, copy), whatever the kernel's build defaults are.
"""

from __future__ import annotations

import _thread
import errno
import os

from wharfie.base.value import Value

from . import mounts
from .namespaces import CLONE_NEWNS, unshare
from .syscalls import AT_FDCWD, error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    _Options = list[tuple[str, str]]

PINNED = (("index", "off"), ("redirect_dir", "off"), ("metacopy", "off"))
MAX_LOWERS = 500  # the kernel's OVL_MAX_STACK


class IdMap(Value):
    """Who is who: (inside, outside, count) for users and groups."""

    uids: tuple[tuple[int, int, int], ...]
    gids: tuple[tuple[int, int, int], ...]

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> IdMap:
        return cls(_triples(d["uids"]), _triples(d["gids"]))


class Rootfs(Value):
    """What a root file system is made of. `lowers` has the top layer first. `upper` "" makes a read-only view. With
    `idmap` the lowers are id-mapped and the upper is plain: its owner is whoever the mapped root is. `userxattr` is
    for mounting inside a user namespace, where trusted.* attributes are forbidden."""

    lowers: tuple[str, ...]
    upper: str = ""
    work: str = ""
    idmap: IdMap | None = None
    readonly: bool = False
    userxattr: bool = False

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Rootfs:
        """The inverse of asdict(). Raises KeyError and TypeError for what is not one."""
        idmap = d.get("idmap")
        return cls(
            tuple(d["lowers"]), d.get("upper", ""), d.get("work", ""),
            IdMap.from_dict(idmap) if idmap else None, bool(d.get("readonly")), bool(d.get("userxattr")),
        )


def _release() -> tuple[int, int]:
    """Major and minor of the running kernel; of one that calls itself something else, a new one's."""
    words = os.uname().release.split(".")
    try:
        return int(words[0]), int(words[1])
    except (ValueError, IndexError):
        return _NEW_WAY


_NEW_WAY = (6, 5)
_ASK = _release() >= _NEW_WAY


def mount(rootfs: Rootfs, userns_fd: int = -1) -> int:
    """The rootfs as a detached mount: an O_PATH fd, close-on-exec; when the last fd and the last place it is attached
    at are gone, so is the mount. `userns_fd` is the user namespace that realises `rootfs.idmap`.
    Raises OSError; EINVAL carries the kernel's words, FileNotFoundError names the missing directory."""
    if len(rootfs.lowers) > MAX_LOWERS:
        raise error(errno.E2BIG, detail=f"{len(rootfs.lowers)} layers, overlay takes {MAX_LOWERS}")
    if rootfs.idmap is not None and userns_fd < 0:
        raise error(errno.EINVAL, detail="an id-mapped rootfs needs its user namespace")
    mapped = userns_fd if rootfs.idmap is not None else -1
    held: list[int] = []
    try:
        if not rootfs.lowers:
            return _single(rootfs.upper, rootfs.readonly, -1)
        if len(rootfs.lowers) == 1 and not rootfs.upper:  # overlay refuses one lower without an upper
            return _single(rootfs.lowers[0], True, mapped)
        made = _overlay(rootfs, held, mapped)
    finally:
        for fd in held:
            os.close(fd)
    if rootfs.readonly or not rootfs.upper:
        mounts.mount_setattr(made, "", set=mounts.MOUNT_ATTR_RDONLY)
    return made


def _overlay(rootfs: Rootfs, held: list[int], mapped: int) -> int:
    if not _ASK:
        return _by_mount(rootfs, mapped, None)
    lowers, options = _named(rootfs, held, mapped)
    try:
        return _by_fsconfig(lowers, options, userxattr=rootfs.userxattr)
    except OSError as failed:
        if failed.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        return _by_mount(rootfs, mapped, failed)


def _triples(rows: Sequence[Sequence[int]]) -> tuple[tuple[int, int, int], ...]:
    return tuple((int(inside), int(outside), int(count)) for inside, outside, count in rows)


def _single(path: str, readonly: bool, mapped: int) -> int:
    """One directory alone as a detached mount."""
    fd = mounts.open_tree(AT_FDCWD, path)
    try:
        if mapped >= 0:
            mounts.mount_setattr(fd, "", set=mounts.MOUNT_ATTR_IDMAP, userns_fd=mapped)
        if readonly:
            mounts.mount_setattr(fd, "", set=mounts.MOUNT_ATTR_RDONLY)
    except OSError:
        os.close(fd)
        raise
    return fd


def _named(rootfs: Rootfs, held: list[int], mapped: int, *, attach: bool = False) -> tuple[list[str], _Options]:
    """The lowers and the options by short names, which are valid while the descriptors in `held` are open."""
    lowers = [_hold(path, held, mapped, attach=attach) for path in rootfs.lowers]
    options = list(PINNED)
    if rootfs.upper:
        options += [("upperdir", _hold(rootfs.upper, held)), ("workdir", _hold(rootfs.work, held))]
    return lowers, options


def _hold(path: str, held: list[int], mapped: int = -1, *, attach: bool = False) -> str:
    """A short name for a directory; through an id-mapped clone if asked. Before Linux 6.15 overlay wants such a clone
    attached somewhere in the namespace of the caller: over its own directory."""
    if mapped < 0:
        held.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    else:
        held.append(mounts.open_tree(AT_FDCWD, path))
        mounts.mount_setattr(held[-1], "", set=mounts.MOUNT_ATTR_IDMAP, userns_fd=mapped)
        if attach:
            mounts.attach_at(held[-1], path)
    return f"/proc/self/fd/{held[-1]}"


def _by_fsconfig(lowers: list[str], options: _Options, *, userxattr: bool) -> int:
    """The new way."""
    context = mounts.fsopen("overlay")
    try:
        for lower in lowers:
            mounts.fsconfig_string(context, "lowerdir+", lower)
        for key, value in options:
            mounts.fsconfig_string(context, key, value)
        if userxattr:
            mounts.fsconfig_flag(context, "userxattr")
        mounts.fsconfig_string(context, "source", "overlay")
        mounts.fsconfig_create(context)
        return mounts.fsmount(context)
    finally:
        os.close(context)


def _by_mount(rootfs: Rootfs, mapped: int, first: OSError | None) -> int:
    """The old way. The mount is made in a namespace of its own, so that not even a moment of it is seen on the host; a
    thread gives that namespace (unshare works on one thread) and takes it along when it ends. Nothing is forked: the
    engine, which may not fork, comes here too for stopped containers. When mount(2) finds the same fault, `first`, the
    new way's error, is raised: it has the kernel's words."""
    result: list[Any] = []
    done = _thread.allocate_lock()
    done.acquire()

    def work() -> None:
        try:
            result.append(_mount_and_clone(rootfs, mapped))
        except BaseException as failed:
            result.append(failed)
        finally:
            result.append(_thread.get_native_id())
            done.release()

    _thread.start_new_thread(work, ())
    done.acquire()
    _wait_gone(result[1])
    if first is not None and isinstance(result[0], OSError) and result[0].errno == errno.EINVAL:
        raise first
    if isinstance(result[0], BaseException):
        raise result[0]
    return int(result[0])


def _mount_and_clone(rootfs: Rootfs, mapped: int) -> int:
    """Everything is opened after the unshare: overlay takes only directories of the caller's own mount namespace."""
    unshare(CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    held: list[int] = []
    try:
        lowers, options = _named(rootfs, held, mapped, attach=True)
        data = ",".join(["lowerdir=" + ":".join(lowers), *(f"{k}={v}" for k, v in options)])
        if rootfs.userxattr:
            data += ",userxattr"
        # Any directory serves as the place, since nobody else sees this namespace.
        place = rootfs.lowers[0]
        mounts.mount("overlay", place, "overlay", 0, data)
        return mounts.open_tree(AT_FDCWD, place)
    finally:
        for fd in held:
            os.close(fd)


def _wait_gone(tid: int) -> None:
    """Wait until a finished thread has left the process: the caller may unshare a user namespace next, which a process
    with two threads may not."""
    for _ in range(10_000):
        if not os.path.exists(f"/proc/self/task/{tid}"):
            return
        os.sched_yield()
