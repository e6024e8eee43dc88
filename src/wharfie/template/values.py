"""Go's view of JSON-like data: truth, printing, kinds."""

from __future__ import annotations

from wharfie.base.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Failed(Invalid):
    """The template parses and cannot be executed on this data."""


class Absent:
    """What a missing key yields where that is no error: prints as Go's "<no value>"."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "<no value>"


ABSENT = Absent()


def truth(value: Any) -> bool:
    """Empty is false: false, 0, nil, and strings, lists and maps of length 0."""
    return bool(value) if not callable(value) else True


def show(value: Any, *, top: bool = True) -> str:
    """How fmt.Print shows it: [a b], map[k:v] with sorted keys, true, <nil>; nil alone is <no value>."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or value is ABSENT:
        return "<no value>" if top or value is ABSENT else "<nil>"
    if isinstance(value, float):
        return show_float(value)
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{show(value[k], top=False)}" for k in sorted(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(show(v, top=False) for v in value) + "]"
    return str(value)


def show_float(value: float) -> str:
    """Go's %v of a float64: %g with the shortest digits, exponent from 21 on."""
    if value != value or value in (float("inf"), float("-inf")):
        return {"inf": "+Inf", "-inf": "-Inf"}.get(repr(value), "NaN")
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    mantissa, mark, exponent = text.partition("e")
    if not mark:
        return text
    sign = "-" if exponent.startswith("-") else "+"
    return f"{mantissa}e{sign}{exponent.lstrip('+-').zfill(2)}"


def kind(value: Any) -> str:
    """The basic kind that comparisons go by."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    if isinstance(value, str):
        return "string"
    if value is None or value is ABSENT:
        return "nil"
    return "composite"


def type_name(value: Any) -> str:
    """Go's name of the type, for errors."""
    names = {"bool": "bool", "int": "int", "float": "float64", "string": "string", "nil": "nil"}
    if kind(value) != "composite":
        return names[kind(value)]
    return "map[string]interface {}" if isinstance(value, dict) else "[]interface {}"
