"""Containers: files in and out, what has changed in them, and images made of them."""

from __future__ import annotations

import base64
import posixpath
import stat

import msgspec

from wharfie.base import errors, when
from wharfie.engine import model
from wharfie.images import committing
from wharfie.storage import copying
from wharfie.web import response

from . import body, decoding, uploads
from .call import Call

_TAR = "application/x-tar"
# Go's os.FileMode (io/fs.FileMode), which clients decode: the permission bits are those of stat(2).
_GO_KINDS = {
    stat.S_IFDIR: 1 << 31, stat.S_IFLNK: 1 << 27, stat.S_IFBLK: 1 << 26, stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25, stat.S_IFSOCK: 1 << 24,
}
_GO_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


async def changes(call: Call) -> response.Response:
    found = await call.services.containers.changes(call.name)
    return response.Json([{"Path": one.path, "Kind": one.kind} for one in found] or None)


async def export(call: Call) -> response.Response:
    return response.Stream(uploads.pieces(await call.services.containers.export(call.name)), "application/octet-stream")


async def archive_stat(call: Call) -> response.Response:
    source = await call.services.containers.source(call.name, _path(call))
    source.close()
    return response.Empty(200, headers=_headers(source.found))


async def archive_get(call: Call) -> response.Response:
    """What is at a path as an archive, under the last part of the path as it was written."""
    source = await call.services.containers.source(call.name, _path(call))
    record = call.services.containers.get(call.name)
    call.services.events.publish("container", "archive-path", record.id, {
        **(record.config.labels or {}), "image": record.config.image, "name": record.name,
    })
    return response.Stream(uploads.pieces(source.archive()), _TAR, headers=_headers(source.found), unread=source.close)


async def archive_put(call: Call) -> response.Response:
    """Unpack the body, compressed or not, into a directory that is there."""
    request = call.request
    try:
        await call.services.containers.put(
            call.name, _path(call), uploads.reading(request), keep_kinds=request.flag("noOverwriteDirNonDir"),
            chown=request.flag("copyUIDGID"),
        )
    except errors.Damaged as error:  # what the client has sent, not what is stored here
        raise errors.Invalid(error.message, name=error.name, action=error.action) from error
    return response.Empty(200)


def _path(call: Call) -> str:
    path = call.request.value("path")
    if not path:
        raise errors.Invalid("bad parameter: path cannot be empty")
    if "\0" in path:
        raise errors.Invalid("bad parameter: path has a null byte")
    return path


def _headers(found: copying.Found) -> dict[str, str]:
    """Docker's header about what is at a path; clients decide by it how to unpack."""
    shown = {
        "name": posixpath.basename(found.name) or found.name, "size": found.size, "mode": go_mode(found.mode),
        "mtime": when.rfc3339(found.mtime), "linkTarget": found.target,
    }
    return {"X-Docker-Container-Path-Stat": base64.b64encode(msgspec.json.encode(shown)).decode()}


def go_mode(mode: int) -> int:
    """st_mode as Go's FileMode."""
    out = mode & 0o777 | _GO_KINDS.get(stat.S_IFMT(mode), 0)
    for bit, theirs in _GO_BITS.items():
        if mode & bit:
            out |= theirs
    return out


async def commit(call: Call) -> response.Response:
    """An image of a container. A body, which is optional, is the Config that the image is to have."""
    request, containers = call.request, call.services.containers
    ref = request.value("container")
    record = containers.get(ref)
    repository, tag = request.value("repo"), request.value("tag")
    given = await body.read(request)
    config = decoding.decode(given, model.Config) if given else None
    wish = committing.Wish(
        {}, f"{repository}:{tag}" if repository and tag else repository, request.value("author"),
        request.value("comment"),
    )
    lines = [line for said in request.query.get("changes", []) for line in said.split("\n") if line.strip()]
    made = await containers.commit(record.id, wish, config, lines, pause=request.flag("pause", True))
    return response.Json({"Id": made}, 201)
