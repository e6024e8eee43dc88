"""Lists as docker prints them: a table with aligned columns, a template a row, or JSON lines.

A row is a dict of column name → text, or → a callable for columns that take an argument (`.Label "x"`).
"""

from __future__ import annotations

import sys

from wharfie.base import errors

from .command import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    Row = dict[str, Any]

_PADDING = 3
_MIN_WIDTH = 10


class Listing:
    """`columns`: field → title, in the order of the default table. `titles` has the titles of further fields.
    `typed`: Go's name of the row, for errors."""

    def __init__(self, columns: dict[str, str], titles: dict[str, str] | None = None, typed: str = "") -> None:
        self.columns = columns
        self.titles: dict[str, Any] = {**columns, **(titles or {})}
        self.typed = typed

    def show(self, rows: list[Row], form: str, *, out: TextIO | None = None) -> None:
        """Print the rows. `form`: "" or "table", "table TEMPLATE", "json", or TEMPLATE. Raises Exit."""
        out = out or sys.stdout
        if form in ("", "table"):
            lines = [[str(row[field]) for field in self.columns] for row in rows]
            out.write(align([list(self.columns.values()), *lines]))
        elif form == "json":
            for row in rows:
                out.write(_json(row) + "\n")
        else:
            self._by_template(rows, form, out)

    def _by_template(self, rows: list[Row], form: str, out: TextIO) -> None:
        from wharfie.template import text

        table = form.startswith("table ")
        source = form.removeprefix("table ").strip() if table else form
        source = source.replace("\\t", "\t").replace("\\n", "\n")
        try:
            template = text.Template(source, typed=self.typed, functions={"json": _json_of})
            if not table:
                for row in rows:
                    out.write(template.render(row) + "\n")
                return
            lines = [template.render_header(self.titles)] + [template.render(row) for row in rows]
        except errors.Invalid as error:
            raise parsing_error(error) from error
        out.write(align([line.split("\t") for line in lines]))


def parsing_error(error: errors.Invalid) -> Exit:
    """docker's words for a template that does not parse; what fails on the data is said plainly."""
    what = "execute" if "executing" in error.message else "parse"
    return Exit(1, f"failed to {what} template: {error.message}")


_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def _json(row: Row) -> str:
    """A row as docker's client marshals it: sorted, and escaped for HTML, which the template's own `json` is not."""
    from wharfie.client import codec

    return codec.dumps({k: row[k] for k in sorted(row) if not callable(row[k])}).translate(_ESCAPES)


def _json_of(value: Any) -> str:
    """The function `json` in templates of rows."""
    from wharfie.template import functions

    return _json(value) if isinstance(value, dict) else functions.to_json(value)


def align(lines: list[list[str]], least: int = _MIN_WIDTH) -> str:
    """Go's tabwriter as docker sets it up: a column is as wide as its widest cell and three spaces, `least` in
    all; the last cell of a line is not padded."""
    widths: list[int] = []
    for cells in lines:
        for n, cell in enumerate(cells[:-1]):
            if n == len(widths):
                widths.append(least)
            widths[n] = max(widths[n], len(cell) + _PADDING)
    out = []
    for cells in lines:
        padded = [cell.ljust(widths[n]) for n, cell in enumerate(cells[:-1])]
        out.append("".join(padded) + cells[-1] + "\n")
    return "".join(out)


def filters(specs: list[str]) -> dict[str, list[str]]:
    """{"status": ["exited"]} of ["status=exited"]. Raises Exit."""
    out: dict[str, list[str]] = {}
    for spec in specs:
        name, mark, value = spec.partition("=")
        if not mark:
            raise Exit(125, f'invalid argument "{spec}" for "-f, --filter" flag: bad format of filter '
                            "(expected name=value)")
        out.setdefault(name.strip().lower(), []).append(value.strip())
    return out


def shorten(text: str, width: int) -> str:
    """At most `width` characters, the last one "…" when something is cut."""
    return text if len(text) <= width else text[: width - 1] + "…"
