"""Detach keys: "ctrl-p,ctrl-q". Parsing them, and finding them in a stream of typed bytes. No I/O.

As in Docker, bytes that could be the beginning of the sequence are held back until the next byte decides.
"""

from __future__ import annotations

from wharfie.base import errors

DEFAULT = "ctrl-p,ctrl-q"
_CONTROL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse(keys: str) -> bytes:
    """The bytes of a sequence; "" is the default's. Raises Invalid in Docker's words."""
    out = bytearray()
    for key in (keys or DEFAULT).split(","):
        name = key[5:] if key.startswith("ctrl-") else ""
        if len(key) == 1 and key.isascii():
            out.append(ord(key))
        elif len(name) == 1 and "a" <= name <= "z":
            out.append(ord(name) - ord("a") + 1)
        elif name in _CONTROL:
            out.append(_CONTROL[name])
        else:
            raise errors.Invalid(f"Invalid detach keys ({keys}): Unknown character: '{key}'", name="detachKeys")
    return bytes(out)


class Scanner:
    """Feed what is typed; get what goes to the process, and whether the sequence is complete."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(bytes to pass on, detached). After True nothing more may be fed."""
        keys = self._keys
        if not keys or (not self._matched and keys[0] not in data):
            return data, False
        out = bytearray()
        for byte in data:
            if byte == keys[self._matched]:
                self._matched += 1
                if self._matched == len(keys):
                    return bytes(out), True
                continue
            out += keys[: self._matched]
            self._matched = 0
            if byte == keys[0]:
                self._matched = 1
            else:
                out.append(byte)
        return bytes(out), False
