"""The catalogue: which images and names there are. The truth is in the database; the bytes are in the content store."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterable, Iterator

from wharfie.base import errors, ids, when
from wharfie.oci import config, descriptor, digest, manifest, media, reference
from wharfie.storage import database, store

from .image import Image

_CACHED = 512
_UNKNOWN = config.ImageConfig.make({})
REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"


class Catalog:
    """Images and tags of one data root. `lock` is held while anything is registered or taken away; `holds` names
    blobs and layers that somebody is busy with, which nobody may delete."""

    def __init__(self, store: store.Store, database: database.Database) -> None:
        self.store = store
        self.lock = threading.RLock()
        self._database = database
        self._configs: dict[str, config.ImageConfig] = {}
        self._holds: Counter[str] = Counter()
        # Layers of images that are gone, which containers still stand on: to be looked at when a container goes.
        self.orphans: set[digest.Digest] = set()

    @contextlib.contextmanager
    def holding(self, digests: Iterable[str]) -> Iterator[None]:
        """Keep these blobs and layers from being deleted for a while."""
        taken = list(digests)
        self.hold(taken)
        try:
            yield
        finally:
            self.release(taken)

    def hold(self, digests: Iterable[str]) -> None:
        """The open form of `holding`; `release` is to follow, once for each."""
        with self.lock:
            self._holds.update(digests)

    def release(self, digests: Iterable[str]) -> None:
        """The end of a `hold`."""
        with self.lock:
            self._holds.subtract(digests)
            self._holds = +self._holds

    def held(self) -> set[str]:
        """What somebody holds. Call it under `lock`."""
        return set(self._holds)

    def image(self, image_id: str) -> Image | None:
        """The image with this exact id."""
        rows = self._database.read("SELECT digest, manifest, parent, size, added FROM images WHERE digest = ?",
                                   (image_id,))
        return self._image(rows[0], self._names(image_id)) if rows else None

    def images(self) -> list[Image]:
        """All images, the newest first."""
        names: dict[str, list[str]] = {}
        for target, text in self._database.read("SELECT target, reference FROM tags ORDER BY reference"):
            names.setdefault(target, []).append(text)
        rows = self._database.read("SELECT digest, manifest, parent, size, added FROM images")
        found = [self._image(row, names.get(row[0], [])) for row in rows]
        return sorted(found, key=lambda i: (-i.created, i.id))

    def children(self, image_id: str) -> list[str]:
        """Ids of images whose parent this is."""
        return [d for (d,) in self._database.read("SELECT digest FROM images WHERE parent = ?", (image_id,))]

    def target(self, ref: reference.Reference) -> str | None:
        """The id of the image with exactly this name."""
        rows = self._database.read("SELECT target FROM tags WHERE reference = ?", (str(ref),))
        return rows[0][0] if rows else None

    def find(self, text: str) -> Image:
        """The image that `text` means, in Docker's order: full id, name, prefix of an id. Raises NotFound, Invalid."""
        image = self._by_full_id(text)
        ref = None
        if image is None:
            try:
                ref = reference.Reference.parse(text)
            except errors.Invalid:
                if not _is_prefix(text):
                    raise
            target = self.target(ref) if ref else None
            image = self.image(target) if target else self._by_prefix(text)
        if image is None:
            raise missing(ref.familiar() if ref else text)
        return image

    def named_by_id(self, text: str, image: Image) -> bool:
        """Whether `text` was an id of the image, or the beginning of one, and not a name."""
        prefix = text.removeprefix("sha256:")
        if not (ids.is_hex(prefix) and image.id.hex.startswith(prefix)):
            return False
        try:
            return self.target(reference.Reference.parse(text)) is None
        except errors.Invalid:
            return True

    def register(self, image_config: config.ImageConfig, image_manifest: digest.Digest, *, parent: str = "",
                 names: Iterable[reference.Reference] = ()) -> list[str]:
        """Enter an image whose blobs and layers are all there, and give it names; for each name the id of the image
        that lost it, or "". An image that is there already keeps its row. Raises Invalid for a name that is no tag."""
        names = [_nameable(ref) for ref in names]
        image_id = image_config.digest
        size = sum(self.store.layers.size(d) for d in image_config.diff_ids)
        statements: list[database.Statement] = [(
            "INSERT INTO images (digest, manifest, parent, size, added) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (digest) DO NOTHING", (image_id, image_manifest, parent, size, when.now()),
        )]
        with self.lock:
            replaced = []
            for ref in names:
                before = self.target(ref)
                replaced.append(before if before and before != image_id else "")
                statements.append(_tagging(ref, image_id))
            self._write(statements)
        return replaced

    def tag(self, ref: reference.Reference, image_id: str) -> None:
        """Give a name; whoever had it loses it. Raises Invalid for a name that is no tag."""
        with self.lock:
            self._write([_tagging(_nameable(ref), image_id)])

    def untag(self, ref: reference.Reference) -> None:
        """Take a name away. Idempotent."""
        with self.lock:
            self._write([("DELETE FROM tags WHERE reference = ?", (str(ref),))])

    def references(self, image_id: str) -> list[reference.Reference]:
        """All names of an image."""
        return [reference.Reference.parse(text) for text in self._names(image_id)]

    def forget(self, image_id: str) -> None:
        """Take the image's row away, and what names are left."""
        with self.lock:
            self._write([("DELETE FROM tags WHERE target = ?", (image_id,)),
                         ("DELETE FROM images WHERE digest = ?", (image_id,))])
            self._configs.pop(image_id, None)

    def manifest(self, image: Image) -> manifest.Manifest:
        """The parsed manifest of an image. Raises NotFound, Damaged."""
        return manifest.Manifest.parse(self.store.content.read(image.manifest))

    def _write(self, statements: list[database.Statement]) -> None:
        self._database.write_many_now(statements, durable=True)
        self._write_index()

    def _write_index(self) -> None:
        """index.json from the tables: every name, and every image without one."""
        rows = self._database.read(
            "SELECT images.manifest, tags.reference FROM images LEFT JOIN tags ON tags.target = images.digest"
            " ORDER BY tags.reference, images.digest")
        found = []
        for text, name in rows:
            at = digest.Digest.parse(text)
            notes: tuple[tuple[str, str], ...] = ()
            if name:
                notes = ((CONTAINERD_NAME, name), (REF_NAME, reference.Reference.parse(name).tag))
            try:
                size = self.store.content.size(at)
            except errors.NotFound:
                continue
            found.append(descriptor.Descriptor(media.OCI_MANIFEST, at, size, notes))
        self.store.content.write_index(manifest.Index(tuple(found)))

    def _names(self, image_id: str) -> list[str]:
        rows = self._database.read("SELECT reference FROM tags WHERE target = ? ORDER BY reference", (image_id,))
        return [text for (text,) in rows]

    def _by_full_id(self, text: str) -> Image | None:
        full = text if text.startswith("sha256:") else f"sha256:{text}"
        try:
            return self.image(digest.Digest.parse(full))
        except errors.Invalid:
            return None

    def _by_prefix(self, text: str) -> Image | None:
        if not _is_prefix(text):
            return None
        prefix = "sha256:" + text.removeprefix("sha256:")
        rows = self._database.read("SELECT digest FROM images WHERE substr(digest, 1, ?) = ? LIMIT 2",
                                   (len(prefix), prefix))
        if len(rows) > 1:
            raise errors.NotFound(f"multiple IDs found with provided prefix: {text}", name=text)
        return self.image(rows[0][0]) if rows else None

    def _image(self, row: tuple[str, str, str, int, int], names: list[str]) -> Image:
        image_id, image_manifest, parent, size, added = row
        try:
            parsed, damaged = self._config(digest.Digest.parse(image_id)), ""
        except errors.WharfieError as error:
            parsed, damaged = _UNKNOWN, str(error)
        refs = [reference.Reference.parse(text) for text in names]
        return Image(
            digest.Digest.parse(image_id), digest.Digest.parse(image_manifest), parsed,
            tuple(r.familiar() for r in refs if not r.digest), tuple(r.familiar() for r in refs if r.digest), size,
            parsed.created_ns, added, parent, damaged,
        )

    def _config(self, image_id: digest.Digest) -> config.ImageConfig:
        found = self._configs.get(image_id)
        if found is None:
            found = config.ImageConfig.parse(self.store.content.read(image_id))
            if len(self._configs) >= _CACHED:
                self._configs.clear()
            self._configs[image_id] = found
        return found


def _nameable(ref: reference.Reference) -> reference.Reference:
    """The same; raises Invalid for one that would be taken for an image's id ever after."""
    if ref.familiar_name() in digest.LENGTHS:
        raise errors.Invalid("refusing to create an ambiguous tag using digest algorithm as name", name=ref.familiar())
    return ref


def _tagging(ref: reference.Reference, image_id: str) -> database.Statement:
    return (
        "INSERT INTO tags (reference, target, updated) VALUES (?, ?, ?)"
        " ON CONFLICT (reference) DO UPDATE SET target = excluded.target, updated = excluded.updated",
        (str(ref), image_id, when.now()),
    )


def _is_prefix(text: str) -> bool:
    rest = text.removeprefix("sha256:")
    return ids.is_hex(rest) and len(rest) <= 64


def missing(name: str) -> errors.NotFound:
    """Docker's words, which clients look for, and what to do."""
    return errors.NotFound(f"No such image: {name}", name=name, action=(
        "pulling from a registry comes with a later version of wharfie; bring it by `docker load` or `docker import`,"
        " or use wharfie/hello or wharfie/shell"))
