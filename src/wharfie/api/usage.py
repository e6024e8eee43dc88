"""Who uses what, and how much of it: images and volumes by the containers that hold them, bytes on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from wharfie.engine import model

if TYPE_CHECKING:
    from wharfie.storage import store


def image_users(records: Iterable[model.Container]) -> Callable[[str], list[tuple[str, bool]]]:
    """Image id → [(container id, whether it runs)]."""
    found: dict[str, list[tuple[str, bool]]] = {}
    for record in records:
        found.setdefault(record.image, []).append((record.id, record.state.running))
    return lambda image: found.get(str(image), [])


def volume_users(records: Iterable[model.Container]) -> dict[str, list[str]]:
    """Volume name → ids of the containers that mount it."""
    found: dict[str, list[str]] = {}
    for record in records:
        for mount in record.mounts:
            if mount.type == "volume":
                found.setdefault(mount.name, []).append(record.id)
    return found


async def sizes(kept: store.Store, identifier: str) -> tuple[int, int]:
    """(SizeRw, SizeRootFs) of a container: bytes of its writable layer, and of everything it sees."""

    def measure() -> tuple[int, int]:
        return kept.snapshots.usage(identifier), kept.snapshots.size(identifier)

    return await asyncio.to_thread(measure)


def layers_size(kept: store.Store) -> int:
    """Bytes of all unpacked layers. Blocking."""
    return sum(kept.layers.size(one) for one in kept.layers.list())
