"""The undertaker: forked by the zygote when a shim has gone and left its container behind (the parent-death signal is
only the first net: setuid programs clear it), and at engine start for every run directory whose lock is free.

It takes the lock, kills the tree, records that nobody saw the end, and removes the control group. The run directory
itself is the engine's to remove.

A shim that was killed while it is stuck in the kernel (state D) keeps its lock until it gets out, which may be never.
It will not run one more instruction then: who has SIGKILL pending is as good as dead, and its container is ended
without the lock.
"""

from __future__ import annotations

import os
import select
import signal

from wharfie.base import errors, paths, when
from wharfie.kernel import cgroups, process

from . import record
from .wire import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wharfie.shim.wire import Launch

_LOCK_TRIES, _LOCK_PAUSE = 40, 0.05
_DEATH_SECONDS = 10.0
REASON = "the container's shim was killed; the container was ended and its exit code is unknown"


def run(directory: str, reason: str = "", doomed: int = 0) -> None:
    """Bury what is in `directory`. `reason` is recorded as why the container has ended; `doomed` is the pid of a shim
    that was killed. Does nothing when another shim holds the lock. Idempotent. Raises OSError."""
    process.close_range(3)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process.set_title(f"wharfie-undertaker {os.path.basename(directory)}")
    home = paths.RunDirectory(directory)
    if not _lock(home) and not _is_doomed(doomed):
        return
    group = _cgroup(home)
    _end(home, group)
    if record.read(home.exit) is None:
        record.write_exit(home, Exit(record.UNKNOWN_CODE, None, False, reason or REASON, when.now()))
    if group is not None:
        try:
            group.delete(patience=_DEATH_SECONDS)
        except OSError:
            pass  # still busy: found again at the engine's next start
    try:
        os.unlink(home.socket)
    except FileNotFoundError:
        pass


def _lock(home: paths.RunDirectory) -> bool:
    """A shim that has just been killed gives its lock back when the kernel has taken it apart: try for a while."""
    for _ in range(_LOCK_TRIES):
        try:
            record.lock(home)
        except FileNotFoundError:
            return False  # the engine has removed the directory
        except BlockingIOError:
            select.select([], [], [], _LOCK_PAUSE)
        else:
            return True
    return False


def _is_doomed(pid: int) -> bool:
    """Whether a process exists and has SIGKILL pending (proc(5), status): nothing can take that back."""
    if pid <= 1:
        return False
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = dict(line.split(b":\t", 1) for line in file if b":\t" in line)
    except OSError:
        return False
    return any(int(lines.get(name, b"0"), 16) >> (signal.SIGKILL - 1) & 1 for name in (b"SigPnd", b"ShdPnd"))


def _cgroup(home: paths.RunDirectory) -> cgroups.Cgroup | None:
    try:
        launch: Launch | None = record.read_launch(home)
        made = cgroups.Cgroup(launch.cgroup) if launch is not None and launch.cgroup else None
    except (errors.Invalid, OSError):
        return None
    return made if made is not None and made.exists() else None


def _end(home: paths.RunDirectory, group: cgroups.Cgroup | None) -> None:
    """Kill everything of the container and wait until it is gone."""
    init = _init(home)
    if group is not None:
        try:
            group.thaw()  # v1: a frozen process dies only when thawed
        except OSError:
            pass
        try:
            group.kill()
        except OSError:
            pass
    if init < 0:
        return
    process.kill_pidfd(init)
    select.select([init], [], [], _DEATH_SECONDS)
    os.close(init)


def _init(home: paths.RunDirectory) -> int:
    """A pidfd on the recorded init, -1 when it is gone: the pid alone proves nothing, its start time does."""
    known = record.read(home.init) or {}
    pid = known.get("pid")
    if not isinstance(pid, int) or pid <= 1:
        return -1
    try:
        fd = process.pidfd_open(pid)
    except OSError:
        return -1
    try:
        if process.start_time(pid) == known.get("start_time"):
            return fd
    except OSError:
        pass
    os.close(fd)
    return -1
