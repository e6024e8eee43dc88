"""Memory of a process that will be forked: no holes for its children to write into.

Python puts a new small object into the first free slot of its size, wherever that is. In a zygote that has rehearsed,
free slots lie all over the heap, and a child that allocates a few hundred objects would make a few hundred shared
pages its own. Filled up first, its objects lie side by side in pages of their own.
"""

from __future__ import annotations

import gc
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

_LARGEST = 512  # larger ones are the C library's
_STEP = 16
_POOL = 1 << 14
_FIRST = 48  # where the first slot of a pool is
_IN_A_ROW = 6
_MOST = 20_000


def gather(*plays: Callable[[], object]) -> None:
    """Copy the code that each of `plays` runs, so that it lies side by side: a call counts a reference in the code
    object, and so makes the page that it lies on the caller's own. Before anything is rehearsed, since a copy has to
    warm up again."""
    function, done = type(gather), set[str]()
    for play in plays:
        ran: set[CodeType] = set()
        sys.setprofile(lambda frame, _event, _arg, ran=ran: ran.add(frame.f_code))  # type: ignore[misc]
        try:
            play()
        finally:
            sys.setprofile(None)
        hot = [f for f in gc.get_objects() if type(f) is function and f.__code__ in ran]
        for one in hot:
            name = f"{one.__module__}.{one.__qualname__}"
            if name not in done:
                done.add(name)
                one.__code__ = one.__code__.replace()


def fill() -> list[object]:
    """What fills the holes; to be kept alive."""
    kept: list[object] = []
    header = bytes(0).__sizeof__()
    for size in range(_LARGEST, 48, -_STEP):
        kept.append(_fill(size, size - header))
    return kept


def _fill(size: int, length: int) -> list[bytes]:
    """Slots of one size until they come from a fresh pool: the first of a pool, and its neighbours in a row."""
    held: list[bytes] = []
    row = last = 0
    while row < _IN_A_ROW and len(held) < _MOST:
        made = bytes(length)
        held.append(made)
        at = id(made)
        row = 1 if at % _POOL == _FIRST else row + 1 if row and at == last + size else 0
        last = at
    return held
