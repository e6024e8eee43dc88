"""Frozen values without `dataclasses` and `typing`: both cost over 10 ms of import, too dear for the command line and
the cold runtime. A checker sees an ordinary frozen dataclass (PEP 681); at run time this is the whole machinery.

    class Mount(Value):
        source: str
        target: str
        readonly: bool = False

Fields may be given by position or by name; defaults must be immutable.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self, dataclass_transform
else:

    def dataclass_transform(**_):
        return lambda cls: cls


@dataclass_transform(frozen_default=True, eq_default=True)
class Value:
    """Base of frozen values: compares and hashes by its fields, prints itself readably in a failing test."""

    _fields_: tuple[str, ...]
    _names_: frozenset[str]
    _defaults_: dict[str, Any]

    def __init_subclass__(cls) -> None:
        names: list[str] = []
        defaults: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            for name in base.__dict__.get("__annotations__", ()):
                if name.startswith("_"):
                    continue
                if name not in names:
                    names.append(name)
                if name in base.__dict__:
                    defaults[name] = base.__dict__[name]
        cls._fields_ = tuple(names)
        cls._names_ = frozenset(names)
        cls._defaults_ = defaults

    def __init__(self, *args: Any, **named: Any) -> None:
        fields = self._fields_
        mine = self.__dict__
        mine.update(self._defaults_)
        if args:
            if len(args) > len(fields):
                raise TypeError(f"{type(self).__name__} takes {len(fields)} fields, {len(args)} were given")
            mine.update(zip(fields, args, strict=False))
        if named:
            if not self._names_.issuperset(named):
                unknown = next(name for name in named if name not in fields)
                raise TypeError(f"{type(self).__name__} has no field {unknown!r}")
            mine.update(named)
        if len(mine) != len(fields):
            missing = [f for f in fields if f not in mine]
            raise TypeError(f"{type(self).__name__} lacks {', '.join(missing)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen; make another with replace()")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *(self.__dict__[f] for f in self._fields_)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{f}={self.__dict__[f]!r}' for f in self._fields_)})"

    def replace(self, **changes: Any) -> Self:
        """The same value with some fields changed."""
        return type(self)(**{**self.__dict__, **changes})

    def asdict(self) -> dict[str, Any]:
        """Field name → value, nested values too: what goes into JSON between our own processes."""
        return {f: _plain(self.__dict__[f]) for f in self._fields_}


_SIMPLE = frozenset((str, int, bool, type(None)))


def _plain(x: Any) -> Any:
    if type(x) in _SIMPLE:
        return x
    if isinstance(x, Value):
        return x.asdict()
    if isinstance(x, (list, tuple)):
        return [_plain(i) for i in x]
    if isinstance(x, dict):
        return {k: _plain(v) for k, v in x.items()}
    return x
