"""`docker load`: both dialects of image archives, plain or compressed.

docker-archive: manifest.json names configs, layers and tags (layers by any path: `<id>/layer.tar` of old engines,
`blobs/sha256/…` of new ones; `<hex>.tar` of skopeo). OCI layout: index.json leads to manifests by digest, names are in
annotations. An archive that speaks both is read by manifest.json, and keeps its OCI manifest.

Nothing in an archive is believed: blobs are digested, layers unpacked against their diff ids, and the image's id is the
digest of its config.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator

from wharfie.archive import compression, streams
from wharfie.base import errors
from wharfie.base.value import Value
from wharfie.oci import config, descriptor, digest, manifest, media, platform, reading, reference

from . import removal
from .catalog import CONTAINERD_NAME, REF_NAME, Catalog
from .image import Loaded
from .members import Members

MAX_IMAGES = 1000
_DEPTH = 4
Progress = Callable[[str, str, int, int], None]
"""(id, status, bytes done, bytes in all) of a layer on its way in: Docker's progress line."""


def silent(_id: str, _status: str, _current: int, _total: int) -> None:
    """Tell nobody."""


class Found(Value):
    """One image of an archive, all of whose blobs are in the content store. layers: lowest first."""

    config: config.ImageConfig
    layers: tuple[digest.Digest, ...]
    manifest: bytes
    names: tuple[reference.Reference, ...]


def load(catalog: Catalog, stream: compression.Readable, progress: Progress = silent,
         wanted: platform.Platform | None = None) -> list[Loaded]:
    """Load all images of an archive. Raises Damaged, Invalid (hostile layers), Exhausted; images that were whole
    before the error stay, nothing else does. An image for another platform than `wanted` is Damaged."""
    members = Members(catalog)
    unpacked: set[digest.Digest] = set()
    try:
        members.take(stream)
        found = list(_docker(members) if members.has("manifest.json") else _oci(members))
        if not found:
            raise errors.Damaged("image archive: there is no image in it")
        for image in found:
            if wanted is not None and not wanted.accepts(image.config.platform):
                raise errors.Damaged(f"image archive: no image for {wanted} in it, only for {image.config.platform}")
        loaded: list[Loaded] = []
        for image in found:
            loaded += _enter(catalog, members, image, unpacked, progress)
        return loaded
    finally:
        members.release()
        removal.sweep(catalog, set(members.blobs), unpacked)


def _enter(catalog: Catalog, members: Members, image: Found, unpacked: set[digest.Digest],
           progress: Progress) -> Iterator[Loaded]:
    """Unpack what is not there, then write the image down."""
    at = members.put(image.manifest)
    members.put(image.config.data)
    with catalog.holding([at, image.config.digest, *image.layers, *image.config.diff_ids]):
        for blob, diff_id in zip(image.layers, image.config.diff_ids, strict=True):
            if not catalog.store.layers.has(diff_id):
                unpacked.add(diff_id)
                unpack_blob(catalog, blob, diff_id, progress)
        replaced = catalog.register(image.config, at, names=image.names)
    if not image.names:
        yield Loaded(image.config.digest)
    for ref, before in zip(image.names, replaced, strict=True):
        yield Loaded(image.config.digest, ref.familiar(), before)


class _Watched:
    """A readable that tells how far it has come."""

    def __init__(self, fd: int, diff_id: digest.Digest, progress: Progress) -> None:
        self._inner = streams.File(fd)
        self._total = os.fstat(fd).st_size
        self._diff_id, self._progress, self._done = diff_id, progress, 0
        self._told = 0

    def read(self, size: int, /) -> bytes:
        data = self._inner.read(size)
        self._done += len(data)
        if self._done - self._told >= 1 << 20 or not data or self._done == self._total:
            self._told = self._done
            self._progress(self._diff_id.short, "Loading layer", self._done, self._total)
        return data


def unpack_blob(catalog: Catalog, blob: digest.Digest, diff_id: digest.Digest, progress: Progress = silent) -> None:
    """Unpack a layer from its blob."""
    fd = catalog.store.content.open(blob)
    try:
        catalog.store.layers.unpack(diff_id, _Watched(fd, diff_id, progress))
    finally:
        os.close(fd)


def _docker(members: Members) -> Iterator[Found]:
    """By manifest.json: a list of {Config, RepoTags, Layers}."""
    try:
        listed = json.loads(members.document("manifest.json"))
    except (ValueError, RecursionError) as error:
        raise errors.Damaged(f"image archive: manifest.json is not JSON ({error})") from error
    if len(reading.typed(listed, list, "manifest.json")) > MAX_IMAGES:
        raise errors.Damaged(f"image archive: more than {MAX_IMAGES} images")
    own = _own_manifests(members)
    for i, item in enumerate(listed):
        path = f"manifest.json[{i}]"
        d = reading.typed(item, dict, path)
        name = reading.typed(d.get("Config"), str, f"{path}.Config")
        members.blob(name)
        parsed = config.ImageConfig.parse(members.document(name))
        paths = reading.strings(d.get("Layers"), f"{path}.Layers")
        if len(paths) != len(parsed.diff_ids):
            raise errors.Damaged(
                f"invalid manifest, layers length mismatch: expected {len(parsed.diff_ids)}, got {len(paths)}")
        blobs = tuple(plain_or_known(members, members.blob(p)) for p in paths)
        tags = reading.strings(d.get("RepoTags"), f"{path}.RepoTags")
        yield Found(parsed, blobs, own.get((parsed.digest, blobs)) or make_manifest(members, parsed, blobs),
                    tuple(_name(tag) for tag in tags))


