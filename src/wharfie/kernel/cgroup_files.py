"""Files and directories of control groups: the handful of ways in which they are not like others."""

from __future__ import annotations

import errno
import os
import select
import time

from .cgroup_layout import read, words
from .syscalls import error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def write(path: str, value: str) -> None:
    """One write to a file of a group. Raises OSError that says what was written where."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as failed:
        raise error(failed.errno or errno.EIO, path, f"writing {value!r}") from None
    finally:
        os.close(fd)


def tree(directory: str) -> list[str]:
    """A group's directory and those below it, parents first; nothing when it is gone. A cgroup's link count says how
    many are below, and nearly always that is none."""
    try:
        if os.stat(directory).st_nlink == 2:
            return [directory]
    except FileNotFoundError:
        return []
    return [d for d, _, _ in os.walk(directory)]


def write_lines(directory: str, lines: Iterable[tuple[str, str]]) -> None:
    """Device rules to devices.allow and devices.deny in order, one rule a write: the kernel takes no more."""
    fds: dict[str, int] = {}
    try:
        for verb, line in lines:
            if verb not in fds:
                fds[verb] = os.open(f"{directory}/devices.{verb}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fds[verb], line.encode())
            except OSError as failed:
                path = f"{directory}/devices.{verb}"
                raise error(failed.errno or errno.EIO, path, f"writing {line!r}") from None
    finally:
        for fd in fds.values():
            os.close(fd)


def mkdir(path: str, *, anew: bool) -> bool:
    """Whether the directory was made now; `anew` tries to remove an empty one first."""
    for last in (False, True):
        try:
            os.mkdir(path, 0o755)
            return True
        except FileExistsError:
            if last or not anew:
                return False
        try:
            os.rmdir(path)
        except OSError:
            return False
    return False


def rmdir(path: str, limit: float) -> None:
    """Remove a group, which may be busy for a moment longer: try until time.monotonic() is `limit`. Raises OSError."""
    pause = 0.001
    while True:
        try:
            os.rmdir(path)
            return
        except FileNotFoundError:
            return
        except OSError as failed:
            if failed.errno != errno.EBUSY or time.monotonic() > limit:
                raise
        select.select([], [], [], pause)
        pause = min(pause * 2, 0.05)


def enable(directory: str, wanted: Sequence[str]) -> None:
    """Give controllers to the children of a v2 group: all at once, else each that is let (EBUSY: processes live in the
    group itself; ENOENT: the parent did not pass it down)."""
    have = words(f"{directory}/cgroup.subtree_control")
    lack = [c for c in wanted if c not in have]
    if not lack:
        return
    try:
        write(f"{directory}/cgroup.subtree_control", " ".join("+" + c for c in lack))
    except OSError:
        for controller in lack:
            try:
                write(f"{directory}/cgroup.subtree_control", "+" + controller)
            except OSError:
                pass  # the limit that needs it will say so


def copy_cpuset(directory: str) -> None:
    """A new v1 cpuset is empty (or, with cgroup.clone_children, its parent's) and takes nobody: give it what its parent
    has."""
    parent = os.path.dirname(directory)
    for name in ("cpuset.cpus", "cpuset.mems"):
        write(f"{directory}/{name}", read(f"{parent}/{name}").strip())
