"""Manifests and indexes (OCI image-spec, manifest.md and image-index.md; Docker's schema 2 has the same shape)."""

from __future__ import annotations

from wharfie.base import errors
from wharfie.base.value import Value

from . import media, reading
from .descriptor import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_LAYERS = 1000
MAX_MANIFESTS = 10_000


class Manifest(Value):
    """One image for one platform: a config and its layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = media.OCI_MANIFEST
    annotations: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Raises Damaged: not a manifest, too many layers, an index in a manifest's place."""
        d = _document(data, "manifest")
        if "manifests" in d:
            raise errors.Damaged("manifest: has both layers and manifests")
        layers = reading.typed(d.get("layers"), list, "$.layers")
        if len(layers) > MAX_LAYERS:
            raise errors.Damaged(f"manifest: more than {MAX_LAYERS} layers")
        return cls(
            Descriptor.parse(d.get("config"), "$.config"),
            tuple(Descriptor.parse(item, f"$.layers[{i}]") for i, item in enumerate(layers)),
            d.get("mediaType") or media.OCI_MANIFEST,
            tuple(reading.string_map(d.get("annotations"), "$.annotations").items()),
        )

    def encode(self) -> bytes:
        """The one form we write it in."""
        made: dict[str, Any] = {
            "schemaVersion": 2, "mediaType": self.media_type, "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        if self.annotations:
            made["annotations"] = dict(self.annotations)
        return reading.encode(made)


class Index(Value):
    """Manifests side by side: platforms of one image, or all images of a layout."""

    manifests: tuple[Descriptor, ...]
    media_type: str = media.OCI_INDEX
    annotations: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Index:
        """Raises Damaged."""
        d = _document(data, "index")
        if "layers" in d or "config" in d:
            raise errors.Damaged("index: has both layers and manifests")
        found = reading.typed(d.get("manifests"), list, "$.manifests")
        if len(found) > MAX_MANIFESTS:
            raise errors.Damaged(f"index: more than {MAX_MANIFESTS} manifests")
        return cls(
            tuple(Descriptor.parse(item, f"$.manifests[{i}]") for i, item in enumerate(found)),
            d.get("mediaType") or media.OCI_INDEX,
            tuple(reading.string_map(d.get("annotations"), "$.annotations").items()),
        )

    def encode(self) -> bytes:
        """The one form we write it in."""
        made: dict[str, Any] = {
            "schemaVersion": 2, "mediaType": self.media_type, "manifests": [m.to_json() for m in self.manifests],
        }
        if self.annotations:
            made["annotations"] = dict(self.annotations)
        return reading.encode(made)


def _document(data: bytes, what: str) -> dict[str, Any]:
    d = reading.document(data, what)
    if d.get("schemaVersion") != 2:
        raise errors.Damaged(f"{what}: schemaVersion is not 2")
    reading.optional(d, "mediaType", str, "", "$")
    return d
