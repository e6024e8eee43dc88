"""Readings of a container's cgroups → Docker's stats document. Pure but for the host's CPU clock and memory size."""

from __future__ import annotations

import os
from typing import Any

from wharfie.base import when
from wharfie.engine import model

_ZERO_TIME = when.ZERO
_TICK = 10**9 // os.sysconf("SC_CLK_TCK")


def host_cpu() -> int:
    """Nanoseconds that all processors of this host have spent, idle time included (the first line of /proc/stat)."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            return sum(int(word) for word in file.readline().split()[1:8]) * _TICK
    except (OSError, ValueError):
        return 0


def host_memory() -> int:
    """Bytes of memory of this host."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class Source:
    """Documents about one container; each carries the CPU part of the one before."""

    def __init__(self, record: model.Container) -> None:
        self._id = record.id
        self._name = f"/{record.name}"
        self._before: dict[str, Any] = _cpu({}, 0)
        self._read = _ZERO_TIME

    def reading(self, raw: dict[str, Any]) -> dict[str, Any]:
        """The document of `raw`, the numbers the shim gave just now."""
        cpu = _cpu(raw.get("cpu") or {}, host_cpu())
        now = when.rfc3339(when.now())
        document = {
            "id": self._id, "name": self._name, "read": now, "preread": self._read,
            "pids_stats": raw.get("pids") or {}, "blkio_stats": _blkio(raw.get("blkio") or []), "num_procs": 0,
            "storage_stats": {}, "cpu_stats": cpu, "precpu_stats": self._before,
            "memory_stats": _memory(raw.get("memory") or {}),
        }
        if raw.get("networks"):
            document["networks"] = raw["networks"]
        self._before, self._read = cpu, now
        return document

    def stopped(self) -> dict[str, Any]:
        """The document of a container that does not run: zeros."""
        nothing = _cpu({}, 0)
        return {
            "id": self._id, "name": self._name, "read": _ZERO_TIME, "preread": _ZERO_TIME, "pids_stats": {},
            "blkio_stats": _blkio([]), "num_procs": 0, "storage_stats": {}, "cpu_stats": nothing,
            "precpu_stats": nothing, "memory_stats": {},
        }


def _cpu(raw: dict[str, Any], system: int) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "total_usage": raw.get("total", 0), "usage_in_kernelmode": raw.get("system", 0),
        "usage_in_usermode": raw.get("user", 0),
    }
    if raw.get("percpu"):
        usage["percpu_usage"] = raw["percpu"]
    out: dict[str, Any] = {"cpu_usage": usage}
    if system:
        out |= {"system_cpu_usage": system, "online_cpus": len(os.sched_getaffinity(0))}
    out["throttling_data"] = {
        "periods": raw.get("periods", 0), "throttled_periods": raw.get("throttled_periods", 0),
        "throttled_time": raw.get("throttled", 0),
    }
    return out


def _memory(raw: dict[str, Any]) -> dict[str, Any]:
    if not raw:
        return {}
    out: dict[str, Any] = {k: raw[k] for k in ("usage", "max_usage", "failcnt", "stats") if k in raw}
    out["limit"] = min(raw.get("limit", host_memory()), host_memory())
    return out


def _blkio(rows: list[tuple[int, int, str, int, int]]) -> dict[str, Any]:
    def entries(at: int) -> list[dict[str, Any]]:
        return [{"major": r[0], "minor": r[1], "op": r[2].lower(), "value": r[at]} for r in rows]

    return {
        "io_service_bytes_recursive": entries(3), "io_serviced_recursive": entries(4), "io_queue_recursive": None,
        "io_service_time_recursive": None, "io_wait_time_recursive": None, "io_merged_recursive": None,
        "io_time_recursive": None, "sectors_recursive": None,
    }
