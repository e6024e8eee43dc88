"""The engine itself: ping, version, info, disk usage, events, login."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from wharfie.base import errors, when
from wharfie.engine import model
from wharfie.web import response

from . import body, query, shapes_image, shapes_system, shapes_volume, usage
from .call import Call
from .shapes_container import summary

_PING_HEADERS = {
    "Builder-Version": "1", "Swarm": "inactive", "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
}
_EVENT_FILTERS = frozenset((
    "config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret",
    "service", "type", "volume",
))
_STATUS_TYPES = frozenset(("container", "image"))


async def ping(call: Call) -> response.Response:
    """What clients ask before everything else; the headers are the answer."""
    if call.request.method == "HEAD":
        return response.Text("", 200, _PING_HEADERS)
    return response.Text("OK", 200, _PING_HEADERS)


async def version(call: Call) -> response.Response:
    return response.Json(shapes_system.version_document())


async def info(call: Call) -> response.Response:
    services = call.services
    states = [r.state.status for r in services.containers.list()]
    running, paused = states.count("running") + states.count("restarting"), states.count("paused")
    images = await asyncio.to_thread(services.images.list)
    counts = {
        "Containers": len(states), "ContainersRunning": running, "ContainersPaused": paused,
        "ContainersStopped": len(states) - running - paused, "Images": len(images),
    }
    return response.Json(shapes_system.info_document(services.facts(), counts))


async def auth(call: Call) -> response.Response:
    """`docker login`: there is no registry to ask yet, and a password is never answered with "Succeeded" unasked."""
    await body.read(call.request)
    raise errors.Unsupported("login: registries come with a later version of wharfie")


async def disk_usage(call: Call) -> response.Response:
    services = call.services
    kinds = set(call.request.query.get("type", ()))
    unknown = kinds - {"container", "image", "volume", "build-cache"}
    if unknown:
        raise errors.Invalid(f"unknown object type: {', '.join(sorted(unknown))}")
    records = services.containers.list()
    out: dict[str, Any] = {}
    if not kinds or "image" in kinds:
        images = await asyncio.to_thread(services.images.list)
        out["Images"] = [shapes_image.summary(i, call.version, i.tags, records, count=True) for i in images]
        out["LayersSize"] = await asyncio.to_thread(usage.layers_size, services.store)
    if not kinds or "container" in kinds:
        shown = []
        for record in records:
            one = summary(record, when.now(), record.image_name)
            one.size_rw, one.size_root_fs = await usage.sizes(services.store, record.id)
            shown.append(one)
        out["Containers"] = shown
    if not kinds or "volume" in kinds:
        volumes = await asyncio.to_thread(services.volumes.list)
        out["Volumes"] = [await asyncio.to_thread(shapes_volume.measured, v, records) for v in volumes]
    if not kinds or "build-cache" in kinds:
        out["BuildCache"] = []
    return response.Json(out)


async def events(call: Call) -> response.Response:
    """JSON documents, one a line, from `since` to `until` or until the client leaves."""
    request = call.request
    since, until = query.instant(request, "since"), query.instant(request, "until")
    if since and until and until < since:
        raise errors.Invalid(f"`since` time ({since / 1e9:.9f}) cannot be after `until` time ({until / 1e9:.9f})")
    wanted = query.filters(request, _EVENT_FILTERS)
    source = call.services.events.subscribe(since=since, until=until, filters=wanted)
    return response.Stream(_lines(source), unread=source.leave)


async def _lines(source: AsyncIterator[model.Event]) -> AsyncIterator[bytes]:
    try:
        async for event in source:
            yield msgspec.json.encode(event_document(event)) + b"\n"
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()


def event_document(event: model.Event) -> dict[str, Any]:
    """An event as clients know it; containers and images also in the form of before 1.22."""
    out: dict[str, Any] = {}
    if event.type in _STATUS_TYPES:
        out |= {"status": event.action, "id": event.actor_id}
        if event.type == "container" and "image" in event.attributes:
            out["from"] = event.attributes["image"]
    return out | {
        "Type": event.type, "Action": event.action, "Actor": {"ID": event.actor_id, "Attributes": event.attributes},
        "scope": "local", "time": event.time // 10**9, "timeNano": event.time,
    }
