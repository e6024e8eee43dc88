"""Device nodes of the host that a container is to have. Reads /dev of the host; call it in a thread."""

from __future__ import annotations

import os
import stat
from typing import Any

from wharfie.base import errors

from . import checks
from .buildspec import Devices
from .model import DeviceMapping, HostConfig

# Directories of /dev that are mounts or namespaced: the container has its own.
_OWN = frozenset({"pts", "shm", "mqueue", "fd", "console", "ptmx", "stdin", "stdout", "stderr", "core", ".lxc"})


def gather(host: HostConfig) -> Devices:
    """Nodes and rules of HostConfig.Devices and DeviceCgroupRules; all nodes of the host for a privileged container.
    Raises Invalid for a path that is no device."""
    nodes: list[dict[str, Any]] = []
    rules = [checks.device_rule(r) for r in host.device_cgroup_rules or []]
    if host.privileged:
        nodes += _all_of("/dev")
    for mapping in host.devices or []:
        for node in _mapped(mapping):
            nodes = [n for n in nodes if n["path"] != node["path"]] + [node]
            rules.append({"allow": True, "type": node["type"], "major": node["major"], "minor": node["minor"],
                          "access": mapping.cgroup_permissions or "rwm"})
    return Devices(tuple(nodes), tuple(rules))


def _mapped(mapping: DeviceMapping) -> list[dict[str, Any]]:
    source = mapping.path_on_host
    target = mapping.path_in_container or source
    if not set(mapping.cgroup_permissions) <= set("rwm") or not target.startswith("/"):
        raise errors.Invalid(f"invalid device mapping: {source}:{target}:{mapping.cgroup_permissions}")
    try:
        found = os.stat(source)
    except OSError as error:
        raise errors.Invalid(
            f'error gathering device information while adding custom device "{source}": '
            f"{(error.strerror or '').lower()}", name=source
        ) from error
    if stat.S_ISDIR(found.st_mode):
        return [{**n, "path": target + n["path"].removeprefix(source)} for n in _all_of(source)]
    node = _node(target, found)
    if node is None:
        raise errors.Invalid(f'error gathering device information while adding custom device "{source}": not a device '
                             "node", name=source)
    return [node]


def _all_of(directory: str) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    try:
        entries = sorted(os.scandir(directory), key=lambda e: e.name)
    except OSError:
        return out
    for entry in entries:
        if directory == "/dev" and entry.name in _OWN:
            continue
        if entry.is_dir(follow_symlinks=False):
            out += _all_of(entry.path)
        elif not entry.is_symlink():
            node = _node(entry.path, entry.stat(follow_symlinks=False))
            if node is not None:
                out.append(node)
    return out


def _node(path: str, found: os.stat_result) -> dict[str, Any] | None:
    if not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        return None
    return {
        "path": path, "type": "c" if stat.S_ISCHR(found.st_mode) else "b", "major": os.major(found.st_rdev),
        "minor": os.minor(found.st_rdev), "fileMode": stat.S_IMODE(found.st_mode), "uid": found.st_uid,
        "gid": found.st_gid,
    }
