"""One line of the table."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What was measured. `kept` is the verdict against the budget in `budget`'s words."""

    work: str
    ours: float
    theirs: float | None
    unit: str
    budget: str
    kept: bool
    spread: tuple[float, float] = (0.0, 0.0)

    def text(self) -> str:
        theirs = f"{self.theirs:.1f} {self.unit}" if self.theirs is not None else "-"
        ratio = f"{self.ours / self.theirs:.2f}" if self.theirs else "-"
        verdict = "kept" if self.kept else "MISSED"
        spread = f"{self.spread[0]:.1f}–{self.spread[1]:.1f}" if self.spread[1] else ""
        return (
            f"{self.work:44} {self.ours:>8.1f} {self.unit:3} {theirs:>12} {ratio:>7}  {self.budget:20} "
            f"{spread}  {verdict}"
        )


def against(work: str, ours: list[float], theirs: list[float], limit: float, budget: str) -> Row:
    """A row of medians in ms, kept when ours ≤ limit × theirs."""
    a, b = statistics.median(ours), statistics.median(theirs)
    return Row(work, a, b, "ms", budget, a <= limit * b, (min(ours), max(ours)))
