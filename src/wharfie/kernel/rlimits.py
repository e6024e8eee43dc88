"""Resource limits by the OCI's and Docker's names."""

from __future__ import annotations

import errno
import resource

from .syscalls import error

INFINITY = resource.RLIM_INFINITY
_INFINITY_U64 = (1 << 64) - 1

# include/uapi/asm-generic/resource.h; the same on x86_64 and aarch64.
NUMBERS: dict[str, int] = {
    "RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}


def parse(name: str) -> int:
    """The number of "RLIMIT_NOFILE" or "nofile". Raises OSError EINVAL."""
    upper = name.upper()
    number = NUMBERS.get(upper, NUMBERS.get("RLIMIT_" + upper))
    if number is None:
        raise error(errno.EINVAL, detail=f"unknown limit {name!r}")
    return number


def get(name: str, pid: int = 0) -> tuple[int, int]:
    """(soft, hard) of a process (0: this one); -1 is unlimited."""
    return resource.prlimit(pid, parse(name))


def set(name: str, soft: int, hard: int, pid: int = 0) -> None:
    """prlimit(2). Unlimited is -1 or 2^64-1. Raises PermissionError above the hard limit without CAP_SYS_RESOURCE,
    OSError EINVAL for a soft limit above the hard one."""
    try:
        resource.prlimit(pid, parse(name), (_whole(soft), _whole(hard)))
    except ValueError:  # the resource module's word for EINVAL and, of raising a hard limit, for EPERM
        above = _unsigned(soft) > _unsigned(hard)
        raise error(errno.EINVAL if above else errno.EPERM, detail=f"{name} {soft}:{hard}") from None


def _whole(value: int) -> int:
    return INFINITY if value < 0 or value >= _INFINITY_U64 else value


def _unsigned(value: int) -> int:
    return _INFINITY_U64 if value < 0 else value
