"""Images: what is here, names for it, and archives in and out. Registries come later, and say so."""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import Iterable
from typing import Any

import msgspec

from wharfie.base import errors, when
from wharfie.oci import platform, reference
from wharfie.web import response

from . import container_filters, faults, query, shapes_image, uploads
from .call import Call
from .usage import image_users

_ALLOWED = frozenset(("before", "dangling", "label", "reference", "since", "until"))
_LATER = "pulling from registries comes with a later version of wharfie: use `docker load` or `docker import`"


async def listing(call: Call) -> response.Response:
    request = call.request
    wanted = query.filters(request, _ALLOWED)
    if request.value("filter") and call.version < 41:
        wanted.setdefault("reference", []).append(request.value("filter"))
    before = container_filters.until(wanted, when.now())
    wanted.pop("until", None)
    found = await asyncio.to_thread(call.services.images.list, wanted, all=request.flag("all"))
    if before:
        found = [i for i in found if i.created < before]
    counted = request.flag("shared-size") or request.flag("manifests")
    records = call.services.containers.list() if counted else []
    patterns = wanted.get("reference", [])
    return response.Json([
        shapes_image.summary(i, call.version, _shown(i.tags, patterns), records, count=counted) for i in found
    ])


def _shown(tags: Iterable[str], patterns: list[str]) -> list[str]:
    """The names that the filter `reference` speaks of; all of them without it."""
    if not patterns:
        return list(tags)
    return [t for t in tags if any(_fits(t, p) or _fits(t.rpartition(":")[0], p) for p in patterns)]


def _fits(name: str, pattern: str) -> bool:
    """Go's path.Match: a star does not cross a slash."""
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(fnmatch.fnmatchcase(p, w) for p, w in zip(parts, wanted, strict=True))


async def inspect(call: Call) -> response.Response:
    found = await asyncio.to_thread(call.services.images.get, call.name)
    if wanted := query.platform(call.request):
        found.check_platform(wanted)
    return response.Json(shapes_image.inspect(found, call.version))


async def history(call: Call) -> response.Response:
    images = call.services.images
    if wanted := query.platform(call.request):
        (await asyncio.to_thread(images.get, call.name)).check_platform(wanted)
    steps = await asyncio.to_thread(images.history, call.name)
    return response.Json([shapes_image.history(step) for step in steps])


async def tag(call: Call) -> response.Response:
    request = call.request
    repository, name = request.value("repo"), request.value("tag")
    if not repository:
        raise errors.Invalid("invalid reference format")
    target = f"{repository}:{name}" if name else repository
    tagged = await asyncio.to_thread(call.services.images.tag, call.name, target)
    _tell(call, "tag", tagged.id, reference.Reference.parse(target).familiar())
    return response.Empty(201)


async def remove(call: Call) -> response.Response:
    request, services = call.request, call.services
    users = image_users(services.containers.list())
    gone = await asyncio.to_thread(
        services.images.remove, call.name, force=request.flag("force"), noprune=request.flag("noprune"), users=users
    )
    for step in gone:
        if step.untagged:
            _tell(call, "untag", step.image, str(step.image))
        elif step.deleted == step.image or not step.image:
            _tell(call, "delete", step.deleted, step.deleted)
    return response.Json([shapes_image.removal(step) for step in gone])


def _tell(call: Call, action: str, identifier: str, name: str) -> None:
    call.services.events.publish("image", action, str(identifier), {"name": str(name)})


async def create(call: Call) -> response.Response:
    """`docker import` (fromSrc) and `docker pull` (fromImage)."""
    request = call.request
    if request.value("fromImage"):
        return await _pull(call)
    source = request.value("fromSrc")
    if not source:
        raise errors.Invalid("either fromImage or fromSrc is needed")
    if source != "-":
        raise errors.Unsupported(f"import from {source}: only from standard input (-) in this version", name=source)
    repository, name = request.value("repo"), request.value("tag")
    target = f"{repository}:{name}" if repository and name else repository
    body = uploads.reading(request)
    said = request.value("platform") if call.version >= 32 else ""
    made = await asyncio.to_thread(
        call.services.images.import_, body, target, request.query.get("changes", []), request.value("message"),
        platform.Platform.parse(said) if said else None,
    )
    if target:
        _tell(call, "tag", made.id, reference.Reference.parse(target).familiar())
    _tell(call, "import", made.id, made.id)
    return _messages([{"status": str(made.id)}])


async def _pull(call: Call) -> response.Response:
    """An image that is here already and belongs to no registry (`wharfie/...`) is up to date; else 404."""
    request = call.request
    name, tag_or_digest = request.value("fromImage"), request.value("tag")
    if tag_or_digest:
        name += f"@{tag_or_digest}" if ":" in tag_or_digest else f":{tag_or_digest}"
    wanted = reference.Reference.parse(name)
    if other := await _of_another_platform(call, wanted.familiar()):
        return faults.message(404, f"{other} ({_LATER})")
    if wanted.reserved:
        found = await asyncio.to_thread(call.services.images.get, name)
        return _messages([{"status": f"Status: Image is up to date for {next(iter(found.tags), name)}"}])
    return faults.message(404, f"pull access denied for {wanted.familiar()}: {_LATER}")


async def _of_another_platform(call: Call, name: str) -> str:
    """Why an image that is here is not the one that is pulled; "" when that is not so. Clients pull when a create says
    404, and show only the words of the pull."""
    said = call.request.value("platform") if call.version >= 32 else ""
    wanted = platform.Platform.parse(said) if said else None
    try:
        have = (await asyncio.to_thread(call.services.images.get, name, make=False)).config.platform
    except errors.NotFound:
        return ""
    if wanted is None or wanted.accepts(have):
        return ""
    return (f"image with reference {name} was found but does not match the specified platform: wanted {wanted}, "
            f"actual: {have}")


async def load(call: Call) -> response.Response:
    """What is wrong with an archive is said in the progress stream, whose status is 200 always: clients look there."""
    try:
        loaded = await asyncio.to_thread(
            call.services.images.load, uploads.reading(call.request), wanted=query.platform(call.request))
    except (errors.Damaged, errors.Invalid, errors.Exhausted) as error:
        return _messages([{"errorDetail": {"message": faults.text(error)}, "error": faults.text(error)}])
    for one in loaded:
        _tell(call, "load", one.id, one.id)
    return _messages([{"stream": f"{one.message}\n"} for one in loaded])


async def save(call: Call) -> response.Response:
    """A tar of one or of many images; the names are checked before the head goes out."""
    images = call.services.images
    names = [call.name] if call.name else [n for said in call.request.query.get("names", []) for n in said.split(",")]
    if not names:
        raise errors.Invalid("no image was named")
    archive = await asyncio.to_thread(images.save, names, query.platform(call.request))
    return response.Stream(uploads.pieces(archive), "application/x-tar")


def _messages(said: list[dict[str, Any]]) -> response.Response:
    """Docker's progress stream: JSON documents one after the other."""
    return response.Bytes(b"".join(msgspec.json.encode(m) + b"\r\n" for m in said), "application/json")
