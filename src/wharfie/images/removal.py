"""Removing images, with Docker's rules about names and users and in Docker's words (moby, daemon/images/image_delete.go
describes them; the rules, not the code, are kept)."""

from __future__ import annotations

from collections.abc import Callable

from wharfie.base import errors
from wharfie.oci import digest, reference

from .catalog import Catalog
from .image import Image, Removed

Users = Callable[[digest.Digest], list[tuple[str, bool]]]


def nobody(_: digest.Digest) -> list[tuple[str, bool]]:
    """No container uses any image."""
    return []


def remove(catalog: Catalog, text: str, *, force: bool, noprune: bool, users: Users) -> list[Removed]:
    """Take away a name, or an image when it was its last name or was given by id.

    `users` tells which containers (id, whether it runs) use an image. Raises NotFound; Conflict in Docker's words.
    """
    with catalog.lock:
        image = catalog.find(text)
        refs = catalog.references(image.id)
        removed: list[Removed] = []
        by_name = not catalog.named_by_id(text, image)
        if by_name:
            using = users(image.id)
            if not force and _is_single(refs) and using:
                raise errors.Conflict(
                    f'conflict: unable to remove repository reference "{text}" (must force) - container'
                    f" {using[0][0][:12]} is using its referenced image {image.id.short}", name=text)
            _untag(catalog, reference.Reference.parse(text), image, removed)
            if catalog.references(image.id):
                return removed
        elif _is_single(refs):
            _check(catalog, image, users, force=force, names=False)
            for ref in refs:
                _untag(catalog, ref, image, removed)
        try:
            _check(catalog, image, users, force=force, names=True)
        except errors.Conflict:
            # Given by name: the name is gone, which was asked for; the image stays for who uses it.
            if by_name:
                return removed
            raise
        for ref in catalog.references(image.id):
            _untag(catalog, ref, image, removed)
        _delete(catalog, image, removed)
        if not noprune:
            _prune_parents(catalog, image.parent, users, removed)
        return removed


def _is_single(refs: list[reference.Reference]) -> bool:
    """Whether the names are at most one tag, with digests of the same repository beside it."""
    if len(refs) <= 1:
        return True
    return len({r.name for r in refs}) == 1 and sum(1 for r in refs if not r.digest) <= 1


def _untag(catalog: Catalog, ref: reference.Reference, image: Image, removed: list[Removed]) -> None:
    catalog.untag(ref)
    removed.append(Removed(untagged=ref.familiar(), image=image.id))


def _check(catalog: Catalog, image: Image, users: Users, *, force: bool, names: bool) -> None:
    """Raises Conflict: children and running containers always forbid, names and stopped ones unless forced."""
    using = users(image.id)
    running = [container for container, runs in using if runs]
    if catalog.children(image.id):
        raise _conflict(image, "cannot be forced", "image has dependent child images")
    if running:
        raise _conflict(image, "cannot be forced", f"image is being used by running container {running[0][:12]}")
    if force:
        return
    if names and catalog.references(image.id):
        raise _conflict(image, "must be forced", "image is referenced in multiple repositories")
    if using:
        raise _conflict(image, "must be forced", f"image is being used by stopped container {using[0][0][:12]}")


def _conflict(image: Image, how: str, why: str) -> errors.Conflict:
    return errors.Conflict(f"conflict: unable to delete {image.id.short} ({how}) - {why}", name=image.id)


def _delete(catalog: Catalog, image: Image, removed: list[Removed]) -> None:
    """The row first, then what no other image, container or work in progress needs: a crash between leaves garbage,
    never an image without its layers."""
    doomed_blobs = blobs_of(catalog, image)
    catalog.forget(image.id)
    removed.append(Removed(deleted=image.id, image=image.id))
    for layer in sweep(catalog, doomed_blobs, set(image.config.diff_ids)):
        removed.append(Removed(deleted=layer, image=image.id))


def blobs_of(catalog: Catalog, image: Image) -> set[str]:
    """Manifest, config and layer blobs of an image, as far as they can be read."""
    found: set[str] = {image.manifest, image.id}
    try:
        found |= {layer.digest for layer in catalog.manifest(image).layers}
    except errors.WharfieError:
        pass  # a damaged image must be removable
    return found


def sweep(catalog: Catalog, blobs: set[str], layers: set[digest.Digest]) -> list[str]:
    """Delete those of these blobs and layers that nobody needs; the layers that went, highest first."""
    with catalog.lock, catalog.store.snapshots.lock:
        held, used, images = catalog.held(), catalog.store.snapshots.used(), catalog.images()
        if any(image.damaged for image in images):
            return []  # nobody knows what that image needs
        kept_blobs, kept_layers = set(held), held | used
        for image in images:
            kept_blobs |= blobs_of(catalog, image)
            kept_layers |= set(image.config.diff_ids)
        named = {diff_id for image in images for diff_id in image.config.diff_ids}
        catalog.orphans |= (layers & used) - named
        catalog.orphans -= layers - used
        for blob in blobs - kept_blobs:
            catalog.store.content.delete(digest.Digest.parse(blob))
        gone = [layer for layer in layers if layer not in kept_layers]
        for layer in gone:
            catalog.store.layers.delete(layer)
        return sorted(gone)


def collect(catalog: Catalog) -> list[str]:
    """Delete every blob and layer that nobody needs: what a crash or a failed load left. For the start."""
    content, layers = catalog.store.content, catalog.store.layers
    return sweep(catalog, {*content.walk()}, {*layers.list()})


def container_gone(catalog: Catalog, lowers: list[digest.Digest]) -> None:
    """A container that stood on these layers was removed: those of a removed image may go now."""
    hit = catalog.orphans.intersection(lowers)
    if hit:
        sweep(catalog, set(), hit)


def _prune_parents(catalog: Catalog, parent: str, users: Users, removed: list[Removed]) -> None:
    """Images without a name that only were there for what has gone."""
    while parent:
        image = catalog.image(parent)
        if image is None or not image.dangling or catalog.children(parent) or users(image.id):
            return
        _delete(catalog, image, removed)
        parent = image.parent
