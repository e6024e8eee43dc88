"""`docker commit`: an image out of an image and what a container has changed in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wharfie.base import errors, when
from wharfie.base.value import Value
from wharfie.oci import digest, reference

from .catalog import Catalog
from .image import Image
from .making import assemble

_KEPT = ("architecture", "variant", "os", "os.version", "os.features")


class Wish(Value):
    """What is to become of a container. `settings`: Docker's Config as an image keeps it. `created_by` is the line of
    the history. `container` and `container_config` are remembered in the image, as Docker does."""

    settings: dict[str, Any]
    name: str = ""
    author: str = ""
    comment: str = ""
    created_by: str = ""
    container: str = ""
    container_config: dict[str, Any] | None = None


def parse_name(text: str) -> list[reference.Reference]:
    """The name of the new image, if any. Raises Invalid."""
    if not text:
        return []
    found = reference.Reference.parse(text)
    if found.digest:
        raise errors.Invalid("cannot commit to digest reference", name=text)
    return [found]


def commit(catalog: Catalog, parent: Image, layer: Iterator[bytes], wish: Wish) -> Image:
    """A new image: the layers of `parent` and the tar stream `layer`. Raises Invalid for a bad name, Exhausted,
    Damaged; nothing is left then."""
    names = parse_name(wish.name)
    blobs = tuple(one.digest for one in catalog.manifest(parent).layers)
    with catalog.holding([*blobs, *parent.config.diff_ids]):
        return assemble(catalog, layer, lambda diff_id: _document(parent, wish, diff_id), names=names,
                        parent=parent.id, below=blobs)


def _document(parent: Image, wish: Wish, diff_id: digest.Digest) -> dict[str, Any]:
    raw, created = parent.config.raw, when.rfc3339(when.now())
    step = {"created": created, "author": wish.author, "created_by": wish.created_by, "comment": wish.comment}
    kept: dict[str, Any] = {key: raw[key] for key in _KEPT if key in raw}
    made: dict[str, Any] = {
        **kept, "created": created, "config": wish.settings,
        "rootfs": {"type": "layers", "diff_ids": [*parent.config.diff_ids, diff_id]},
        "history": [*(raw.get("history") or []), {key: value for key, value in step.items() if value}],
    }
    if wish.author:
        made["author"] = wish.author
    if wish.container:
        made |= {"container": wish.container, "container_config": wish.container_config or {}}
    return made
