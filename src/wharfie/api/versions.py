"""The versions this server speaks, and where a request says which one it wants.

Every path may begin with `/vMAJOR.MINOR`; without it the newest is meant, as Docker does. All versions so far have
major 1, so that inside this room a version is the minor number alone.
"""

from __future__ import annotations

from wharfie.base import errors

OLDEST = 24
NEWEST = 50
NEWEST_TEXT = f"1.{NEWEST}"
OLDEST_TEXT = f"1.{OLDEST}"


def split(path: str) -> tuple[int, str]:
    """(minor version, path without it) of a request path. Raises Invalid with Docker's words when the version is too
    old or too new."""
    if path[:2] != "/v":
        return NEWEST, path
    word, slash, rest = path[2:].partition("/")
    major_text, dot, minor_text = word.partition(".")
    if not (slash and dot and _is_number(major_text) and _is_number(minor_text)):
        return NEWEST, path
    major, minor = int(major_text), int(minor_text)
    if (major, minor) > (1, NEWEST):
        raise errors.Invalid(f"client version {word} is too new. Maximum supported API version is {NEWEST_TEXT}")
    if (major, minor) < (1, OLDEST):
        raise errors.Invalid(
            f"client version {word} is too old. Minimum supported API version is {OLDEST_TEXT}, "
            "please upgrade your client to a newer version"
        )
    return minor, f"/{rest}"


def _is_number(text: str) -> bool:
    return 0 < len(text) <= 9 and text.isascii() and text.isdecimal()
