"""Who a process in a container is: "user[:group]" against the image's own /etc/passwd and /etc/group.

A strict, bounded parser of our own: no NSS (it would load libraries of the container), no `int()` on foreign text (it
takes "+1", " 1", "1_000" and digits of other scripts). A number is a number and never falls through to a name: an
overflowing uid must not become root because some line has that name (CVE-2016-3697, CVE-2024-40635).
"""

from __future__ import annotations

from collections.abc import Iterator

from wharfie.base import errors
from wharfie.base.value import Value

MAX_ID = (1 << 31) - 1
MAX_FILE = 4 << 20
MAX_LINES = 100_000
MAX_GROUPS = 65_536  # NGROUPS_MAX, setgroups(2)
_DIGITS = frozenset("0123456789")


class Identity(Value):
    """uid, gid, supplementary gids (the primary one first), home directory."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


class _Account(Value):
    name: str
    uid: int
    gid: int
    home: str


class _Group(Value):
    name: str
    gid: int
    members: tuple[str, ...]


def parse_id(text: str, what: str) -> int | None:
    """The number that `text` is, None when it is a name. Raises Invalid for what looks like a number and is none."""
    if not text or not any(c.isdecimal() or c.isdigit() or c.isnumeric() for c in text):
        return None
    if _DIGITS.issuperset(text):
        if len(text) <= 10 and int(text) <= MAX_ID and (text == "0" or text[0] != "0"):
            return int(text)
        raise errors.Invalid(f"{what} {text}: ids must be in range 0-{MAX_ID}", name=text)
    if (text[0].isalpha() and text[0].isascii()) or text[0] == "_":
        return None  # a name with digits in it, such as user1
    raise errors.Invalid(f"{what} {text!r}: neither a name nor a number in range 0-{MAX_ID}", name=text)


def resolve(spec: str, passwd: bytes, group: bytes, add: list[str] | None = None) -> Identity:
    """Who "user", "uid", "user:group", "" (root) is. `add` are more groups, names or numbers (--group-add).
    Raises Invalid with Docker's words for unknown names."""
    user_text, colon, group_text = spec.partition(":")
    if colon and (":" in group_text or not group_text):
        raise errors.Invalid(f"invalid user specification: {spec!r}", action="write user, uid, user:group or uid:gid")
    account = _find_account(user_text or "0", passwd)
    groups = list(_groups(group))
    if group_text:
        gid, extra = _find_gid(group_text, groups), []
    else:
        gid = account.gid
        extra = [g.gid for g in groups if account.name and account.name in g.members]
    extra += [_find_gid(a, groups) for a in add or []]
    every = tuple(dict.fromkeys([gid, *extra]))
    if len(every) > MAX_GROUPS:
        raise errors.Invalid(f"user {spec!r} is in {len(every)} groups, the kernel takes {MAX_GROUPS}")
    return Identity(account.uid, gid, every, account.home or "/")


def _find_account(text: str, passwd: bytes) -> _Account:
    uid = parse_id(text, "user")
    for account in _accounts(passwd):
        if account.uid == uid if uid is not None else account.name == text:
            return account
    if uid is None:
        raise errors.Invalid(f"unable to find user {text}: no matching entries in passwd file", name=text)
    return _Account("", uid, 0, "/root" if uid == 0 else "/")


def _find_gid(text: str, groups: list[_Group]) -> int:
    gid = parse_id(text, "group")
    if gid is not None:
        return gid
    for group in groups:
        if group.name == text:
            return group.gid
    raise errors.Invalid(f"unable to find group {text}: no matching entries in group file", name=text)


def _lines(data: bytes) -> Iterator[list[str]]:
    """Fields of each line; comments and lines that are no text are passed over."""
    for raw in data[:MAX_FILE].split(b"\n", MAX_LINES)[:MAX_LINES]:
        line = raw.decode("utf-8", "surrogateescape").strip()
        if line and not line.startswith(("#", "+", "-")):
            yield line.split(":")


def _number(text: str) -> int | None:
    return int(text) if text and len(text) <= 10 and _DIGITS.issuperset(text) and int(text) <= MAX_ID else None


def _accounts(passwd: bytes) -> Iterator[_Account]:
    for fields in _lines(passwd):
        if len(fields) >= 4:
            uid, gid = _number(fields[2]), _number(fields[3])
            if uid is not None and gid is not None:
                yield _Account(fields[0], uid, gid, fields[5] if len(fields) > 5 else "")


def _groups(group: bytes) -> Iterator[_Group]:
    for fields in _lines(group):
        if len(fields) >= 3:
            gid = _number(fields[2])
            if gid is not None:
                members = fields[3].split(",") if len(fields) > 3 else []
                yield _Group(fields[0], gid, tuple(m for m in members if m))
