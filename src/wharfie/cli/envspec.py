"""Environment variables and labels, from flags and files."""

from __future__ import annotations

import os

from wharfie.base import errors, flags

from .create_flags import CREATE

_BLANK = " \t\v\f\r\n"


def environment(files: list[str], given: list[str]) -> list[str]:
    """Files first, then flags. A name alone takes the client's value; when it has none, from a file it is dropped,
    from a flag it stays bare (the engine then removes the image's variable). Raises errors.Invalid, OSError."""
    out: list[str] = []
    for path in files:
        for line in _lines(path):
            name, mark, _ = line.partition("=")
            if mark:
                out.append(line)
            elif name in os.environ:
                out.append(f"{name}={os.environ[name]}")
    for item in given:
        if item.startswith("=") or not item:
            flag = CREATE.find("env")
            assert flag is not None
            raise flags.bad_value(flag, item, f"invalid environment variable: {item}")
        out.append(f"{item}={os.environ[item]}" if "=" not in item and item in os.environ else item)
    return out


def labels(files: list[str], given: list[str]) -> dict[str, str]:
    """Files first, then flags; a key alone has the empty value. Raises errors.Invalid, OSError."""
    items = [line for path in files for line in _lines(path)] + given
    return pairs(items)


def pairs(items: list[str]) -> dict[str, str]:
    """key=value texts as a dict, the last one wins."""
    out: dict[str, str] = {}
    for item in items:
        key, _, value = item.partition("=")
        out[key] = value
    return out


def _lines(path: str) -> list[str]:
    with open(path, "rb") as file:
        data = file.read(16 << 20)
    out: list[str] = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            line = raw.decode().lstrip(_BLANK).rstrip("\r")
        except UnicodeDecodeError as error:
            raise errors.Invalid(f"env file {path} contains invalid utf8 bytes at line {number}") from error
        if not line or line.startswith("#"):
            continue
        name = line.partition("=")[0]
        if not name:
            raise errors.Invalid(f"invalid env file ({path}): no variable name on line '{line}'")
        if any(c in name for c in _BLANK):
            raise errors.Invalid(f"invalid env file ({path}): variable '{name}' contains whitespaces")
        out.append(line)
    return out
