"""An image as the rest of the house sees it."""

from __future__ import annotations

from wharfie.base import errors
from wharfie.base.value import Value
from wharfie.oci import config, digest, platform


class Image(Value):
    """id: the digest of the config. manifest: digest of the manifest that holds config and layers together. tags: as
    people write them, "busybox:latest". digests: "busybox@sha256:…", of images that came from a registry. size: bytes
    of all layers unpacked. created, added: ns since 1970 (created 0: unknown); added is when it came here. parent: id
    of the image it was built on here, or "". damaged: why its config cannot be read, or ""; such an image can only be
    removed."""

    id: digest.Digest
    manifest: digest.Digest
    config: config.ImageConfig
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    size: int = 0
    created: int = 0
    added: int = 0
    parent: str = ""
    damaged: str = ""

    @property
    def dangling(self) -> bool:
        """Whether it has no name left."""
        return not self.tags and not self.digests

    def check_platform(self, wanted: platform.Platform | None) -> None:
        """Raises NotFound when it is for another platform than is wanted: an image here is for one."""
        if wanted is not None and not wanted.accepts(self.config.platform):
            raise errors.NotFound(f"image with reference {next(iter(self.tags), self.id)} was found but does not "
                                  f"provide the specified platform ({wanted})", name=str(wanted))


class Loaded(Value):
    """One result of a load: the image, and the name it got ("" for none). `replaced` is the id of the image that had
    the name before and has none now, or ""."""

    id: digest.Digest
    reference: str = ""
    replaced: str = ""

    @property
    def message(self) -> str:
        """Docker's line."""
        return f"Loaded image: {self.reference}" if self.reference else f"Loaded image ID: {self.id}"


class Removed(Value):
    """One step of a removal. untagged: the name that went; deleted: the image id or layer id that went."""

    untagged: str = ""
    deleted: str = ""
    image: str = ""

    def to_json(self) -> dict[str, str]:
        """Docker's shape."""
        return {"Untagged": self.untagged} if self.untagged else {"Deleted": self.deleted}


class Step(Value):
    """One line of a history, newest first. id: image id or "<missing>". created: seconds since 1970."""

    id: str
    created: int
    created_by: str
    comment: str
    size: int
    tags: tuple[str, ...] = ()
