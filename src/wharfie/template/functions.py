"""The functions a template may call: text/template's own and the docker client's eight.

`truncate` and `slice` cut bytes, as Go strings are bytes; a cut character prints as U+FFFD.
"""

from __future__ import annotations

from .printf import printf
from .values import ABSENT, Failed, kind, show, truth, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def to_json(value: Any) -> str:
    """Compact JSON without HTML escapes; the two line ends that JavaScript trips over are escaped all the same."""
    import json

    text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if not callable(v)}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if value is ABSENT else value


def split(text: str, separator: str) -> list[str]:
    return list(text) if not separator else text.split(separator)


def join(items: Any, separator: str) -> str:
    return separator.join(show(i) for i in items or ())


def title(text: str) -> str:
    """Upper case at the start of each word, the rest as it is."""
    out = []
    inside = False
    for c in text:
        out.append(c if inside else c.upper())
        inside = c.isalnum() or c in "_'"
    return "".join(out)


def pad(text: str, before: int, after: int) -> str:
    return f"{' ' * before}{text}{' ' * after}" if text else text


def truncate(text: str, length: int) -> str:
    data = text.encode("utf-8", "surrogateescape")
    return text if len(data) < length else data[: max(length, 0)].decode("utf-8", "replace")


def length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, dict | list | tuple):
        return len(value)
    raise Failed(f"error calling len: len of type {type_name(value)}")


def index(value: Any, *keys: Any) -> Any:
    """index x 1 2 is x[1][2]; a missing key of a map is its zero value."""
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, ABSENT)
        elif isinstance(value, list | tuple | str):
            if kind(key) != "int":
                raise Failed(f"error calling index: cannot index slice/array with type {type_name(key)}")
            if not 0 <= key < len(value):
                raise Failed(f"error calling index: reflect: slice index out of range: {key}")
            value = value.encode()[key] if isinstance(value, str) else value[key]
        elif value is None or value is ABSENT:
            raise Failed("error calling index: index of untyped nil")
        else:
            raise Failed(f"error calling index: can't index item of type {type_name(value)}")
    return value


def cut(value: Any, *bounds: int) -> Any:
    """slice x i j."""
    if not isinstance(value, str | list | tuple):
        raise Failed(f"error calling slice: can't slice item of type {type_name(value)}")
    data: Any = value.encode() if isinstance(value, str) else value
    low = bounds[0] if bounds else 0
    high = bounds[1] if len(bounds) > 1 else len(data)
    if not 0 <= low <= high <= len(data):
        raise Failed(f"error calling slice: index out of range: {high}")
    part = data[low:high]
    return part.decode("utf-8", "replace") if isinstance(part, bytes) else part


def equal(first: Any, *others: Any) -> bool:
    """eq a b c: a equals one of the others."""
    if not others:
        raise Failed("error calling eq: missing argument for comparison")
    return any(_same(first, other) for other in others)


def _same(a: Any, b: Any) -> bool:
    kinds = {kind(a), kind(b)}
    if len(kinds) == 2 and "nil" not in kinds:
        raise Failed("error calling eq: incompatible types for comparison")
    return bool(a == b) or (a in (None, ABSENT) and b in (None, ABSENT) and "nil" in kinds)


def _order(word: str, test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(a: Any, b: Any) -> bool:
        if kind(a) != kind(b):
            raise Failed(f"error calling {word}: incompatible types for comparison")
        if kind(a) not in ("int", "float", "string"):
            raise Failed(f"error calling {word}: invalid type for comparison")
        return test(a, b)

    return compare


def sprint(*values: Any) -> str:
    """fmt.Sprint: a space between operands when neither is a string."""
    out = ""
    for n, value in enumerate(values):
        if n and not isinstance(value, str) and not isinstance(values[n - 1], str):
            out += " "
        out += show(value, top=False)
    return out


def sprintln(*values: Any) -> str:
    return " ".join(show(v, top=False) for v in values) + "\n"


_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"}
_JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D",
       "\n": "\\n"}
_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-~")


def html(*values: Any) -> str:
    return "".join(_HTML.get(c, c) for c in sprint(*values))


def javascript(*values: Any) -> str:
    return "".join(_JS.get(c, c) for c in sprint(*values))


def urlquery(*values: Any) -> str:
    data = sprint(*values).encode()
    return "".join(chr(b) if b in _SAFE else "+" if b == 32 else f"%{b:02X}" for b in data)


def call(function: Any, *args: Any) -> Any:
    if not callable(function):
        raise Failed(f"error calling call: non-function of type {type_name(function)}")
    return function(*args)


def _not(value: Any) -> bool:
    return not truth(value)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": to_json, "split": split, "join": join, "title": title, "lower": lambda t: str(t).lower(),
    "upper": lambda t: str(t).upper(), "pad": pad, "truncate": truncate, "len": length, "index": index, "slice": cut,
    "eq": equal, "ne": lambda a, b: not _same(a, b), "lt": _order("lt", lambda a, b: a < b),
    "le": _order("le", lambda a, b: a <= b), "gt": _order("gt", lambda a, b: a > b),
    "ge": _order("ge", lambda a, b: a >= b), "not": _not, "print": sprint, "printf": printf, "println": sprintln,
    "html": html, "js": javascript, "urlquery": urlquery, "call": call,
}

# `and` and `or` stop at the first operand that decides: the evaluator does them.
NAMES = frozenset(FUNCTIONS) | {"and", "or"}


def _first(value: Any, *_: Any) -> Any:
    return value


# In the header row of a table the same template runs over column titles: most functions leave them alone.
HEADER_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **FUNCTIONS, **dict.fromkeys(("json", "split", "join", "title", "lower", "upper", "truncate"), _first),
}
