"""The images of one data root: the one door for engine and API. All synchronous, safe for any number of threads."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wharfie.archive import compression
from wharfie.base import errors
from wharfie.oci import digest, platform, reference
from wharfie.storage import database, store

from . import changes, committing, loading, making, removal, saving
from .builtin import Builtin
from .catalog import Catalog
from .image import Image, Loaded, Removed, Step

# The class has a method named `list`, which hides the type inside it.
Listed = list[Image]
Results = list[Loaded]
Removals = list[Removed]
Steps = list[Step]
DiffIds = list[digest.Digest]


class Images:
    """Collaborators: the store (content, layers, snapshots) and the state database. Opening collects what nobody
    needs."""

    def __init__(self, store: store.Store, database: database.Database) -> None:
        self._catalog = Catalog(store, database)
        self._store = store
        self._builtin = Builtin(self._catalog)
        store.snapshots.removed = lambda lowers: removal.container_gone(self._catalog, lowers)
        removal.collect(self._catalog)

    def get(self, text: str, *, make: bool = True) -> Image:
        """The image that a name, an id or the beginning of an id means. A name of an image that comes with the install
        brings it about (unless `make` is off). Raises NotFound in Docker's words, Invalid for a bad name, Damaged."""
        try:
            found = self._catalog.find(text)
            if found.damaged:
                raise errors.Damaged(f"image {found.id.short} is damaged: {found.damaged}", name=found.id,
                                     action="remove it and load it again")
            return found
        except errors.NotFound:
            made = self._builtin.make(reference.Reference.parse(text)) if make else None
            if made is None:
                raise
            return made

    def list(self, filters: Mapping[str, Sequence[str]] | None = None, *, all: bool = False) -> Listed:
        """Images, the newest first; those that only serve as parents without a name when `all` is on. filters:
        reference (patterns), dangling (true|false), label (key or key=value), before, since (images), until is the
        API's. Raises Invalid for a filter that is not known, NotFound for before and since."""
        found = self._catalog.images()
        if not all:
            parents = {i.parent for i in found if i.parent}
            found = [i for i in found if not (i.dangling and i.id in parents)]
        for key, values in (filters or {}).items():
            found = self._filtered(found, key, list(values))
        return found

    def tag(self, source: str, target: str) -> Image:
        """Give an image another name. Raises NotFound, Invalid."""
        ref = reference.Reference.parse(target)
        if ref.digest:
            raise errors.Invalid("refusing to create a tag with a digest reference", name=target)
        with self._catalog.lock:
            image = self.get(source)
            self._catalog.tag(ref, image.id)
        return image

    def remove(self, text: str, *, force: bool = False, noprune: bool = False,
               users: removal.Users = removal.nobody) -> Removals:
        """Untag or delete as Docker does; `users` tells the containers (id, running) of an image id. Raises NotFound,
        Conflict."""
        return removal.remove(self._catalog, text, force=force, noprune=noprune, users=users)

    def history(self, text: str) -> Steps:
        """The steps an image came from, the newest first. Raises NotFound."""
        image = self.get(text)
        sizes = [self._store.layers.size(d) for d in image.config.diff_ids]
        steps: Steps = []
        for at, item in enumerate(image.config.history):
            size = 0 if item.empty_layer else (sizes.pop(0) if sizes else 0)
            last = at == len(image.config.history) - 1
            steps.append(Step(
                image.id if last else "<missing>", image.config.replace(created=item.created).created_ns // 10**9,
                item.created_by, item.comment, size, image.tags if last else (),
            ))
        return steps[::-1]

    def load(self, stream: compression.Readable, progress: loading.Progress = loading.silent,
             wanted: platform.Platform | None = None) -> Results:
        """Load an archive of `docker save` or an OCI layout, plain or compressed; with `wanted` only images for that
        platform will do. Raises Damaged, Invalid, Exhausted; images that were whole before the error stay."""
        return loading.load(self._catalog, stream, progress, wanted)

    def save(self, texts: Sequence[str], wanted: platform.Platform | None = None) -> Iterator[bytes]:
        """An archive of these images, all for the platform `wanted`. Raises NotFound and Invalid at once, before the
        first piece."""
        for text in texts:
            self.get(text) if ":" in text.rpartition("/")[2] or "@" in text else self._by_repository(text)
        chosen = saving.choose(self._catalog, texts)
        for one in chosen:
            one.image.check_platform(wanted)
        return saving.save(self._catalog, chosen)

    def import_(self, stream: compression.Readable, ref: str = "", changes: Sequence[str] = (), message: str = "",
                made_for: platform.Platform | None = None) -> Image:
        """An image of one layer out of a root file system's tar. Raises Damaged, Invalid, Exhausted."""
        return making.import_(self._catalog, stream, ref, [*changes], message, made_for)

    def commit(self, parent: str, layer: Iterator[bytes], wish: committing.Wish) -> Image:
        """An image of the image with the id `parent` and one layer more. Raises NotFound, Invalid, Exhausted."""
        return committing.commit(self._catalog, self.get(parent), layer, wish)

    def changed(self, settings: dict[str, Any], lines: Sequence[str]) -> dict[str, Any]:
        """Docker's Config after `--change` instructions. Raises Invalid."""
        return changes.apply(settings, [*lines])

    def layers_size(self) -> int:
        """Bytes of all unpacked layers, each once: Docker's LayersSize."""
        return sum(self._store.layers.size(d) for d in self._store.layers.list())

    def shared_size(self, image: Image) -> int:
        """Bytes of the layers that an image has in common with others."""
        others = {d for i in self._catalog.images() if i.id != image.id for d in i.config.diff_ids}
        return sum(self._store.layers.size(d) for d in image.config.diff_ids if d in others)

    def unused(self, used: set[str], *, dangling: bool) -> Listed:
        """Images that no container uses: with `dangling` only those without a name. What prune goes by."""
        parents = {i.parent for i in self._catalog.images() if i.parent}
        return [i for i in self._catalog.images()
                if i.id not in used and i.id not in parents and (i.dangling or not dangling)]

    def layers(self, image: Image) -> DiffIds:
        """The diff ids, lowest first: what `storage.Snapshots.prepare` takes."""
        return [*image.config.diff_ids]

    def _by_repository(self, text: str) -> None:
        try:
            saving.choose(self._catalog, [text])
        except errors.NotFound:
            self.get(text)

    def _filtered(self, found: Listed, key: str, values: Sequence[str]) -> Listed:
        if key == "dangling":
            wanted = _flag(values)
            return [i for i in found if i.dangling == wanted]
        if key == "label":
            return [i for i in found if all(_labelled(i, v) for v in values)]
        if key == "reference":
            return [i for i in found if any(_matches(i, v) for v in values)]
        if key in ("before", "since"):
            edge = max if key == "since" else min
            limit = edge(self.get(v).created for v in values)
            return [i for i in found if (i.created > limit if key == "since" else i.created < limit)]
        raise errors.Invalid(f"invalid filter '{key}'", name=key)


def _flag(values: Sequence[str]) -> bool:
    if values and all(v in ("1", "true", "True") for v in values):
        return True
    if values and all(v in ("0", "false", "False") for v in values):
        return False
    raise errors.Invalid(f"invalid filter 'dangling={values}'", name="dangling")


def _labelled(image: Image, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    labels = dict(image.config.settings.labels)
    return key in labels and (not equals or labels[key] == value)


def _matches(image: Image, pattern: str) -> bool:
    """Docker's reference filter: a shell pattern over the familiar name, with or without the tag; a star does not
    cross slashes."""
    for name in (*image.tags, *image.digests):
        repository = name.partition("@")[0].rpartition(":")[0] or name
        if any(_glob(candidate, pattern) for candidate in (name, repository)):
            return True
    return False


def _glob(name: str, pattern: str) -> bool:
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(fnmatch.fnmatchcase(p, w) for p, w in zip(parts, wanted, strict=True))
