"""Volumes as the API shows them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from wharfie.base import when
from wharfie.engine import model

from .usage import volume_users

if TYPE_CHECKING:
    from wharfie.storage import volumes


def shown(volume: volumes.Volume) -> dict[str, Any]:
    """The shape of list, create and inspect."""
    return {
        "CreatedAt": when.rfc3339(volume.created // 10**9 * 10**9), "Driver": volume.driver,
        "Labels": dict(volume.labels) or None, "Mountpoint": volume.path, "Name": volume.name,
        "Options": dict(volume.options) or None, "Scope": "local",
    }


def measured(volume: volumes.Volume, records: Iterable[model.Container]) -> dict[str, Any]:
    """The same with its size on disk and the number of its users: for /system/df. Blocking."""
    users = volume_users(records).get(volume.name, [])
    return shown(volume) | {"UsageData": {"Size": tree_size(volume.path), "RefCount": len(users)}}


def tree_size(path: str) -> int:
    """Bytes of all files below `path`, symbolic links not followed, hard links counted once."""
    total = 0
    seen: set[tuple[int, int]] = set()
    for directory, _, files in os.walk(path):
        for name in files:
            try:
                found = os.lstat(os.path.join(directory, name))
            except OSError:
                continue
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                total += found.st_size
    return total
