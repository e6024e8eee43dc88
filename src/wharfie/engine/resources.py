"""Limits as asked for → OCI linux.resources and rlimits, with Docker's checks: pure."""

from __future__ import annotations

from typing import Any

from wharfie.base import errors
from wharfie.base.value import Value
from wharfie.oci import defaults

from .model import HostConfig, Ulimit

MIN_MEMORY = 6 << 20
MAX_QUOTA = (1 << 44) - 1  # MAX_BW of the kernel's scheduler, in µs
MAX_PIDS = 1 << 22  # PID_MAX_LIMIT
ULIMITS = frozenset({
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
})  # fmt: skip
_PERIOD = 100_000


class Host(Value):
    """What this host can hold a container to, and what it is: filled in by daemon/assemble."""

    cpus: int = 1
    processors: str = ""  # what is online, in the form of cpuset.cpus; "" when this is not known
    nodes: str = ""
    machine: str = "x86_64"
    kernel: tuple[int, int] = (6, 1)
    memory: bool = True
    swap: bool = True
    cpu: bool = True
    cpuset: bool = True
    pids: bool = True
    cgroup_mode: str = "v2"
    cgroup_base: str = "/wharfie/containers"
    devices: bool = True
    apparmor: bool = False
    withheld: tuple[str, ...] = ()  # capabilities that the engine lacks itself and so can give to nobody


def check(host: HostConfig, here: Host) -> list[str]:
    """Warnings. Raises Invalid for numbers that cannot be, Unsupported for a limit this host cannot keep (it is
    refused, not dropped: a sandbox without its limit is none)."""
    _check_memory(host)
    _check_cpu(host, here)
    if (host.pids_limit or 0) > MAX_PIDS:
        raise errors.Invalid(f"PidsLimit: {host.pids_limit} is more than there can be, {MAX_PIDS}",
                             action="write -1 for no limit")
    for u in host.ulimits or []:
        check_ulimit(u)
    for asked, able, what in (
        (host.memory or host.memory_reservation, here.memory, "memory"),
        (host.memory_swap > 0 and host.memory_swap != host.memory, here.swap, "swap"),
        (host.nano_cpus or host.cpu_shares or host.cpu_quota or host.cpu_period, here.cpu, "cpu"),
        (host.cpuset_cpus or host.cpuset_mems, here.cpuset, "cpuset"),
        ((host.pids_limit or 0) > 0, here.pids, "pids"),
        (_swappiness(host) is not None, here.memory and here.cgroup_mode != "v2", "HostConfig.MemorySwappiness"),
    ):
        if asked and not able:
            raise errors.Unsupported(f"this host has no cgroup controller that could keep the {what} limit",
                                     action="leave the limit out, or enable the controller")
    if host.cgroup_parent and not here.cgroup_base:
        raise errors.Unsupported(f"HostConfig.CgroupParent: {host.cgroup_parent} cannot be entered: this host has no "
                                 "control groups that could be written", action="leave it out")
    return []


def _check_memory(h: HostConfig) -> None:
    if h.memory < 0 or 0 < h.memory < MIN_MEMORY:
        raise errors.Invalid("Minimum memory limit allowed is 6MB")
    if h.memory_swap < -1:
        raise errors.Invalid(f"invalid memory swap: {h.memory_swap}")
    if h.memory and 0 < h.memory_swap < h.memory:
        raise errors.Invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
    if not h.memory and h.memory_swap > 0:
        raise errors.Invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
    if h.memory_reservation < 0 or 0 < h.memory_reservation < MIN_MEMORY:
        raise errors.Invalid("Minimum memory reservation allowed is 6MB")
    if h.memory and h.memory_reservation > h.memory:
        raise errors.Invalid("Minimum memory limit can not be less than memory reservation limit, see usage")
    if not 0 <= (_swappiness(h) or 0) <= 100:
        raise errors.Invalid(f"Invalid value: {h.memory_swappiness}, valid memory swappiness range is 0-100")


