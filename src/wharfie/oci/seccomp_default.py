"""The default seccomp profile as data, and the function that resolves it for one container.

The tables are written by tools/make_seccomp_default.py; the facts are those of Docker's default profile (moby,
profiles/seccomp): deny by default with EPERM, allow what programs need, widen by capability, narrow by argument.
`socket` leaves out AF_ALG (38) and AF_VSOCK (40); clone3 answers ENOSYS, so that libc falls back to clone, whose flags
a filter can see (a filter cannot read memory).
"""

from __future__ import annotations

from wharfie.base.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any

ALLOW, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
EPERM = 1


class Rule(Value):
    """Names (one string, blanks between) and the conditions under which the rule is there. `arg` is (index, operator,
    value, second value); `kernel` the least version."""

    names: str
    action: str = ALLOW
    errno: int = 0
    arg: tuple[int, str, int, int] | None = None
    caps: tuple[str, ...] = ()
    arches: tuple[str, ...] = ()
    without_caps: tuple[str, ...] = ()
    without_arches: tuple[str, ...] = ()
    kernel: tuple[int, int] = (0, 0)


# Machine (uname -m) → the profile's word for the architecture, and libseccomp's.
ARCHITECTURES: dict[str, tuple[str, str]] = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
}


def applies(rule: Rule, caps: Collection[str], arch: str, kernel: tuple[int, int]) -> bool:
    """Whether a rule belongs into the filter of a container with these bounding capabilities, on this architecture
    (the profile's word) and kernel. All included capabilities are needed; one excluded is enough to drop the rule."""
    return (
        all(c in caps for c in rule.caps)
        and not any(c in caps for c in rule.without_caps)
        and (not rule.arches or arch in rule.arches)
        and arch not in rule.without_arches
        and kernel >= rule.kernel
    )


_resolved: dict[tuple[frozenset[str], str, tuple[int, int]], dict[str, Any]] = {}
_REMEMBERED = 16


def resolve(caps: Iterable[str], machine: str, kernel: tuple[int, int]) -> dict[str, Any]:
    """OCI `linux.seccomp` of the default profile: not to be changed, since it is remembered. `caps` is the bounding set
    as "CAP_..." names, `machine` is uname's (an unknown one gives a profile without architectures: the native one
    only), `kernel` as (major, minor)."""
    held = frozenset(caps)
    found = _resolved.get((held, machine, kernel))
    if found is not None:
        return found
    arch, native = ARCHITECTURES.get(machine, (machine, ""))
    syscalls = [_syscall(r) for r in RULES if applies(r, held, arch, kernel)]
    out: dict[str, Any] = {"defaultAction": ERRNO, "defaultErrnoRet": EPERM, "syscalls": syscalls}
    if native:
        out["architectures"] = [native, *SUBARCHITECTURES.get(native, ())]
    if len(_resolved) >= _REMEMBERED:
        _resolved.clear()
    _resolved[held, machine, kernel] = out
    return out


def _syscall(rule: Rule) -> dict[str, Any]:
    out: dict[str, Any] = {"names": rule.names.split(), "action": rule.action}
    if rule.errno:
        out["errnoRet"] = rule.errno
    if rule.arg:
        index, op, value, second = rule.arg
        out["args"] = [{"index": index, "value": value, "valueTwo": second, "op": op}]
    return out


SUBARCHITECTURES: dict[str, tuple[str, ...]] = {
    "SCMP_ARCH_X86_64": ("SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "SCMP_ARCH_AARCH64": ("SCMP_ARCH_ARM",),
    "SCMP_ARCH_MIPS64": ("SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64N32"),
    "SCMP_ARCH_MIPS64N32": ("SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64"),
    "SCMP_ARCH_MIPSEL64": ("SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64N32"),
    "SCMP_ARCH_MIPSEL64N32": ("SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64"),
    "SCMP_ARCH_S390X": ("SCMP_ARCH_S390",),
    "SCMP_ARCH_RISCV64": (),
    "SCMP_ARCH_LOONGARCH64": (),
}

RULES: tuple[Rule, ...] = (
    Rule("""
    _llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown
    chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
    eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark
    fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock
    fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex
    futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu
    getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer
    getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32
    getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat
    inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents
    io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule
    landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr
    listxattrat llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier
    memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect
    mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
    mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep
    newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect
    poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64
    pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64
    recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir
    rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity
    sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop
    semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area
    set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid
    setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid
    setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4
    sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat
    sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime
    timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime
    utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
"""),
    Rule("process_vm_readv process_vm_writev ptrace", kernel=(4, 8)),
    Rule("socket", arg=(0, "SCMP_CMP_LT", 38, 0)),
    Rule("socket", arg=(0, "SCMP_CMP_EQ", 39, 0)),
    Rule("socket", arg=(0, "SCMP_CMP_GT", 40, 0)),
    Rule("personality", arg=(0, "SCMP_CMP_EQ", 0, 0)),
    Rule("personality", arg=(0, "SCMP_CMP_EQ", 8, 0)),
    Rule("personality", arg=(0, "SCMP_CMP_EQ", 131072, 0)),
    Rule("personality", arg=(0, "SCMP_CMP_EQ", 131080, 0)),
    Rule("personality", arg=(0, "SCMP_CMP_EQ", 4294967295, 0)),
    Rule("swapcontext sync_file_range2", arches=("ppc64le",)),
    Rule(
        "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
        arches=("arm", "arm64"),
    ),
    Rule("arch_prctl", arches=("amd64", "x32")),
    Rule("modify_ldt", arches=("amd64", "x32", "x86")),
    Rule("s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr", arches=("s390", "s390x")),
    Rule("riscv_flush_icache", arches=("riscv64",)),
    Rule("open_by_handle_at", caps=("CAP_DAC_READ_SEARCH",)),
    Rule("""
    bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
    lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname
    sethostname setns syslog umount umount2 unshare
""", caps=("CAP_SYS_ADMIN",)),
    Rule(
        "clone",
        arg=(0, "SCMP_CMP_MASKED_EQ", 2114060288, 0),
        without_caps=("CAP_SYS_ADMIN",),
        without_arches=("s390", "s390x"),
    ),
    Rule(
        "clone",
        arg=(1, "SCMP_CMP_MASKED_EQ", 2114060288, 0),
        arches=("s390", "s390x"),
        without_caps=("CAP_SYS_ADMIN",),
    ),
    Rule("clone3", action="SCMP_ACT_ERRNO", errno=38, without_caps=("CAP_SYS_ADMIN",)),
    Rule("reboot", caps=("CAP_SYS_BOOT",)),
    Rule("chroot", caps=("CAP_SYS_CHROOT",)),
    Rule("delete_module finit_module init_module", caps=("CAP_SYS_MODULE",)),
    Rule("acct", caps=("CAP_SYS_PACCT",)),
    Rule("kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace", caps=("CAP_SYS_PTRACE",)),
    Rule("ioperm iopl", caps=("CAP_SYS_RAWIO",)),
    Rule("clock_settime clock_settime64 settimeofday stime", caps=("CAP_SYS_TIME",)),
    Rule("vhangup", caps=("CAP_SYS_TTY_CONFIG",)),
    Rule("get_mempolicy mbind set_mempolicy set_mempolicy_home_node", caps=("CAP_SYS_NICE",)),
    Rule("syslog", caps=("CAP_SYSLOG",)),
    Rule("bpf", caps=("CAP_BPF",)),
    Rule("perf_event_open", caps=("CAP_PERFMON",)),
)
