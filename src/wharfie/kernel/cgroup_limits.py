"""OCI `linux.resources` → what to write where. Pure: decides, writes nothing.

Conversions from v1 words to v2 as the OCI runtime specification and runc have them (shares → weight, swap = memory +
swap → swap alone, blkio weight → io weight)."""

from __future__ import annotations

import errno

from wharfie.base.value import Value

from .syscalls import error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    Has = Callable[[str], bool]


class Write(Value):
    """One value for one file. `controller` names the v1 directory, `unified` says it goes to the v2 directory,
    `optional` that a kernel without the file is well enough."""

    controller: str
    file: str
    value: str
    what: str
    unified: bool = False
    optional: bool = False


def plan(resources: Mapping[str, Any], has: Has, *, unified: Has) -> list[Write]:
    """The writes in order. `has` tells whether a controller is usable at all, `unified` whether by v2. Raises OSError
    EOPNOTSUPP naming a limit without its controller."""
    writes: list[Write] = []
    for section, controller, v1, v2 in _SECTIONS:
        wanted = resources.get(section)
        if not wanted:
            continue
        writes += v2(wanted) if unified(controller) else v1(wanted)
    for at, write in enumerate(writes):
        if not has(write.controller):
            raise _lacking(write.what, write.controller)
        writes[at] = write.replace(unified=unified(write.controller))
    for name, value in (resources.get("unified") or {}).items():
        if "/" in name or not unified(_controller_of(name)):
            raise _lacking(name, _controller_of(name))
        writes.append(Write(_controller_of(name), name, str(value), name, unified=True))
    return writes


def _controller_of(name: str) -> str:
    return name.partition(".")[0]


def _lacking(what: str, controller: str) -> OSError:
    return error(errno.EOPNOTSUPP, detail=f"{what} cannot be kept: this host has no {controller} cgroup controller")


def _memory_v1(m: Mapping[str, Any]) -> Iterator[Write]:
    limit, swap = m.get("limit"), m.get("swap")
    both = swap is not None and swap != 0
    # The kernel keeps memory ≤ memory+swap at every moment: lift the upper one first, whichever way the change goes.
    if both and limit is not None and limit != 0:
        yield Write("memory", "memory.memsw.limit_in_bytes", "-1", "memory and swap", optional=True)
    if limit is not None and limit != 0:
        yield Write("memory", "memory.limit_in_bytes", str(limit), "the memory limit")
    if both:
        yield Write("memory", "memory.memsw.limit_in_bytes", str(swap), "memory and swap", optional=True)
    if m.get("reservation"):
        yield Write("memory", "memory.soft_limit_in_bytes", str(m["reservation"]), "the memory reservation")
    if m.get("swappiness") is not None:
        yield Write("memory", "memory.swappiness", str(m["swappiness"]), "the swappiness")
    if m.get("disableOOMKiller"):
        yield Write("memory", "memory.oom_control", "1", "disabling the OOM killer")


def _memory_v2(m: Mapping[str, Any]) -> Iterator[Write]:
    limit, swap = m.get("limit"), m.get("swap")
    if limit is not None and limit != 0:
        yield Write("memory", "memory.max", _or_max(limit), "the memory limit")
    if swap is not None and swap != 0:
        yield Write("memory", "memory.swap.max", _or_max(_swap_alone(swap, limit)), "the swap limit", optional=True)
    if m.get("reservation"):
        yield Write("memory", "memory.low", _or_max(m["reservation"]), "the memory reservation")
    if m.get("disableOOMKiller"):
        raise error(errno.EOPNOTSUPP, detail="the OOM killer cannot be disabled on cgroup v2")


def _swap_alone(swap: int, limit: int | None) -> int:
    """v1 counts memory and swap together, v2 swap alone."""
    if swap < 0:
        return -1
    if limit is None or limit <= 0:
        raise error(errno.EINVAL, detail="a swap limit needs a memory limit")
    if swap < limit:
        raise error(errno.EINVAL, detail="memory and swap together cannot be less than the memory limit")
    return swap - limit


def _cpu_v1(c: Mapping[str, Any]) -> Iterator[Write]:
    if c.get("shares"):
        yield Write("cpu", "cpu.shares", str(c["shares"]), "cpu shares")
    if c.get("period"):
        yield Write("cpu", "cpu.cfs_period_us", str(c["period"]), "the cpu period")
    if c.get("quota"):
        yield Write("cpu", "cpu.cfs_quota_us", str(c["quota"]), "the cpu quota")
    if c.get("burst") is not None:
        yield Write("cpu", "cpu.cfs_burst_us", str(c["burst"]), "the cpu burst")
    if c.get("realtimePeriod"):
        yield Write("cpu", "cpu.rt_period_us", str(c["realtimePeriod"]), "the realtime period")
    if c.get("realtimeRuntime"):
        yield Write("cpu", "cpu.rt_runtime_us", str(c["realtimeRuntime"]), "the realtime runtime")
    if c.get("idle") is not None:
        yield Write("cpu", "cpu.idle", str(c["idle"]), "cpu idle")
    yield from _cpuset(c)


