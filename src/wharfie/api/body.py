"""The JSON door: a request's body becomes a Shape of `engine.model`, or an Invalid in Docker's words."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from wharfie.base import errors
from wharfie.web import request as web

from . import decoding

T = TypeVar("T")
_MAX_JSON = 16 << 20


def check_json_type(request: web.Request) -> None:
    """Raises Invalid when the Content-Type is there, or needed, and not JSON."""
    said = request.headers.get("content-type", "")
    mime = said.partition(";")[0].strip().lower()
    if mime == "application/json":
        return
    if not said and not _has_body(request):
        return
    if not mime or "/" not in mime:
        raise errors.Invalid(f"malformed Content-Type header ({said}): mime: no media type")
    raise errors.Invalid(f"unsupported Content-Type header ({said}): must be 'application/json'")


def _has_body(request: web.Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


async def read(request: web.Request, *, required: bool = False) -> dict[str, Any]:
    """The body as a plain object; {} for an empty one unless it is `required`. Raises Invalid."""
    check_json_type(request)
    raw = await request.body(_MAX_JSON)
    if not raw.strip():
        if required or _has_body(request):
            raise errors.Invalid("invalid JSON: got EOF while reading request body")
        return {}
    return parse(raw)


def parse(raw: bytes) -> dict[str, Any]:
    """Bytes to an object. Raises Invalid: not JSON, not an object, not UTF-8, something behind it, nested too deep."""
    try:
        found = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        if "trailing characters" in str(error):
            raise errors.Invalid("unexpected content after JSON") from error
        raise errors.Invalid(f"invalid JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise errors.Invalid("invalid JSON: a text is not UTF-8") from error
    except RecursionError as error:
        raise errors.Invalid("invalid JSON: nested too deep") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise errors.Invalid(f"invalid JSON: cannot unmarshal {word(found)} into an object")
    return found


def word(value: object) -> str:
    """JSON's name of a type."""
    names = {str: "string", list: "array", bool: "bool", int: "number", float: "number"}
    return names.get(type(value), "value")


async def shape(request: web.Request, into: type[T], *, required: bool = False) -> T:
    """The body as `into`. Raises Invalid naming the path of the bad field."""
    return decoding.decode(await read(request, required=required), into)


def pick(found: dict[str, Any], name: str) -> Any:
    """The value of a key, matched as Go does: exactly, else without regard to case. Removed from `found`."""
    if name in found:
        return found.pop(name)
    low = name.lower()
    for key in found:
        if key.lower() == low:
            return found.pop(key)
    return None
