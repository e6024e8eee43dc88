"""Processes: pidfds, names, parent death, signals, the descriptors before execve.

Signals go by pidfd only. The one function that takes a pid refuses 1 and below: kill(-1) as root ends the machine, and
libraries that return -1 for "none" exist.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from .syscalls import (
    AT_EMPTY_PATH,
    NR_CLOSE_RANGE,
    NR_EXECVEAT,
    NR_PIDFD_GETFD,
    NR_PIDFD_OPEN,
    NR_PIDFD_SEND_SIGNAL,
    NR_RT_SIGACTION,
    NR_SIGNALFD4,
    call,
    error,
    prctl,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Mapping, Sequence
else:
    import _signal  # without the enums of `signal`, which cost milliseconds

SIGKILL = 9
CLOSE_RANGE_UNSHARE = 2
CLOSE_RANGE_CLOEXEC = 4
MAX_FD = 0xFFFFFFFF

_PR_SET_PDEATHSIG = 1
_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_CLD_EXITED = 1
_NSIG = 65


def pidfd_open(pid: int) -> int:
    """pidfd_open(2), close-on-exec. Raises ProcessLookupError when there is no such process, OSError EINVAL for a pid
    of 1 or less."""
    if pid <= 1:
        raise error(errno.EINVAL, detail=f"no pidfd is opened for pid {pid}")
    return call(NR_PIDFD_OPEN, pid, 0)


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    """pidfd_send_signal(2); signal 0 only probes. Raises ProcessLookupError when the process has ended."""
    if pidfd < 0:
        raise error(errno.EBADF)
    call(NR_PIDFD_SEND_SIGNAL, pidfd, signal, 0, 0)


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """A copy of another process's descriptor (needs ptrace rights; Linux 5.6). Raises OSError."""
    return call(NR_PIDFD_GETFD, pidfd, fd, 0)


def kill_pidfd(pidfd: int) -> bool:
    """SIGKILL; whether there was anything to kill."""
    try:
        pidfd_send_signal(pidfd, SIGKILL)
    except ProcessLookupError:
        return False
    return True


def pid_of(pidfd: int) -> int:
    """The pid behind a pidfd as this pid namespace numbers it, -1 when it is gone (pidfd_open(2), proc(5) fdinfo)."""
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as file:
        return next((int(line.split()[1]) for line in file if line.startswith("Pid:")), -1)


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot (field 22 of /proc/<pid>/stat, proc(5)): together with the
    pid it names a process for good. Raises FileNotFoundError or ProcessLookupError when it is gone."""
    return int(stat_fields(pid)[19])


def stat_fields(pid: int | str) -> list[bytes]:
    """The fields of /proc/<pid>/stat from the third (state) on; the second may hold anything, `)` included."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()


def waitid_pidfd(pidfd: int, *, block: bool = False) -> tuple[str, int] | None:
    """Reap a child by its pidfd: ("exited", code), ("killed", signal), or None while it runs. Only the parent may
    (anyone may poll a pidfd). Raises ChildProcessError."""
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | (0 if block else os.WNOHANG))
    if result is None:
        return None
    return ("exited" if result.si_code == _CLD_EXITED else "killed"), result.si_status


def subreaper() -> None:
    """Orphaned descendants become children of this process (PR_SET_CHILD_SUBREAPER)."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_dumpable(dumpable: bool) -> None:
    """Whether others of the same uid may ptrace this process and read its /proc entries. execve sets it to 1 again, a
    uid change to fs.suid_dumpable: set it anew after either."""
    prctl(_PR_SET_DUMPABLE, int(dumpable))


def is_dumpable() -> bool:
    """Whether the process is dumpable (PR_GET_DUMPABLE is 1)."""
    return prctl(_PR_GET_DUMPABLE) == 1


def pdeathsig(signal: int) -> None:
    """The signal this process gets when its parent *thread* ends; fork, a uid change, and setuid or capability-bearing
    programs clear it. Set it last and check getppid() afterwards."""
    prctl(_PR_SET_PDEATHSIG, signal)


def set_title(title: str) -> None:
    """The name in ps and top: the thread name (15 bytes), and the whole in the argument area as far as it reaches."""
    raw = title.encode()
    prctl(_PR_SET_NAME, ctypes.create_string_buffer(raw[:15]))
    fields = stat_fields("self")
    start, end = int(fields[45]), int(fields[46])
    if end - start > 1:
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, raw, min(len(raw), end - start - 1))


def close_range(first: int, last: int = MAX_FD, flags: int = 0) -> None:
    """close_range(2) of first..last, both inclusive; before Linux 5.9 by /proc/self/fd. Raises OSError."""
    if first > last:
        return
    try:
        call(NR_CLOSE_RANGE, first, last, flags)
    except OSError as failed:
        if failed.errno not in (errno.ENOSYS, errno.EINVAL):
            raise
        _close_each(first, last, flags)


def _close_each(first: int, last: int, flags: int) -> None:
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if first <= fd <= last:
            try:
                if flags & CLOSE_RANGE_CLOEXEC:
                    os.set_inheritable(fd, False)
                else:
                    os.close(fd)
            except OSError:
                pass  # the listing's own descriptor


def signal_fd(number: int) -> int:
    """Block a signal and read it from a descriptor instead (signalfd(2)): non-blocking, close-on-exec. Children inherit
    the mask and not the descriptor's meaning; `reset_signals` unblocks. Raises OSError."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, (number,))
    mask = struct.pack("=Q", 1 << (number - 1))
    return call(NR_SIGNALFD4, -1, mask, len(mask), os.O_CLOEXEC | os.O_NONBLOCK)


_LIBRARY_SIGNALS = (32, 33)
_MASK_SIZE = 8
# struct sigaction of the kernel: handler SIG_DFL, no flags, no restorer, empty mask
_DEFAULT_ACTION = bytes(32)


def reset_signals() -> None:
    """Every disposition to the default and nothing blocked: Python ignores SIGPIPE and SIGXFSZ, and execve keeps what
    is ignored or blocked."""
    for number in range(1, _NSIG):
        try:
            _signal.signal(number, _signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # SIGKILL, SIGSTOP and the two the C library keeps for itself
    for number in _LIBRARY_SIGNALS:
        # The library's sigaction refuses its own two, but whoever started us may have left them ignored.
        call(NR_RT_SIGACTION, number, _DEFAULT_ACTION, None, _MASK_SIZE)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def execveat(dirfd: int, path: str, args: Sequence[str | bytes], env: Mapping[str, str], flags: int = 0) -> None:
    """execveat(2): returns only by raising OSError. With path "" and AT_EMPTY_PATH the program is `dirfd` itself."""
    argv = (ctypes.c_char_p * (len(args) + 1))(*(os.fsencode(a) for a in args), None)
    envp = (ctypes.c_char_p * (len(env) + 1))(*(os.fsencode(f"{k}={v}") for k, v in env.items()), None)
    if not path:
        flags |= AT_EMPTY_PATH
    call(NR_EXECVEAT, dirfd, os.fsencode(path), argv, envp, flags, path=path)
