"""What a group has used, in one shape for v1 and v2. A number that this host does not keep is absent."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_UNLIMITED = 1 << 62  # v1 writes "no limit" as a huge number of pages


def collect(v2: str, v1: Mapping[str, str], offered: Sequence[str]) -> dict[str, Any]:
    """{"memory": {"usage", "limit"?, "max_usage"?, "swap"?, "failcnt"?, "stats": {…}}, "cpu": {"total", "user",
    "system": ns, "percpu"?, "periods", "throttled_periods", "throttled": ns}, "pids": {"current", "limit"?},
    "blkio": [(major, minor, operation, bytes, count)]}, bytes where it is memory; limits are absent when there is
    none."""
    found: dict[str, Any] = {}
    found["memory"] = _memory_v2(v2) if "memory" in offered else _memory_v1(v1.get("memory", ""))
    found["cpu"] = _cpu_v2(v2) if "cpu" in offered or "cpuacct" not in v1 else _cpu_v1(v1)
    found["pids"] = _pids(v2 if "pids" in offered else v1.get("pids", ""))
    found["blkio"] = _io_v2(v2) if "io" in offered else _blkio_v1(v1.get("blkio", ""))
    return {k: v for k, v in found.items() if v}


def oom_kills(v2: str, v1: Mapping[str, str]) -> int:
    """memory.events' oom_kill on v2, memory.oom_control's on v1 (Linux 4.13)."""
    for path in (f"{v2}/memory.events" if v2 else "", f"{v1['memory']}/memory.oom_control" if "memory" in v1 else ""):
        if path:
            count = _pairs(path).get("oom_kill")
            if count is not None:
                return count
    return 0


def _memory_v1(d: str) -> dict[str, Any]:
    if not d:
        return {}
    stats = _pairs(f"{d}/memory.stat")
    return _present(
        usage=_number(f"{d}/memory.usage_in_bytes"),
        max_usage=_number(f"{d}/memory.max_usage_in_bytes"),
        limit=_number(f"{d}/memory.limit_in_bytes"),
        failcnt=_number(f"{d}/memory.failcnt"),
        swap=stats.get("total_swap", stats.get("swap")),
        stats=stats,
    )


def _memory_v2(d: str) -> dict[str, Any]:
    return _present(
        usage=_number(f"{d}/memory.current"),
        max_usage=_number(f"{d}/memory.peak"),
        limit=_number(f"{d}/memory.max"),
        swap=_number(f"{d}/memory.swap.current"),
        failcnt=_pairs(f"{d}/memory.events").get("max"),
        stats=_pairs(f"{d}/memory.stat"),
    )


def _cpu_v1(v1: Mapping[str, str]) -> dict[str, Any]:
    acct = v1["cpuacct"]
    tick = 10**9 // os.sysconf("SC_CLK_TCK")
    used = _pairs(f"{acct}/cpuacct.stat")
    throttle = _pairs(f"{v1['cpu']}/cpu.stat") if "cpu" in v1 else {}
    return _present(
        total=_number(f"{acct}/cpuacct.usage"),
        user=used.get("user", 0) * tick,
        system=used.get("system", 0) * tick,
        percpu=[int(word) for word in _text(f"{acct}/cpuacct.usage_percpu").split()] or None,
        periods=throttle.get("nr_periods", 0),
        throttled_periods=throttle.get("nr_throttled", 0),
        throttled=throttle.get("throttled_time", 0),
    )


def _cpu_v2(d: str) -> dict[str, Any]:
    s = _pairs(f"{d}/cpu.stat") if d else {}
    if not s:
        return {}
    return {
        "total": s.get("usage_usec", 0) * 1000,
        "user": s.get("user_usec", 0) * 1000,
        "system": s.get("system_usec", 0) * 1000,
        "periods": s.get("nr_periods", 0),
        "throttled_periods": s.get("nr_throttled", 0),
        "throttled": s.get("throttled_usec", 0) * 1000,
    }


def _pids(d: str) -> dict[str, Any]:
    return _present(current=_number(f"{d}/pids.current"), limit=_number(f"{d}/pids.max")) if d else {}


def _blkio_v1(d: str) -> list[tuple[int, int, str, int, int]]:
    if not d:
        return []
    counts: dict[tuple[str, str], int] = {}
    for device, operation, count in _blkio_rows(f"{d}/blkio.throttle.io_serviced_recursive"):
        counts[device, operation] = count
    rows = []
    for device, operation, size in _blkio_rows(f"{d}/blkio.throttle.io_service_bytes_recursive"):
        major, _, minor = device.partition(":")
        rows.append((int(major), int(minor), operation, size, counts.get((device, operation), 0)))
    return rows


def _blkio_rows(path: str) -> list[tuple[str, str, int]]:
    rows = []
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in ("Read", "Write"):
            rows.append((words[0], words[1], int(words[2])))
    return rows


def _io_v2(d: str) -> list[tuple[int, int, str, int, int]]:
    rows = []
    for line in _text(f"{d}/io.stat").splitlines():
        device, *pairs = line.split()
        values = dict(p.split("=", 1) for p in pairs if "=" in p)
        major, _, minor = device.partition(":")
        if not (major.isdecimal() and minor.isdecimal()):
            continue
        for operation, size, count in (("Read", "rbytes", "rios"), ("Write", "wbytes", "wios")):
            rows.append((int(major), int(minor), operation, int(values.get(size, 0)), int(values.get(count, 0))))
    return rows


def _present(**numbers: Any) -> dict[str, Any]:
    return {k: v for k, v in numbers.items() if v is not None}


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _number(path: str) -> int | None:
    """The number in a file; None for "max", v1's huge "no limit", or no file."""
    text = _text(path).strip()
    if not text.isdecimal():
        return None
    value = int(text)
    return None if value >= _UNLIMITED else value


def _pairs(path: str) -> dict[str, int]:
    found = {}
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if value.isdecimal():
            found[key] = int(value)
    return found
