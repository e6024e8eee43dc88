"""The room's public word: a compiled template."""

from __future__ import annotations

from .evaluate import Evaluator
from .functions import FUNCTIONS, HEADER_FUNCTIONS, NAMES
from .parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Template:
    """A template, parsed once.

    `missing` is what a key does that the data lacks: "error" (Docker's inspect) or "no value" (text/template's own).
    `typed` names the Go type whose field a missing key would be, for commands whose rows have fixed columns.
    Raises lexer.Malformed."""

    def __init__(
        self, source: str, *, missing: str = "no value", typed: str = "",
        functions: dict[str, Callable[..., Any]] | None = None,
    ) -> None:
        self._source = source
        self._functions = {**FUNCTIONS, **functions} if functions else FUNCTIONS
        self._missing = missing
        self._typed = typed
        parser = Parser(source, NAMES | frozenset(functions) if functions else NAMES)
        self._body = parser.parse()
        self._defined = parser.defined

    def render(self, data: Any) -> str:
        """The text for `data`: dicts, lists, strings, numbers, booleans, None; callables are methods.
        Raises values.Failed, in Go's words."""
        return self._evaluator(self._functions, self._missing, self._typed).run(self._body, data)

    def render_header(self, titles: dict[str, Any]) -> str:
        """The header row of a table: the same template over column titles, with functions that leave them alone."""
        return self._evaluator(HEADER_FUNCTIONS, "no value", "").run(self._body, titles)

    def _evaluator(self, functions: dict[str, Callable[..., Any]], missing: str, typed: str) -> Evaluator:
        return Evaluator(self._source, functions, self._defined, missing, typed)
