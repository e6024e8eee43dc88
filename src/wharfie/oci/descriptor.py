"""Descriptors: what points from one document to another (OCI image-spec, descriptor.md)."""

from __future__ import annotations

from wharfie.base import errors
from wharfie.base.value import Value

from . import reading
from .digest import Digest
from .platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_SIZE = 1 << 46


class Descriptor(Value):
    """Media type, digest and size of a blob. `urls` of foreign layers are kept out: nothing is fetched from where an
    image says."""

    media_type: str
    digest: Digest
    size: int
    annotations: tuple[tuple[str, str], ...] = ()
    platform: Platform | None = None

    @classmethod
    def parse(cls, value: Any, path: str = "$") -> Descriptor:
        """Raises Damaged naming the path of the bad key."""
        d = reading.typed(value, dict, path)
        size = reading.typed(d.get("size"), int, f"{path}.size")
        if not 0 <= size <= MAX_SIZE:
            raise errors.Damaged(f"{path}.size: out of range")
        try:
            digest = Digest.parse(d.get("digest"))
        except errors.Invalid as error:
            raise errors.Damaged(f"{path}.digest: {error.message}") from error
        platform = reading.optional(d, "platform", dict, None, path)
        return cls(
            reading.optional(d, "mediaType", str, "", path), digest, size,
            tuple(reading.string_map(d.get("annotations"), f"{path}.annotations").items()),
            Platform.of(platform) if platform is not None else None,
        )

    def to_json(self) -> dict[str, Any]:
        """As it stands in a manifest or an index."""
        made: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.annotations:
            made["annotations"] = dict(self.annotations)
        if self.platform is not None:
            made["platform"] = {k: v for k, v in self.platform.asdict().items() if v}
        return made
