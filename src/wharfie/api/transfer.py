"""Containers: files in and out. The engine does not offer these yet; each says which."""

from __future__ import annotations

from wharfie.base import errors
from wharfie.web import response

from .call import Call


async def changes(call: Call) -> response.Response:
    return _later(call, "the changes of a container's files (docker diff)")


async def export(call: Call) -> response.Response:
    return _later(call, "exporting a container (docker export)")


async def archive_stat(call: Call) -> response.Response:
    return _later(call, "copying files (docker cp)")


async def archive_get(call: Call) -> response.Response:
    return _later(call, "copying files (docker cp)")


async def archive_put(call: Call) -> response.Response:
    return _later(call, "copying files (docker cp)")


def _later(call: Call, what: str) -> response.Response:
    call.services.containers.get(call.name)
    raise errors.Unsupported(f"{what} comes with a later version of wharfie", name=call.name)