def _cpu_v2(c: Mapping[str, Any]) -> Iterator[Write]:
    if c.get("shares"):
        yield Write("cpu", "cpu.weight", str(weight_of_shares(c["shares"])), "cpu shares")
    if c.get("quota") or c.get("period"):
        value = f"{_or_max(c.get('quota') or -1)} {c.get('period') or 100_000}"
        yield Write("cpu", "cpu.max", value, "the cpu quota")
    if c.get("burst") is not None:
        yield Write("cpu", "cpu.max.burst", str(c["burst"]), "the cpu burst")
    if c.get("realtimePeriod") or c.get("realtimeRuntime"):
        raise error(errno.EOPNOTSUPP, detail="realtime cpu limits cannot be kept on cgroup v2")
    if c.get("idle") is not None:
        yield Write("cpu", "cpu.idle", str(c["idle"]), "cpu idle")
    yield from _cpuset(c)


def _cpuset(c: Mapping[str, Any]) -> Iterator[Write]:
    if c.get("cpus"):
        yield Write("cpuset", "cpuset.cpus", c["cpus"], "the cpu set")
    if c.get("mems"):
        yield Write("cpuset", "cpuset.mems", c["mems"], "the memory node set")


def _pids(p: Mapping[str, Any]) -> Iterator[Write]:
    limit = p.get("limit")
    if limit is not None and limit != 0:
        yield Write("pids", "pids.max", _or_max(limit), "the process limit")


_THROTTLES = (
    ("throttleReadBpsDevice", "read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "write_iops_device", "wiops"),
)


def _blkio_v1(b: Mapping[str, Any]) -> Iterator[Write]:
    if b.get("weight"):
        # Only a host with the bfq scheduler has a weight at all, and its file has another name.
        yield Write("blkio", "blkio.bfq.weight", str(b["weight"]), "the block I/O weight", optional=True)
    for d in b.get("weightDevice") or ():
        yield Write("blkio", "blkio.bfq.weight_device", f"{_device(d)} {d['weight']}", "a device's I/O weight")
    for field, name, _ in _THROTTLES:
        for d in b.get(field) or ():
            yield Write("blkio", f"blkio.throttle.{name}", f"{_device(d)} {d['rate']}", "a device's I/O rate")


def _blkio_v2(b: Mapping[str, Any]) -> Iterator[Write]:
    if b.get("weight"):
        value = str(1 + (b["weight"] - 10) * 9999 // 990)
        yield Write("io", "io.weight", value, "the block I/O weight", optional=True)
        yield Write("io", "io.bfq.weight", str(b["weight"]), "the block I/O weight", optional=True)
    for d in b.get("weightDevice") or ():
        yield Write("io", "io.bfq.weight", f"{_device(d)} {d['weight']}", "a device's I/O weight")
    for field, _, name in _THROTTLES:
        for d in b.get(field) or ():
            yield Write("io", "io.max", f"{_device(d)} {name}={d['rate']}", "a device's I/O rate")


def _device(d: Mapping[str, Any]) -> str:
    return f"{int(d['major'])}:{int(d['minor'])}"


def _hugetlb_v1(rows: Sequence[Mapping[str, Any]]) -> Iterator[Write]:
    for row in rows:
        yield Write("hugetlb", f"hugetlb.{row['pageSize']}.limit_in_bytes", str(row["limit"]), "a huge page limit")


def _hugetlb_v2(rows: Sequence[Mapping[str, Any]]) -> Iterator[Write]:
    for row in rows:
        yield Write("hugetlb", f"hugetlb.{row['pageSize']}.max", str(row["limit"]), "a huge page limit")


def _or_max(value: int) -> str:
    return "max" if value < 0 else str(value)


def weight_of_shares(shares: int) -> int:
    """cpu.shares 2..262144 → cpu.weight 1..10000, linear (OCI runtime specification, config-linux "cpu")."""
    return 1 + (min(max(shares, 2), 262_144) - 2) * 9999 // 262_142


_SECTIONS: tuple[tuple[str, str, Any, Any], ...] = (
    ("memory", "memory", _memory_v1, _memory_v2),
    ("cpu", "cpu", _cpu_v1, _cpu_v2),
    ("pids", "pids", _pids, _pids),
    ("blockIO", "blkio", _blkio_v1, _blkio_v2),
    ("hugepageLimits", "hugetlb", _hugetlb_v1, _hugetlb_v2),
)


def device_lines(rules: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """OCI device rules → ("allow" | "deny", line) for v1's devices.allow and devices.deny, in order."""
    lines: list[tuple[str, str]] = []
    for rule in rules:
        verb = "allow" if rule.get("allow") else "deny"
        kind = rule.get("type") or "a"
        numbers = [rule.get("major"), rule.get("minor")]
        access = rule.get("access") or "rwm"
        if kind == "a" and all(n is None or n < 0 for n in numbers) and set(access) == set("rwm"):
            lines.append((verb, "a"))  # the whole list anew
            continue
        where = ":".join("*" if n is None or n < 0 else str(n) for n in numbers)
        kinds = ("b", "c") if kind == "a" else ("c" if kind == "u" else kind,)
        lines += [(verb, f"{k} {where} {access}") for k in kinds]
    return lines
