"""The options of a tmpfs as a user writes them, checked at create: what the kernel would refuse (mm/shmem.c, lib's
memparse) would otherwise end the start. Pure."""

from __future__ import annotations

from wharfie.base import errors

_WORDS = frozenset({
    "ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async", "dirsync", "mand", "nomand",
    "atime", "noatime", "diratime", "nodiratime", "private", "rprivate", "shared", "rshared", "slave", "rslave",
    "unbindable", "runbindable", "relatime", "norelatime", "strictatime", "nostrictatime",
})  # fmt: skip
_UNITS = {"k": 10, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}
_POLICIES = frozenset({"default", "prefer", "bind", "interleave", "local"})
_MAX_INT64 = (1 << 63) - 1
_MAX_ID = (1 << 32) - 2


def check(word: str, target: str) -> None:
    """Raises Invalid naming option and mount for anything the kernel would not take, and for words that make no sense
    of a tmpfs (bind, remount)."""
    key, sign, value = word.partition("=")
    test = _KEYS.get(key) if sign else None
    if test is None and (sign or word not in _WORDS):
        raise errors.Invalid(f'Invalid tmpfs option "{word}"', name=target)
    if test is not None and not test(value):
        raise errors.Invalid(f'Invalid tmpfs option "{word}" of {target}: bad value for {key}', name=target)


def _number(text: str) -> int:
    """Decimal, or octal or hexadecimal by C's prefixes; -1 for anything else."""
    base = 16 if text[:2] in ("0x", "0X") else 8 if text[:1] == "0" and len(text) > 1 else 10
    digits = text[2:] if base == 16 else text
    if not digits or len(digits) > 22 or not set(digits.lower()) <= set("0123456789abcdef"[:base]):
        return -1
    return int(digits, base)


def _amount(text: str) -> bool:
    """"64m", "1073741824"."""
    shift = _UNITS.get(text[-1:].lower(), 0) if text[:2].lower() != "0x" else 0
    return 0 <= _number(text[:-1] if shift else text) << shift <= _MAX_INT64


def _size(text: str) -> bool:
    """An amount, or a part of the memory: "50%"."""
    return 0 <= _number(text[:-1]) <= 10**6 if text.endswith("%") else _amount(text)


def _mode(text: str) -> bool:
    return 0 < len(text) < 12 and set(text) <= set("01234567") and int(text, 8) <= 0o7777


def _id(text: str) -> bool:
    return 0 <= _number(text) <= _MAX_ID


def _policy(text: str) -> bool:
    """"interleave", "bind=static:0-3": numa(7)'s policies with a list of nodes."""
    words, colon, nodes = text.partition(":")
    name, sign, flag = words.partition("=")
    if name not in _POLICIES or (sign and flag not in ("static", "relative")):
        return False
    if colon and (not nodes or not set(nodes) <= set("0123456789-")):
        return False
    return bool(colon) if name == "bind" else not colon or name in ("prefer", "interleave")


_KEYS = {"size": _size, "nr_blocks": _amount, "nr_inodes": _amount, "mode": _mode, "uid": _id, "gid": _id,
         "mpol": _policy}
