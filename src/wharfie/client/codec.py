"""JSON by CPython's own accelerator without the `json` package, whose import (it pulls in `re`) costs as much as a
whole short command. Same texts in and out; where `_json` is missing or different, the package does the work."""

from __future__ import annotations

from wharfie.base import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SPACE = " \t\r\n"


class _Context:
    """What `_json.make_scanner` reads its settings from."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def _machines() -> tuple[Any, Any] | None:
    try:
        import _json

        context: Any = _Context()
        scan = _json.make_scanner(context)
        encode = _json.make_encoder(None, _refuse, _json.encode_basestring, None, ":", ",", False, False, False)
        if scan('{"a":[1,null]}', 0) == ({"a": [1, None]}, 14) and "".join(encode({"a": [1]}, 0)) == '{"a":[1]}':
            return scan, encode
    except (ImportError, AttributeError, TypeError):
        pass
    return None


def _refuse(value: object) -> None:
    raise TypeError(f"{type(value).__name__} does not go into JSON")


_MACHINES = _machines()


def loads(data: bytes | str) -> Any:
    """The value of a JSON document. Raises errors.Damaged."""
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    start = len(text) - len(text.lstrip(_SPACE))
    try:
        if _MACHINES is None:
            import json

            return json.loads(text)
        value, end = _MACHINES[0](text, start)
    except (StopIteration, ValueError, RecursionError) as error:
        raise errors.Damaged(f"not a JSON document: {text[:80]!r}") from error
    if text[end:].strip(_SPACE):
        raise errors.Damaged(f"more than one JSON document: {text[end:][:80]!r}")
    return value


def dumps(value: Any) -> str:
    """Compact JSON, non-ASCII kept."""
    if _MACHINES is None:
        import json

        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return "".join(_MACHINES[1](value, 0))


def pretty(value: Any, indent: int = 4) -> str:
    """Indented JSON as `docker inspect` prints it (Go's Indent; no HTML escapes)."""
    out: list[str] = []
    _pretty(value, " " * indent, "\n", out)
    return "".join(out)


def _pretty(value: Any, step: str, line: str, out: list[str]) -> None:
    deeper = line + step
    if isinstance(value, dict) and value:
        mark = "{"
        for key, item in value.items():
            out.append(f"{mark}{deeper}{dumps(str(key))}: ")
            _pretty(item, step, deeper, out)
            mark = ","
        out.append(line + "}")
    elif isinstance(value, list) and value:
        mark = "["
        for item in value:
            out.append(mark + deeper)
            _pretty(item, step, deeper, out)
            mark = ","
        out.append(line + "]")
    else:
        out.append(dumps(value))
