"""Platforms: operating system, architecture, variant (OCI image-spec, image-index.md; Go's GOOS and GOARCH words)."""

from __future__ import annotations

import os

from wharfie.base import errors
from wharfie.base.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WORD = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.-")
_MACHINES = {
    "x86_64": ("amd64", ""), "amd64": ("amd64", ""), "x86-64": ("amd64", ""), "aarch64": ("arm64", ""),
    "arm64": ("arm64", ""), "armv7l": ("arm", "v7"), "armhf": ("arm", "v7"), "armv6l": ("arm", "v6"),
    "armel": ("arm", "v6"), "i386": ("386", ""), "i686": ("386", ""), "386": ("386", ""),
}


class Platform(Value):
    """A platform. `variant` is "" where the architecture has only one."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """"linux/arm64/v8", "arm64", "linux". Raises Invalid."""
        parts = text.lower().split("/")
        if len(parts) > 3 or not all(p and frozenset(p) <= _WORD for p in parts):
            raise errors.Invalid(f'"{text}" is an invalid platform', name=text,
                                 action="write os/architecture[/variant], such as linux/arm64")
        if len(parts) == 1:
            if parts[0] in ("linux", "windows", "darwin"):
                return host().replace(os=parts[0])
            return cls("linux", *_normal(parts[0], ""))
        return cls(parts[0], *_normal(parts[1], parts[2] if len(parts) == 3 else ""))

    @classmethod
    def of(cls, d: dict[str, Any]) -> Platform:
        """The platform that a config or a descriptor's `platform` names."""
        return cls(str(d.get("os") or ""), str(d.get("architecture") or ""), str(d.get("variant") or ""))

    def accepts(self, other: Platform) -> bool:
        """Whether something for `other` is what was asked for; a variant left out means any."""
        same = (self.os, self.architecture) == (other.os, other.architecture)
        return same and (not self.variant or not other.variant or self.variant == other.variant)

    def __str__(self) -> str:
        return "/".join(p for p in (self.os, self.architecture, self.variant) if p)


def _normal(architecture: str, variant: str) -> tuple[str, str]:
    name, implied = _MACHINES.get(architecture, (architecture, ""))
    if name == "arm64" and variant in ("8", "v8"):
        return name, ""
    if variant.isdigit():
        variant = f"v{variant}"
    return name, variant or implied


def host() -> Platform:
    """This machine."""
    return Platform("linux", *_normal(os.uname().machine, ""))
