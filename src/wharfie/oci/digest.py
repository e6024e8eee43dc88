"""Digests: `algorithm:hex`, only sha256 and sha512, exact length, lower case (OCI image-spec, descriptor.md).

A digest is a `str`, so it goes into JSON, SQL and file names as it stands, and it can only be made by checking.
"""

from __future__ import annotations

import hashlib

from wharfie.base import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash

LENGTHS = {"sha256": 64, "sha512": 128}
_HEX = frozenset("0123456789abcdef")


class Digest(str):
    """A checked digest. Made by `Digest.parse` or `of`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Digest:
        """The digest that `text` spells. Raises Invalid for another algorithm, length or case."""
        if isinstance(text, cls):
            return text
        if isinstance(text, str):
            algorithm, _, hex_part = text.partition(":")
            if LENGTHS.get(algorithm) == len(hex_part) and _HEX.issuperset(hex_part):
                return cls(text)
        shown = text if isinstance(text, str) else repr(text)
        raise errors.Invalid(f"invalid digest: {shown[:200]}", name=shown[:200],
                             action="write sha256: or sha512: and lower-case hex digits")

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The twelve digits that people type."""
        return self.hex[:12]

    def hasher(self) -> _Hash:
        """A fresh hash object of this digest's algorithm."""
        return hashlib.new(self.algorithm)


def of(data: bytes | bytearray | memoryview, algorithm: str = "sha256") -> Digest:
    """The digest of some bytes."""
    return from_hasher(hashlib.new(algorithm, data))


def from_hasher(hasher: _Hash) -> Digest:
    """The digest that a hash object of hashlib has come to."""
    return Digest.parse(f"{hasher.name}:{hasher.hexdigest()}")
