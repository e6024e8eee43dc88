"""Making an image of one layer out of a root file system: for import, and for the images that come with the install."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from wharfie.archive import compression, streams
from wharfie.base import errors, when
from wharfie.oci import config, digest, platform, reference

from . import changes, removal
from .catalog import Catalog
from .image import Image
from .loading import make_manifest, plain_or_known
from .members import Members

_PIECE = 1 << 18
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def from_rootfs(
    catalog: Catalog, stream: compression.Readable, names: Iterable[reference.Reference], settings: dict[str, Any], *,
    created: str, comment: str, created_by: str = "", made_for: platform.Platform | None = None,
) -> Image:
    """An image whose only layer is the tar `stream`, plain or compressed. Raises Damaged, Invalid, Exhausted; nothing
    is left then."""
    host = made_for or platform.host()
    return assemble(
        catalog, iter(lambda: stream.read(_PIECE), b""), names=names,
        document=lambda diff_id: _document(host, settings, diff_id, created, comment, created_by),
    )


def assemble(
    catalog: Catalog, tar: Iterable[bytes], document: Callable[[digest.Digest], dict[str, Any]], *,
    names: Iterable[reference.Reference], parent: str = "", below: tuple[digest.Digest, ...] = (),
) -> Image:
    """An image of the layer blobs `below` and a new layer, the pieces of a tar. `document` gives its config when the
    new layer's id is known. Raises Damaged, Invalid, Exhausted; nothing is left then."""
    members, unpacked, store = Members(catalog), set[digest.Digest](), catalog.store
    try:
        with store.content.ingest() as ingest:
            for piece in tar:
                ingest.write(piece)
            members.expect(ingest.digest())
            blob = plain_or_known(members, ingest.commit())
        fd = store.content.open(blob)
        try:
            diff_id = store.layers.add(streams.File(fd), lambda found: catalog.hold([found]))
            unpacked.add(diff_id)
        finally:
            os.close(fd)
        try:
            made = config.ImageConfig.make(document(diff_id))
            at = members.put(make_manifest(members, made, (*below, blob)))
            members.put(made.data)
            catalog.register(made, at, parent=parent, names=names)
        finally:
            catalog.release([diff_id])
        image = catalog.image(made.digest)
        if image is None:
            raise errors.Conflict(f"image {made.digest.short} was removed while it was made")
        return image
    finally:
        members.release()
        removal.sweep(catalog, set(members.blobs), unpacked)


def _document(host: platform.Platform, settings: dict[str, Any], diff_id: str, created: str, comment: str,
              created_by: str) -> dict[str, Any]:
    step = {"created": created, "created_by": created_by, "comment": comment}
    return {
        "architecture": host.architecture, **({"variant": host.variant} if host.variant else {}), "os": host.os,
        "created": created, "config": settings, "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{key: value for key, value in step.items() if value}],
    }


def import_(catalog: Catalog, stream: compression.Readable, ref: str, lines: list[str], message: str,
            made_for: platform.Platform | None) -> Image:
    """`docker import`. Raises Invalid for a bad name or change before anything is read."""
    names = [reference.Reference.parse(ref)] if ref else []
    if any(n.digest for n in names):
        raise errors.Invalid("cannot import digest reference", name=ref)
    settings = changes.apply({}, lines)
    return from_rootfs(catalog, stream, names, settings, created=when.rfc3339(when.now()),
                       comment=message or "Imported from -", made_for=made_for)
