"""Query words as Docker reads them."""

from __future__ import annotations

import msgspec

from wharfie.base import errors, units, when
from wharfie.oci import platform as platforms
from wharfie.web import request as web

Filters = dict[str, list[str]]


def integer(
    request: web.Request, name: str, default: int = 0, *, low: int = -(1 << 63), high: int = units.MAX_INT64
) -> int:
    """A whole number; `default` when absent or empty. Raises Invalid with the words of Go's strconv."""
    said = request.value(name).strip()
    if not said:
        return default
    digits = said[1:] if said[0] in "+-" else said
    if not (digits.isascii() and digits.isdecimal()):
        raise errors.Invalid(f'invalid value for {name}: strconv.ParseInt: parsing "{said}": invalid syntax')
    number = int(digits[:20]) * (-1 if said[0] == "-" else 1)
    if not low <= number <= high:
        raise errors.Invalid(f'invalid value for {name}: strconv.ParseInt: parsing "{said}": value out of range')
    return number


def optional_integer(request: web.Request, name: str) -> int | None:
    """A whole number, or None when the word is absent."""
    return integer(request, name) if request.value(name) else None


def instant(request: web.Request, name: str) -> int:
    """Nanoseconds of a UNIX time `seconds[.fraction]`; RFC 3339 is taken too. 0 when absent."""
    said = request.value(name).strip()
    if not said or said == "0":
        return 0
    if "T" in said or said.count("-") > 1:
        return when.parse_rfc3339(said)
    whole, _, fraction = said.partition(".")
    if not all(p.isascii() and p.isdecimal() and len(p) < 20 for p in (whole.lstrip("-") or "x", fraction or "0")):
        raise errors.Invalid(f'invalid value for {name}: failed to parse "{said}" as a UNIX time')
    ns = int((fraction + "000000000")[:9])
    return int(whole) * 10**9 + (-ns if said[0] == "-" else ns)


def platform(request: web.Request) -> platforms.Platform | None:
    """`platform` as an OCI platform in JSON (API 1.48 on), None when absent. Raises Invalid."""
    said = request.value("platform")
    if not said:
        return None
    try:
        found = msgspec.json.decode(said, type=dict[str, object])
    except msgspec.DecodeError as error:
        raise errors.Invalid(f"failed to parse platform: {error}", name="platform") from error
    words = [str(found.get(key) or "") for key in ("os", "architecture", "variant")]
    return platforms.Platform.parse("/".join(w for w in words if w))


def filters(request: web.Request, allowed: frozenset[str] | None = None) -> Filters:
    """`filters={"status":["running"]}`, also in the form of old clients, `{"status":{"running":true}}`.
    Raises Invalid for anything else and for a filter that is not in `allowed`."""
    said = request.value("filters")
    if not said:
        return {}
    try:
        found = msgspec.json.decode(said)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise errors.Invalid(f"invalid filter: {error}") from error
    except RecursionError as error:
        raise errors.Invalid("invalid filter: nested too deep") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise errors.Invalid("invalid filter: not an object")
    out: Filters = {}
    for name, values in found.items():
        if isinstance(values, dict):
            values = [v for v, on in values.items() if on]
        if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            raise errors.Invalid(f"invalid filter: the values of '{name}' are not texts")
        if allowed is not None and name not in allowed:
            raise errors.Invalid(f"invalid filter '{name}'")
        out[name] = values
    return out


def truth(values: Filters, name: str, default: bool = False) -> bool:
    """A filter that is a boolean (`dangling=true`). Raises Invalid for other words, and for contradictions."""
    said = values.get(name)
    if not said:
        return default
    on = any(v in ("1", "true", "True", "t", "T", "TRUE") for v in said)
    off = any(v in ("0", "false", "False", "f", "F", "FALSE") for v in said)
    if on == off:
        raise errors.Invalid(f"invalid filter '{name}={said}'")
    return on


def has_label(labels: dict[str, str] | None, wanted: list[str]) -> bool:
    """Whether every one of `key` or `key=value` is among the labels."""
    mine = labels or {}
    for want in wanted:
        key, equals, value = want.partition("=")
        if key not in mine or (equals and mine[key] != value):
            return False
    return True


def without_label(labels: dict[str, str] | None, unwanted: list[str]) -> bool:
    """Whether none of `key` or `key=value` is among the labels (the filter `label!`)."""
    return not any(has_label(labels, [one]) for one in unwanted)