def _check_cpu(h: HostConfig, here: Host) -> None:
    if h.nano_cpus:
        if h.cpu_period or h.cpu_quota:
            other = "CPU Period" if h.cpu_period else "CPU Quota"
            raise errors.Invalid(f"Conflicting options: Nano CPUs and {other} cannot both be set")
        if not 10**7 <= h.nano_cpus <= here.cpus * 10**9:
            raise errors.Invalid(f"range of CPUs is from 0.01 to {here.cpus}.00, as there are only {here.cpus} "
                                 "CPUs available")
    if h.cpu_shares < 0:
        raise errors.Invalid(f"invalid CPU shares ({h.cpu_shares}): value must be a positive integer")
    if h.cpu_period and not 1000 <= h.cpu_period <= 1_000_000:
        raise errors.Invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < h.cpu_quota < 1000:
        raise errors.Invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if h.cpu_quota > MAX_QUOTA:
        raise errors.Invalid(f"CPU cfs quota can not be more than {MAX_QUOTA}")
    for text, what, kind, have in (
        (h.cpuset_cpus, "cpuset cpus", "CPUs", here.processors), (h.cpuset_mems, "cpuset mems", "memory nodes",
                                                                  here.nodes),
    ):
        if text and not _is_cpuset(text):
            raise errors.Invalid(f"Invalid value {text} for {what}")
        if text and have and not _members(text) <= _members(have):
            raise errors.Invalid(f"Requested {kind} are not available - requested {text}, available: {have}")


def _members(text: str) -> set[int]:
    """"0-2,7" as numbers."""
    ends = [part.partition("-") for part in text.split(",")]
    return {n for low, _, high in ends for n in range(int(low), int(high or low) + 1)}


def _is_cpuset(text: str) -> bool:
    return all(
        part and all(p.isascii() and p.isdecimal() and len(p) < 6 for p in part.split("-")) and part.count("-") < 2
        for part in text.split(",")
    )


def check_ulimit(u: Ulimit) -> None:
    """Raises Invalid with Docker's words."""
    if u.name.lower() not in ULIMITS:
        raise errors.Invalid(f"invalid ulimit type: {u.name}", name=u.name)
    if u.hard != -1 and (u.soft == -1 or u.soft > u.hard):
        raise errors.Invalid(f"ulimit soft limit must be less than or equal to hard limit: {u.soft} > {u.hard}")


def rlimits(asked: list[Ulimit] | None, usual: list[Ulimit]) -> list[dict[str, Any]]:
    """OCI process.rlimits: the engine's default ulimits, overridden by the container's."""
    chosen = {u.name.lower(): u for u in usual} | {u.name.lower(): u for u in asked or []}
    return [
        {"type": f"RLIMIT_{name.upper()}", "hard": _unlimited(u.hard), "soft": _unlimited(u.soft)}
        for name, u in chosen.items()
    ]


def _unlimited(value: int) -> int:
    return value if value >= 0 else (1 << 64) - 1


def resources(h: HostConfig, devices: list[dict[str, Any]], *, swap: bool) -> dict[str, Any]:
    """OCI linux.resources. `devices` are the cgroup rules beyond the defaults; a privileged container has all.
    `swap`: this host can limit swap."""
    out: dict[str, Any] = {"devices": [{"allow": True, "access": "rwm"}] if h.privileged
                           else [*defaults.device_rules(), *devices]}
    memory = _memory(h, swap)
    if memory:
        out["memory"] = memory
    cpu = _cpu(h)
    if cpu:
        out["cpu"] = cpu
    if h.pids_limit is not None and h.pids_limit > 0:
        out["pids"] = {"limit": h.pids_limit}
    return out


def _memory(h: HostConfig, swap: bool) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if h.memory:
        out["limit"] = h.memory
        if h.memory_swap or swap:  # Docker: without a word on swap, as much swap as memory
            out["swap"] = h.memory_swap or 2 * h.memory
    if h.memory_reservation:
        out["reservation"] = h.memory_reservation
    if _swappiness(h) is not None:
        out["swappiness"] = h.memory_swappiness
    return out


def _swappiness(h: HostConfig) -> int | None:
    """-1 is Docker's word for nothing said; 0 is a wish: never swap. Only cgroup v1 has it."""
    return None if h.memory_swappiness == -1 else h.memory_swappiness


def _cpu(h: HostConfig) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if h.cpu_shares:
        out["shares"] = h.cpu_shares
    if h.nano_cpus:
        out["period"], out["quota"] = _PERIOD, h.nano_cpus * _PERIOD // 10**9
    else:
        out |= {k: v for k, v in (("period", h.cpu_period), ("quota", h.cpu_quota)) if v}
    if h.cpuset_cpus:
        out["cpus"] = h.cpuset_cpus
    if h.cpuset_mems:
        out["mems"] = h.cpuset_mems
    return out
