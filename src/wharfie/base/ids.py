"""Identifiers: 64 lower-case hex digits for containers, execs, networks; short forms and Docker's name grammar."""

from __future__ import annotations

import os

from .errors import Invalid

_HEX = frozenset("0123456789abcdef")
_ALNUM = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME = _ALNUM | frozenset("_.-")


def new() -> str:
    """A fresh random id. Never all digits in its first twelve, so that a short id cannot be read as a number
    (a hostname made of digits alone is taken for an address by some resolvers)."""
    while True:
        made = os.urandom(32).hex()
        if not made[:12].isdecimal():
            return made


def short(identifier: str) -> str:
    """The twelve digits that people type."""
    return identifier.removeprefix("sha256:")[:12]


def is_hex(text: str) -> bool:
    """Whether `text` is non-empty lower-case hex (a possible id prefix)."""
    return bool(text) and _HEX.issuperset(text)


def check_name(name: str, what: str = "container") -> str:
    """`name` if it follows Docker's grammar `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, else Invalid."""
    if len(name) >= 2 and name[0] in _ALNUM and _NAME.issuperset(name) and len(name) <= 255:
        return name
    raise Invalid(f"Invalid {what} name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name=name)
