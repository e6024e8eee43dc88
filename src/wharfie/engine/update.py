"""`docker update`: limits and restart policy of a container that exists, with Docker's checks (moby's
container_unix.go, UpdateContainer)."""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from wharfie.base import errors
from wharfie.shim import wire

from . import honoured, resources, restart_policy, states, told
from .live import Live
from .model import HostConfig
from .services import Services

_MEMORY = ("memory", "memory_reservation", "memory_swap")
_CPU = ("cpu_shares", "cpu_period", "cpu_quota", "nano_cpus", "cpuset_cpus", "cpuset_mems")


async def update(services: Services, live: Live, wish: HostConfig) -> list[str]:
    """Change what `wish` names: its fields that are not zero. The record is changed when the kernel has taken the new
    limits. Warnings. Raises Invalid, Unsupported, Conflict."""
    check_names(wish)
    async with live.lock:
        record = live.record
        if record.state.status in (states.REMOVING, states.DEAD):
            raise errors.Conflict(f"cannot update container {record.id}: container is marked for removal and cannot be "
                                  '"update"', name=record.id)
        merged = merge(record.host_config, wish)
        warnings = resources.check(merged, services.host)
        if wish.restart_policy.name:
            merged.restart_policy = wish.restart_policy
            if merged.auto_remove and wish.restart_policy.name != "no":
                raise errors.Invalid("Restart policy cannot be updated because AutoRemove is enabled for the container")
            restart_policy.check(merged.restart_policy, auto_remove=False)
        limits = changed_limits(merged, wish, swap=services.host.swap)
        if limits and record.state.running and not record.state.restarting:
            await live.need_link().request(wire.UPDATE, resources=limits)
        record.host_config = merged
        await services.records.save(record, durable=True)
    told.container(services.events, record, "update")
    return warnings


def check_names(wish: HostConfig) -> None:
    """Raises Unsupported for the first field that cannot be changed later."""
    nothing = HostConfig()
    for field in msgspec.structs.fields(HostConfig):
        value = getattr(wish, field.name)
        if field.name in (*_MEMORY, *_CPU, "pids_limit", "restart_policy") or value == getattr(nothing, field.name):
            continue
        if not honoured.is_empty(value):
            raise errors.Unsupported(f"update of {field.encode_name} is not supported by this engine yet",
                                     name=field.encode_name)


def merge(old: HostConfig, wish: HostConfig) -> HostConfig:
    """The old values, where the wish has no new ones. Raises Invalid for what would contradict a value that stays."""
    for theirs, what in (("cpu_period", "CPU Period"), ("cpu_quota", "CPU Quota")):
        if getattr(wish, theirs) and old.nano_cpus and not wish.nano_cpus:
            raise errors.Invalid(f"Conflicting options: {what} cannot be updated as NanoCPUs has already been set")
        if wish.nano_cpus and getattr(old, theirs):
            raise errors.Invalid(f"Conflicting options: Nano CPUs cannot be updated as {what} has already been set")
    if wish.memory and not wish.memory_swap and 0 < old.memory_swap < wish.memory:
        raise errors.Invalid("Memory limit should be smaller than already set memoryswap limit, update the memoryswap "
                             "at the same time")
    merged = copy.copy(old)
    for name in (*_MEMORY, *_CPU):
        if getattr(wish, name):
            setattr(merged, name, getattr(wish, name))
    if wish.pids_limit is not None:
        merged.pids_limit = wish.pids_limit
    return merged


def changed_limits(merged: HostConfig, wish: HostConfig, *, swap: bool) -> dict[str, Any]:
    """OCI resources of what `wish` says something about; device rules stay as they are."""
    found = resources.resources(merged, [], swap=swap)
    out: dict[str, Any] = {}
    if any(getattr(wish, name) for name in _MEMORY) and "memory" in found:
        out["memory"] = found["memory"]
    if any(getattr(wish, name) for name in _CPU) and "cpu" in found:
        out["cpu"] = found["cpu"]
    if wish.pids_limit is not None:
        out["pids"] = found.get("pids", {"limit": -1})
    return out
