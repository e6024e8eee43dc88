"""Containers: create, list, inspect, and what is asked of a running one."""

from __future__ import annotations

import asyncio
import pwd
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from wharfie.base import errors, when
from wharfie.engine import model
from wharfie.web import response

from . import body, container_filters, decoding, query, shapes_container, shapes_stats, usage
from .call import Call
from .creation import Creation


async def create(call: Call) -> response.Response:
    request = call.request
    wish = Creation.read(await body.read(request, required=True), call.version)
    record, warnings = await call.services.containers.create(
        wish.config, wish.host_config, wish.networking, name=request.value("name").removeprefix("/"),
        platform=request.value("platform") if call.version >= 41 else "",
    )
    return response.Json({"Id": record.id, "Warnings": [*wish.warnings, *warnings]}, 201)


async def inspect(call: Call) -> response.Response:
    containers = call.services.containers
    record = containers.get(call.name)
    size = await usage.sizes(call.services.store, record.id) if call.request.flag("size") else None
    return response.Json(shapes_container.inspect(record, call.version, call.services.execs.of(record.id), size))


async def listing(call: Call) -> response.Response:
    """`docker ps`. Newest first; stopped ones only with `all`, a `limit`, or a filter that speaks of them."""
    request, containers = call.request, call.services.containers
    wanted = query.filters(request, container_filters.ALLOWED)
    limit = query.integer(request, "limit")
    names = _ImageNames(call)
    keeps = container_filters.predicates(wanted, containers.get, names.id_of)
    everything = request.flag("all") or limit > 0 or container_filters.implies_all(wanted)
    records = [r for r in containers.list() if everything or r.state.running]
    for keep in keeps:
        records = [r for r in records if keep(r)]
    if limit > 0:
        records = records[:limit]
    now = when.now()
    out = [shapes_container.summary(r, now, names.shown(r)) for r in records]
    if request.flag("size"):
        for shown, record in zip(out, records, strict=True):
            shown.size_rw, shown.size_root_fs = await usage.sizes(call.services.store, record.id)
    return response.Json(out)


class _ImageNames:
    """Image names of one listing, each looked up once."""

    def __init__(self, call: Call) -> None:
        self._images = call.services.images
        self._ids: dict[str, str] = {}

    def id_of(self, reference: str) -> str:
        """The id an image reference means now; "" when it means none."""
        found = self._ids.get(reference)
        if found is None:
            try:
                found = str(self._images.get(reference, make=False).id)
            except errors.WharfieError:
                found = ""
            self._ids[reference] = found
        return found

    def shown(self, record: model.Container) -> str:
        """The name as the user wrote it, as long as it still means the same image; else the image's id."""
        return record.image_name if self.id_of(record.image_name) == record.image else record.image


async def top(call: Call) -> response.Response:
    found = await call.services.containers.top(call.name, call.request.value("ps_args") or "-ef")
    named = [at for at, title in enumerate(found["Titles"]) if title in ("UID", "USER")]
    for row in found["Processes"]:
        for at in named:
            row[at] = _user_name(row[at])
    return response.Json(found)


def _user_name(uid: str) -> str:
    """As ps on the host shows it."""
    try:
        return pwd.getpwuid(int(uid)).pw_name
    except (KeyError, ValueError, OverflowError):
        return uid


async def stats(call: Call) -> response.Response:
    """One JSON document, or one a second until the client leaves. Documents but for `one-shot` carry the reading of a
    second before, from which clients compute rates."""
    request, containers = call.request, call.services.containers
    record = containers.get(call.name)
    streaming = request.flag("stream", True)
    one_shot = request.flag("one-shot")
    if streaming and one_shot:
        raise errors.Invalid("cannot have stream=true and one-shot=true")
    source = shapes_stats.Source(record)
    if not record.state.running:
        if not streaming:
            return response.Json(source.stopped())
    elif not streaming:
        if not one_shot:
            source.reading(await containers.stats(record.id))
            await asyncio.sleep(1)
        return response.Json(source.reading(await containers.stats(record.id)))
    return response.Stream(_stats(call, record.id, source))


async def _stats(call: Call, identifier: str, source: shapes_stats.Source) -> AsyncIterator[bytes]:
    containers = call.services.containers
    while True:
        try:
            record = containers.get(identifier)
            shown: dict[str, Any] = (
                source.reading(await containers.stats(identifier)) if record.state.running else source.stopped()
            )
        except errors.NotFound:
            return
        except errors.Conflict:
            shown = source.stopped()
        yield msgspec.json.encode(shown) + b"\n"
        await asyncio.sleep(1)


async def update(call: Call) -> response.Response:
    """Limits and restart policy; a field that cannot be changed later is refused by name."""
    wish = decoding.decode(await body.read(call.request, required=True), model.HostConfig)
    return response.Json({"Warnings": await call.services.containers.update(call.name, wish)})
