"""Reading JSON documents from outside: bounded, one value per key, and errors that name the path of the bad key."""

from __future__ import annotations

import json

from wharfie.base import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_DOCUMENT = 4 << 20
MAX_DEPTH = 64
_KINDS = {str: "a string", int: "a whole number", list: "a list", dict: "an object", bool: "true or false"}


def document(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object that `data` is. Raises Damaged: too large, too deep, not JSON, a doubled key, not an object."""
    if len(data) > MAX_DOCUMENT:
        raise errors.Damaged(f"{what}: larger than {MAX_DOCUMENT} bytes")
    if _depth(data) > MAX_DEPTH:
        raise errors.Damaged(f"{what}: nested deeper than {MAX_DEPTH}")
    try:
        found = json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise errors.Damaged(f"{what}: not JSON ({error})") from error
    if not isinstance(found, dict):
        raise errors.Damaged(f"{what}: not a JSON object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return made


def _depth(data: bytes) -> int:
    """An upper bound of the nesting: brackets in strings count too, which only makes it stricter for odd documents."""
    deepest = depth = 0
    for byte in data.translate(None, _NO_BRACKETS):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth = max(depth - 1, 0)
    return deepest


_NO_BRACKETS = bytes(b for b in range(256) if b not in b"[]{}")


def typed(value: Any, kind: type, path: str) -> Any:
    """`value` when it has the kind. Raises Damaged naming the path. True is no number here."""
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise errors.Damaged(f"{path}: expected {_KINDS[kind]}")


def optional(d: dict[str, Any], key: str, kind: type, default: Any, path: str) -> Any:
    """d[key], or the default when it is absent or null."""
    value = d.get(key)
    return default if value is None else typed(value, kind, f"{path}.{key}")


def strings(value: Any, path: str) -> tuple[str, ...]:
    """A list of strings (null is the empty one)."""
    if value is None:
        return ()
    return tuple(typed(item, str, f"{path}[{i}]") for i, item in enumerate(typed(value, list, path)))


def string_map(value: Any, path: str) -> dict[str, str]:
    """An object of strings (null is the empty one)."""
    if value is None:
        return {}
    return {key: typed(item, str, f"{path}.{key}") for key, item in typed(value, dict, path).items()}


def encode(obj: Any) -> bytes:
    """Compact JSON, keys in the order given: what we write has one form."""
    return json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogateescape")
