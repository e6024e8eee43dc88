"""Plain JSON objects → Shapes of `engine.model`, the way Go's encoding/json reads into a struct.

* Keys match without regard to case; an exact match wins over a later likeness.
* null means "not given".
* A text where a list of texts is meant for a command (`Cmd`, `Entrypoint`) is a list of one (Docker's StrSlice).
* Whole numbers fit 64 bits. Other types are never converted: a wrong one is an Invalid that names the field's path.

Unknown keys are ignored as Go ignores them, but told to the caller, who may warn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from wharfie.base import errors

T = TypeVar("T")
Unknown = list[str]
_Fold = Callable[[Any, str, Unknown], Any]

_INT64 = 1 << 63
_DEEP = (inspect.StructType, inspect.ListType, inspect.DictType)
_STR_SLICES = frozenset(("Cmd", "Entrypoint"))
_folds: dict[type, _Fold] = {}
_GO_NAMES = {"str": "string", "int": "number", "float": "number", "bool": "bool", "object": "object", "array": "array"}
_WANTED = {"str": "string", "float": "number"}


def decode(found: dict[str, Any], into: type[T], *, path: str = "", unknown: Unknown | None = None) -> T:
    """`found` as an `into`. `path` stands before the field names in errors; `unknown` collects the paths of keys that
    no field answers to. Raises Invalid."""
    fold = _folds.get(into)
    if fold is None:
        fold = _folds[into] = _make(inspect.type_info(into))
    folded = fold(found, path, [] if unknown is None else unknown)
    try:
        return msgspec.convert(folded, into)
    except msgspec.ValidationError as error:
        raise errors.Invalid(_said(str(error), path)) from error


def _said(text: str, path: str) -> str:
    """"Expected `bool`, got `str` - at `$.Tty`" in Docker's words."""
    what, _, at = text.partition(" - at `$")
    place = (path + at.rstrip("`")).lstrip(".") or "the body"
    pieces = what.split("`")
    if what.startswith("Expected `") and len(pieces) >= 4:
        wanted, got = pieces[1].partition(" ")[0], pieces[3]
        got = _GO_NAMES.get(got, got)
        return f"invalid JSON: cannot unmarshal {got} into field {place} of type {_WANTED.get(wanted, wanted)}"
    return f"invalid JSON: field {place}: {what}"


def _make(info: inspect.Type) -> _Fold:
    """The folding of one type, made once."""
    if isinstance(info, inspect.UnionType):
        kinds = [t for t in info.types if not isinstance(t, inspect.NoneType)]
        return _make(next((t for t in kinds if isinstance(t, _DEEP)), kinds[0]))
    if isinstance(info, inspect.StructType):
        return _struct(info)
    if isinstance(info, inspect.ListType):
        item = _make(info.item_type)
        return lambda value, path, unknown: (
            [item(v, f"{path}[{i}]", unknown) for i, v in enumerate(value)] if isinstance(value, list) else value
        )
    if isinstance(info, inspect.DictType):
        inner = _make(info.value_type)
        empty = isinstance(info.value_type, inspect.DictType)
        return lambda value, path, unknown: (
            {k: ({} if v is None and empty else inner(v, f"{path}[{k}]", unknown)) for k, v in value.items()}
            if isinstance(value, dict)
            else value
        )
    return _integer if isinstance(info, inspect.IntType) else _as_is


def _as_is(value: Any, path: str, unknown: Unknown) -> Any:
    return value


def _integer(value: Any, path: str, unknown: Unknown) -> Any:
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise errors.Invalid(
            f"invalid JSON: cannot unmarshal number {str(value)[:24]} into field {path.lstrip('.')} of type int64"
        )
    return value


def _struct(info: inspect.StructType) -> _Fold:
    fields: dict[str, tuple[str, _Fold]] = {}
    done: list[bool] = []

    def fold(value: Any, path: str, unknown: Unknown) -> Any:
        if not isinstance(value, dict):
            return value
        if not done:  # made at first use: a struct may hold itself
            fields.update({f.encode_name.lower(): (f.encode_name, _make(f.type)) for f in info.fields})
            done.append(True)
        out: dict[str, Any] = {}
        for key, said in value.items():
            if said is None:
                continue
            known = fields.get(key.lower())
            if known is None:
                unknown.append(f"{path}.{key}".lstrip("."))
                continue
            name, inner = known
            if name in out and key != name:
                continue
            if name in _STR_SLICES and isinstance(said, str):
                said = [said]
            out[name] = inner(said, f"{path}.{name}", unknown)
        return out

    return fold
