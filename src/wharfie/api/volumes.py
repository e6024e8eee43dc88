"""Volumes: the local driver."""

from __future__ import annotations

import asyncio

from wharfie.base import errors
from wharfie.engine import model
from wharfie.web import response

from . import body, query, shapes_volume
from .call import Call
from .usage import volume_users

_ALLOWED = frozenset(("dangling", "driver", "label", "name"))


class Creation(model.Shape):
    """Body of POST /volumes/create."""

    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    cluster_volume_spec: dict[str, object] | None = None


async def listing(call: Call) -> response.Response:
    wanted = query.filters(call.request, _ALLOWED)
    found = await asyncio.to_thread(call.services.volumes.list)
    if wanted.get("dangling"):
        dangling = query.truth(wanted, "dangling")
        users = volume_users(call.services.containers.list())
        found = [v for v in found if dangling != bool(users.get(v.name))]
    if wanted.get("name"):
        found = [v for v in found if any(w in v.name for w in wanted["name"])]
    if wanted.get("driver"):
        found = [v for v in found if v.driver in wanted["driver"]]
    found = [v for v in found if query.has_label(dict(v.labels), wanted.get("label", []))]
    return response.Json({"Volumes": [shapes_volume.shown(v) for v in found], "Warnings": None})


async def create(call: Call) -> response.Response:
    wish = await body.shape(call.request, Creation)
    if wish.driver not in ("", "local"):
        raise errors.NotFound(f'error looking up volume plugin {wish.driver}: plugin "{wish.driver}" not found')
    if wish.cluster_volume_spec:
        raise errors.Unsupported("ClusterVolumeSpec: cluster volumes are not supported")
    known = {v.name for v in await asyncio.to_thread(call.services.volumes.list)} if wish.name else set()
    made = await asyncio.to_thread(
        call.services.volumes.create, wish.name, "local", wish.labels or {}, wish.driver_opts or {}
    )
    if made.name not in known:
        call.services.events.publish("volume", "create", made.name, {"driver": made.driver})
    return response.Json(shapes_volume.shown(made), 201)


async def inspect(call: Call) -> response.Response:
    return response.Json(shapes_volume.shown(await asyncio.to_thread(call.services.volumes.get, call.name)))


async def remove(call: Call) -> response.Response:
    """404 for an unknown one unless `force`, 409 for one in use."""
    services = call.services
    try:
        found = await asyncio.to_thread(services.volumes.get, call.name)
    except errors.NotFound:
        if call.request.flag("force"):
            return response.Empty()
        raise
    users = volume_users(services.containers.list()).get(found.name, [])
    await asyncio.to_thread(services.volumes.remove, found.name, users)
    services.events.publish("volume", "destroy", found.name, {"driver": found.driver})
    return response.Empty()