def _name(text: str) -> reference.Reference:
    try:
        return reference.Reference.parse(text)
    except errors.Invalid as error:
        raise errors.Damaged(f"image archive: {text[:200]!r} is no image name ({error.message})") from error


def _own_manifests(members: Members) -> dict[tuple[digest.Digest, tuple[digest.Digest, ...]], bytes]:
    """The OCI manifests that an archive of both dialects brings, by config and layers. They are a courtesy: one that
    cannot be read only costs its digest."""
    found = {}
    if members.has("index.json"):
        try:
            for data, parsed, _ in _manifests(members, manifest.Index.parse(members.document("index.json")), _DEPTH):
                found[parsed.config.digest, tuple(layer.digest for layer in parsed.layers)] = data
        except errors.WharfieError:
            return {}
    return found


def _oci(members: Members) -> Iterator[Found]:
    """By index.json."""
    if not members.has("index.json"):
        raise errors.Damaged("image archive: neither manifest.json nor index.json is in it",
                             action="is this a root file system? then use import")
    index = manifest.Index.parse(members.document("index.json"))
    for count, (data, parsed, names) in enumerate(_manifests(members, index, _DEPTH)):
        if count == MAX_IMAGES:
            raise errors.Damaged(f"image archive: more than {MAX_IMAGES} images")
        image_config = config.ImageConfig.parse(members.read(parsed.config.digest))
        members.by_digest(parsed.config.digest)
        if len(parsed.layers) != len(image_config.diff_ids):
            raise errors.Damaged("image archive: a manifest and its config name different numbers of layers")
        blobs = tuple(members.by_digest(layer.digest) for layer in parsed.layers)
        yield Found(image_config, blobs, data, names)


def _manifests(
    members: Members, index: manifest.Index, depth: int, names: tuple[reference.Reference, ...] = (),
) -> Iterator[tuple[bytes, manifest.Manifest, tuple[reference.Reference, ...]]]:
    """(bytes, manifest, names) of the images an index leads to. Of a nested index, which is one image for several
    platforms, only that for this machine."""
    if depth == 0:
        raise errors.Damaged("image archive: indexes are nested too deep")
    chosen = index.manifests if depth == _DEPTH else _for_here(members, index.manifests)
    for item in chosen:
        named = names or _names(item)
        if item.media_type in media.INDEXES:
            yield from _manifests(members, manifest.Index.parse(members.read(item.digest)), depth - 1, named)
        elif item.media_type in media.MANIFESTS or not item.media_type:
            data = members.read(item.digest)
            parsed = manifest.Manifest.parse(data)
            if parsed.config.media_type in media.CONFIGS:
                yield data, parsed, named


def _for_here(members: Members, items: tuple[descriptor.Descriptor, ...]) -> tuple[descriptor.Descriptor, ...]:
    host = platform.host()
    fitting = [i for i in items if i.platform is None or host.accepts(i.platform)]
    if not fitting:
        offered = ", ".join(sorted({str(i.platform) for i in items}))
        raise errors.Damaged(f"image archive: no image for {host} in it, only for {offered}")
    return tuple(fitting[:1])


def _names(item: descriptor.Descriptor) -> tuple[reference.Reference, ...]:
    notes = dict(item.annotations)
    text = notes.get(CONTAINERD_NAME) or notes.get(REF_NAME, "")
    if not text or (CONTAINERD_NAME not in notes and ":" not in text and "/" not in text):
        return ()  # a tag alone names nothing
    try:
        return (reference.Reference.parse(text),)
    except errors.Invalid:
        return ()


def plain_or_known(members: Members, blob: digest.Digest) -> digest.Digest:
    """A layer blob under a compression that OCI has a media type for: xz and bzip2 are packed anew with gzip."""
    store = members.store
    if media.layer_for(store.compression(blob)) is not None:
        return blob
    packer = compression.Gzipper()
    fd = store.open(blob)
    try:
        plain = compression.open_stream(streams.File(fd))
        with store.ingest() as ingest:
            while data := plain.read(1 << 18):
                ingest.write(packer.feed(data))
            ingest.write(packer.finish())
            found = members.expect(ingest.digest())
            ingest.commit()
    finally:
        os.close(fd)
    return found


def make_manifest(members: Members, image_config: config.ImageConfig, blobs: tuple[digest.Digest, ...]) -> bytes:
    """The OCI manifest of an image that came without one."""
    store = members.store
    layers = tuple(
        descriptor.Descriptor(media.layer_for(store.compression(b)) or media.OCI_LAYER, b, store.size(b)) for b in blobs
    )
    made = descriptor.Descriptor(media.OCI_CONFIG, image_config.digest, len(image_config.data))
    return manifest.Manifest(made, layers).encode()
