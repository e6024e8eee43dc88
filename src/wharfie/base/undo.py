"""The undo stack: acquire and push the undo in one breath; success forgets it, failure unwinds it newest first.

    with Undo() as undo:
        fd = os.open(...)
        undo.push(os.close, fd)
        ...
        undo.forget()        # all went well
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any


class Undo:
    """Undo steps in order. A step that itself fails is remembered in `failures` and the unwinding goes on, so that the
    first error, the one that caused it all, is what the caller sees."""

    def __init__(self) -> None:
        self._steps: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.failures: list[Exception] = []

    def push(self, step: Callable[..., Any], *args: Any) -> None:
        """Remember `step(*args)` as the way back from what was just acquired."""
        self._steps.append((step, args))

    def forget(self) -> None:
        """Everything acquired is handed over: nothing will be undone."""
        self._steps.clear()

    def unwind(self) -> None:
        """Run the steps now, newest first, each once."""
        while self._steps:
            step, args = self._steps.pop()
            try:
                step(*args)
            except Exception as error:
                self.failures.append(error)

    def __enter__(self) -> Undo:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.unwind()
