"""`docker save`: an archive that speaks both dialects at once, as Docker has written it since version 25. manifest.json
is for `docker load` of any engine, oci-layout and index.json for everybody else; the blobs are there once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from wharfie.archive import entry, pack
from wharfie.base import errors
from wharfie.base.value import Value
from wharfie.oci import descriptor, digest, manifest, media, reading, reference
from wharfie.storage import content

from .catalog import CONTAINERD_NAME, REF_NAME, Catalog
from .image import Image

_PIECE = 1 << 20


class Chosen(Value):
    """An image to save, and the names to save it under."""

    image: Image
    names: tuple[reference.Reference, ...]


def choose(catalog: Catalog, texts: Sequence[str]) -> list[Chosen]:
    """The images that names and ids mean; a name without a tag means all tags of that repository, as Docker has it.
    Raises NotFound, Invalid."""
    names: dict[str, list[reference.Reference]] = {}
    images: dict[str, Image] = {}
    for text in texts:
        for image, ref in _one(catalog, text):
            images[image.id] = image
            listed = names.setdefault(image.id, [])
            if ref is not None and ref not in listed:
                listed.append(ref)
    return [Chosen(image, tuple(names[image_id])) for image_id, image in images.items()]


def _one(catalog: Catalog, text: str) -> list[tuple[Image, reference.Reference | None]]:
    if ":" not in text.rpartition("/")[2] and "@" not in text:
        try:
            name = reference.Reference.parse(text).name
        except errors.Invalid:
            name = ""
        found = [(i, r) for i in catalog.images() for r in catalog.references(i.id) if r.name == name and r.tag]
        if found:
            return list(found)
    image = catalog.find(text)
    if catalog.named_by_id(text, image) or "@" in text:
        return [(image, None)]
    return [(image, reference.Reference.parse(text))]


def save(catalog: Catalog, chosen: Sequence[Chosen]) -> Iterator[bytes]:
    """The archive, piece by piece. The blobs are held while it is written."""
    manifests = [catalog.manifest(c.image) for c in chosen]
    blobs: dict[digest.Digest, None] = {}
    for item, found in zip(chosen, manifests, strict=True):
        blobs |= dict.fromkeys((item.image.manifest, item.image.id, *(layer.digest for layer in found.layers)))
    with catalog.holding(list(blobs)):
        yield pack.encode(entry.Entry(b"blobs", entry.DIRECTORY, mode=0o755))
        yield pack.encode(entry.Entry(b"blobs/sha256", entry.DIRECTORY, mode=0o755))
        for blob in sorted(blobs):
            yield from _blob(catalog.store.content, blob)
        yield pack.file("index.json", _index(catalog, chosen))
        yield pack.file("manifest.json", _docker(chosen, manifests))
        yield pack.file("oci-layout", content.LAYOUT)
        yield pack.END


def _path(blob: digest.Digest) -> str:
    return f"blobs/{blob.algorithm}/{blob.hex}"


def _blob(store: content.Content, blob: digest.Digest) -> Iterator[bytes]:
    fd = store.open(blob)
    try:
        size = os.fstat(fd).st_size
        yield pack.encode(entry.Entry(_path(blob).encode(), entry.FILE, size=size))
        while data := os.read(fd, _PIECE):
            yield data
        if size % entry.BLOCK_SIZE:
            yield bytes(-size % entry.BLOCK_SIZE)
    finally:
        os.close(fd)


def _index(catalog: Catalog, chosen: Sequence[Chosen]) -> bytes:
    found = []
    for item in chosen:
        size = catalog.store.content.size(item.image.manifest)
        notes: list[tuple[tuple[str, str], ...]] = [
            ((CONTAINERD_NAME, str(n)), (REF_NAME, n.tag)) for n in item.names
        ]
        found += [
            descriptor.Descriptor(media.OCI_MANIFEST, item.image.manifest, size, note, item.image.config.platform)
            for note in notes or [()]
        ]
    return manifest.Index(tuple(found)).encode()


def _docker(chosen: Sequence[Chosen], manifests: Sequence[manifest.Manifest]) -> bytes:
    listed = []
    for item, found in zip(chosen, manifests, strict=True):
        diff_ids = item.image.config.diff_ids
        one: dict[str, Any] = {
            "Config": _path(item.image.id),
            "RepoTags": [n.familiar() for n in item.names] or None,
            "Layers": [_path(layer.digest) for layer in found.layers],
            "LayerSources": {d: layer.to_json() for d, layer in zip(diff_ids, found.layers, strict=True)},
        }
        listed.append(one)
    return reading.encode(listed)
