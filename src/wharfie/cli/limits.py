"""Limits, devices and other resources of HostConfig."""

from __future__ import annotations

import os

from wharfie.base import errors, flags, units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ULIMITS = frozenset((
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
))

# flag: field, for numbers and texts that go over as they are
_PLAIN = {
    "blkio-weight": "BlkioWeight", "cpu-period": "CpuPeriod", "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod", "cpu-rt-runtime": "CpuRealtimeRuntime", "cpu-shares": "CpuShares",
    "cpus": "NanoCpus", "memory": "Memory", "memory-reservation": "MemoryReservation", "memory-swap": "MemorySwap",
    "memory-swappiness": "MemorySwappiness", "kernel-memory": "KernelMemory", "pids-limit": "PidsLimit",
    "shm-size": "ShmSize", "oom-score-adj": "OomScoreAdj", "cpu-count": "CpuCount", "cpu-percent": "CpuPercent",
    "io-maxbandwidth": "IOMaximumBandwidth", "io-maxiops": "IOMaximumIOps",
}
_TEXTS = {"cpuset-cpus": "CpusetCpus", "cpuset-mems": "CpusetMems", "cgroup-parent": "CgroupParent"}
_RATES = {"device-read-bps": "BlkioDeviceReadBps", "device-write-bps": "BlkioDeviceWriteBps"}
_COUNTS = {"device-read-iops": "BlkioDeviceReadIOps", "device-write-iops": "BlkioDeviceWriteIOps"}


def plain(parsed: flags.Parsed) -> dict[str, Any]:
    """Those that are a number or a text."""
    out: dict[str, Any] = {}
    for name in parsed.changed:
        if name in _PLAIN:
            out[_PLAIN[name]] = parsed.number(name)
        elif name in _TEXTS:
            out[_TEXTS[name]] = parsed.text(name)
    return out


def resources(parsed: flags.Parsed, table: flags.Table) -> dict[str, Any]:
    """The resource fields that were given. Raises errors.Invalid, flags.Bad."""
    out = plain(parsed)
    for name in parsed.changed:
        if name in _RATES or name in _COUNTS:
            field = _RATES.get(name) or _COUNTS[name]
            out[field] = [_throttle(spec, bytes_=name in _RATES) for spec in parsed.all(name)]
    if "oom-kill-disable" in parsed.changed:
        out["OomKillDisable"] = parsed.on("oom-kill-disable")
    if "ulimit" in parsed.changed:
        out["Ulimits"] = _ulimits(parsed, table)
    if "blkio-weight-device" in parsed.changed:
        out["BlkioWeightDevice"] = [_weight(s) for s in parsed.all("blkio-weight-device")]
    if "device-cgroup-rule" in parsed.changed:
        out["DeviceCgroupRules"] = parsed.all("device-cgroup-rule")
    out.update(_devices(parsed.all("device")))
    if "gpus" in parsed.changed:
        out.setdefault("DeviceRequests", []).extend(_gpus(s) for s in parsed.all("gpus"))
    return out


def _throttle(spec: str, *, bytes_: bool) -> dict[str, Any]:
    path, mark, rate = spec.rpartition(":")
    if not mark or not path.startswith("/dev/"):
        raise errors.Invalid(f"bad format for device path: {path or spec}")
    if bytes_:
        try:
            return {"Path": path, "Rate": units.parse_size(rate)}
        except errors.Invalid as error:
            raise errors.Invalid(f"invalid rate for device: {spec}. The correct format is "
                                 "<device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional "
                                 "and can be kb, mb, or gb") from error
    if not rate.isdecimal():
        raise errors.Invalid(f"invalid rate for device: {spec}. The correct format is <device-path>:<number>. "
                             "Number must be a positive integer")
    return {"Path": path, "Rate": int(rate)}


def _weight(spec: str) -> dict[str, Any]:
    path, mark, weight = spec.rpartition(":")
    if not mark or not path.startswith("/dev/"):
        raise errors.Invalid(f"bad format for device path: {path or spec}")
    if not weight.isdecimal() or (int(weight) and not 10 <= int(weight) <= 1000):
        raise errors.Invalid(f"invalid weight for device: {spec}")
    return {"Path": path, "Weight": int(weight)}


def _ulimits(parsed: flags.Parsed, table: flags.Table) -> list[dict[str, Any]]:
    flag = table.find("ulimit")
    assert flag is not None
    found: dict[str, dict[str, Any]] = {}
    for spec in parsed.all("ulimit"):
        try:
            one = ulimit(spec)
        except errors.Invalid as error:
            raise flags.bad_value(flag, spec, error.message) from error
        found[one["Name"]] = one
    return [found[name] for name in sorted(found)]


def ulimit(spec: str) -> dict[str, Any]:
    """{"Name", "Soft", "Hard"} of "name=soft[:hard]". Raises errors.Invalid."""
    name, mark, values = spec.partition("=")
    if not mark:
        raise errors.Invalid(f"invalid ulimit argument: {spec}")
    if name not in _ULIMITS:
        raise errors.Invalid(f"invalid ulimit type: {name}")
    parts = values.split(":")
    if len(parts) > 2:
        raise errors.Invalid(f"too many limit value arguments - {values}, can only have up to two, `soft[:hard]`")
    try:
        soft, hard = int(parts[0]), int(parts[-1])
    except ValueError:
        bad = next(p for p in parts if not p.lstrip("-").isdecimal())
        raise errors.Invalid(f'strconv.ParseInt: parsing "{bad}": invalid syntax') from None
    if hard != -1 and (soft > hard or soft == -1):
        raise errors.Invalid(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Soft": soft, "Hard": hard}


def _devices(specs: list[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for spec in specs:
        if not spec.startswith("/") and "=" in spec:
            request = {"Driver": "cdi", "DeviceIDs": [spec]}
            out.setdefault("DeviceRequests", []).append(request)
        else:
            out.setdefault("Devices", []).append(_device(spec))
    return out


def _device(spec: str) -> dict[str, str]:
    parts = spec.split(":")
    source, target, rights = parts[0], parts[0], "rwm"
    if len(parts) == 2:
        if parts[1] and set(parts[1]) <= set("rwm") and not parts[1].startswith("/"):
            rights = parts[1]
        else:
            target = parts[1]
    elif len(parts) == 3:
        target, rights = parts[1], parts[2]
    elif len(parts) > 3:
        raise errors.Invalid(f"invalid device specification: {spec}")
    if not rights or not set(rights) <= set("rwm"):
        raise errors.Invalid(f"invalid device mode: {rights}")
    if not os.path.isabs(target):
        raise errors.Invalid(f"bad format for device path: {target}")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": rights}


def _gpus(spec: str) -> dict[str, Any]:
    count = -1 if spec == "all" else int(spec) if spec.isdecimal() else 1
    return {"Driver": "", "Count": count, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}
