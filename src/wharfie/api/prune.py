"""Removing what nobody uses: one verb per kind of thing."""

from __future__ import annotations

import asyncio

from wharfie.base import errors, when
from wharfie.engine import model
from wharfie.images import image
from wharfie.oci import reference
from wharfie.web import response

from . import container_filters, query, shapes_image
from .call import Call
from .usage import image_users, sizes, volume_users

_BY_LABEL = frozenset(("label", "label!"))


async def containers(call: Call) -> response.Response:
    wanted = query.filters(call.request, container_filters.PRUNE_ALLOWED)
    before = container_filters.until(wanted, when.now())
    keeps = container_filters.predicates({k: v for k, v in wanted.items() if k != "until"}, _nobody, str)
    removed: list[str] = []
    reclaimed = 0
    for record in call.services.containers.list():
        if record.state.status not in ("created", "exited", "dead") or (before and record.created >= before):
            continue
        if not all(keep(record) for keep in keeps):
            continue
        try:
            size, _ = await sizes(call.services.store, record.id)
            await call.services.containers.remove(record.id)
        except (errors.NotFound, errors.Conflict):
            continue  # started or removed by somebody else meanwhile
        removed.append(record.id)
        reclaimed += size
    return response.Json({"ContainersDeleted": removed or None, "SpaceReclaimed": reclaimed})


def _nobody(ref: str) -> model.Container:
    raise errors.NotFound(f"No such container: {ref}", name=ref)


async def images(call: Call) -> response.Response:
    """Untagged images that no container uses; with `dangling=false` tagged ones too, but not those that come with the
    install: they cost nothing, and no registry has them."""
    wanted = query.filters(call.request, container_filters.PRUNE_ALLOWED | {"dangling"})
    dangling = query.truth(wanted, "dangling", default=True)
    before = container_filters.until(wanted, when.now())
    services = call.services
    users = image_users(services.containers.list())
    deleted: list[image.Removed] = []
    reclaimed = 0
    for found in await asyncio.to_thread(services.images.list):
        labels = dict(found.config.settings.labels)
        if users(found.id) or (dangling and found.tags) or (before and found.created >= before) or _is_ours(found):
            continue
        if not _wanted(labels, wanted):
            continue
        try:
            gone = await asyncio.to_thread(services.images.remove, found.id, force=True, users=users)
        except (errors.NotFound, errors.Conflict):
            continue
        deleted += gone
        reclaimed += found.size if any(step.deleted for step in gone) else 0
    shown = [shapes_image.removal(step) for step in deleted]
    return response.Json({"ImagesDeleted": shown or None, "SpaceReclaimed": reclaimed})


def _is_ours(found: image.Image) -> bool:
    return any(reference.Reference.parse(tag).reserved for tag in found.tags)


async def volumes(call: Call) -> response.Response:
    """Unused anonymous volumes; with the filter `all`, and before 1.42 always, named ones too."""
    wanted = query.filters(call.request, _BY_LABEL | {"all"})
    everything = query.truth(wanted, "all", default=call.version < 42)
    services = call.services
    users = volume_users(services.containers.list())
    removed: list[str] = []
    for volume in await asyncio.to_thread(services.volumes.list):
        labels = dict(volume.labels)
        if users.get(volume.name) or not (everything or volume.anonymous):
            continue
        if not _wanted(labels, wanted):
            continue
        try:
            await asyncio.to_thread(services.volumes.remove, volume.name)
        except (errors.NotFound, errors.Conflict):
            continue
        removed.append(volume.name)
    return response.Json({"VolumesDeleted": removed or None, "SpaceReclaimed": 0})


def _wanted(labels: dict[str, str], wanted: query.Filters) -> bool:
    have, lack = wanted.get("label", []), wanted.get("label!", [])
    return query.has_label(labels, have) and query.without_label(labels, lack)


async def networks(call: Call) -> response.Response:
    """The three that exist are never pruned."""
    query.filters(call.request, container_filters.PRUNE_ALLOWED)
    return response.Json({"NetworksDeleted": None})


async def build_cache(call: Call) -> response.Response:
    """There is no builder yet, hence no cache."""
    return response.Json({"CachesDeleted": None, "SpaceReclaimed": 0})
