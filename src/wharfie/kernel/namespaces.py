"""Namespaces and the one way to start a process in new ones: clone3(2), setns(2), unshare(2)."""

from __future__ import annotations

import ctypes
import os
import struct

from .syscalls import MACHINE, NR_CLONE, NR_CLONE3, call_held, check, held, libc, prctl

CLONE_NEWTIME = 0x80
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

CLONE_PARENT = 0x8000
CLONE_PIDFD = 0x1000
CLONE_CHILD_CLEARTID = 0x200000
CLONE_CHILD_SETTID = 0x1000000
CLONE_CLEAR_SIGHAND = 0x100000000
CLONE_INTO_CGROUP = 0x200000000

# The OCI runtime spec's names of kinds → flag and the name in /proc/<pid>/ns.
FLAGS: dict[str, int] = {
    "user": CLONE_NEWUSER,
    "mount": CLONE_NEWNS,
    "pid": CLONE_NEWPID,
    "network": CLONE_NEWNET,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "cgroup": CLONE_NEWCGROUP,
    "time": CLONE_NEWTIME,
}
PROC_NAMES: dict[str, str] = {
    "user": "user", "mount": "mnt", "pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup",
    "time": "time", "net": "net", "mnt": "mnt",
}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIGCHLD = 17
_PR_GET_TID_ADDRESS = 40
# struct clone_args (include/uapi/linux/sched.h): flags pidfd child_tid parent_tid exit_signal stack stack_size tls
# set_tid set_tid_size cgroup
_CLONE_ARGS = struct.Struct("=11Q")

libc.unshare.argtypes = [ctypes.c_int]
libc.setns.argtypes = [ctypes.c_int, ctypes.c_int]
for _name in ("PyOS_BeforeFork", "PyOS_AfterFork_Parent", "PyOS_AfterFork_Child"):
    getattr(held, _name).argtypes = []
    getattr(held, _name).restype = None


def unshare(flags: int) -> None:
    """unshare(2): this process moves into new namespaces (for a pid namespace: its future children do).
    User and mount namespaces need a single-threaded process. Raises OSError."""
    check(libc.unshare(flags))


def setns(fd: int, flags: int = 0) -> None:
    """setns(2): join the namespace behind `fd`; `flags` 0 takes any kind. With a pidfd, several kinds in one step
    (Linux 5.8). A pid namespace applies to children only. Raises OSError."""
    check(libc.setns(fd, flags))


def open_ns(pid: int | str, kind: str) -> int:
    """An fd on a namespace of a process ("self" or a pid); `kind` in the OCI's or the kernel's word. Raises OSError:
    EACCES without ptrace rights over the process."""
    return os.open(f"/proc/{pid}/ns/{PROC_NAMES[kind]}", os.O_RDONLY | os.O_CLOEXEC)


def clone3(flags: int, *, pidfd: bool = True, cgroup: int = -1, exit_signal: int = _SIGCHLD) -> tuple[int, int]:
    """clone3(2) as a fork with namespaces: (pid, pidfd) in the parent, (0, -1) in the child, which must end in execve
    or os._exit and must never return into its parent's stack.

    `cgroup` is a directory fd of a v2 cgroup to be born in (CLONE_INTO_CGROUP, Linux 5.7); v1 has no such thing.
    The caller is single-threaded: the interpreter's own fork hooks run around the call, but no other thread is there
    in the child. The C library's cached thread id is renewed by the kernel (CHILD_SETTID on the address that
    PR_GET_TID_ADDRESS names), so that raise() and abort() work in the child.
    Raises OSError: EPERM, EINVAL, ENOSPC (too many namespaces), EBUSY or EOPNOTSUPP of the cgroup.
    """
    opened = ctypes.c_int(-1)
    tid = _tid_address()
    if pidfd:
        flags |= CLONE_PIDFD
    if cgroup >= 0:
        flags |= CLONE_INTO_CGROUP
    if tid:
        flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID
    arguments = ctypes.create_string_buffer(
        _CLONE_ARGS.pack(flags, ctypes.addressof(opened) if pidfd else 0, tid, 0, exit_signal, 0, 0, 0, 0, 0,
                         max(cgroup, 0)),
        _CLONE_ARGS.size,
    )
    pid = _fork(NR_CLONE3, arguments, _CLONE_ARGS.size)
    return pid, opened.value if pid else -1


def clone(flags: int, *, pidfd: bool = True, exit_signal: int = _SIGCHLD) -> tuple[int, int]:
    """The same by the older clone(2), which a seccomp filter can look into: Docker's default profile answers clone3
    with ENOSYS and lets this one pass. With CLONE_PARENT `exit_signal` is the parent's own, whatever is said here."""
    opened = ctypes.c_int(-1)
    tid = _tid_address()
    flags |= exit_signal | (CLONE_PIDFD if pidfd else 0) | (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID if tid else 0)
    out = ctypes.byref(opened) if pidfd else 0
    pid = _fork(NR_CLONE, flags, 0, out, *((tid, 0) if MACHINE == "x86_64" else (0, tid)))
    return pid, opened.value if pid else -1


def _fork(nr: int, *args: Any) -> int:
    """A raw cloning call between the interpreter's fork hooks."""
    held.PyOS_BeforeFork()
    try:
        pid = call_held(nr, *args)
    except OSError:
        held.PyOS_AfterFork_Parent()
        raise
    if pid == 0:
        held.PyOS_AfterFork_Child()
    else:
        held.PyOS_AfterFork_Parent()
    return pid


def _tid_address() -> int:
    """Where the C library keeps this thread's id; 0 when the kernel cannot say (needs CHECKPOINT_RESTORE)."""
    address = ctypes.c_ulong(0)
    try:
        prctl(_PR_GET_TID_ADDRESS, ctypes.byref(address))
    except OSError:
        return 0
    return address.value
