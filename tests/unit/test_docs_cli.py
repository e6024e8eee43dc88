"""docs/cli.md is what tools/cli-reference makes of the command's tables now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from wharfie.cli import tree

TOP = Path(__file__).resolve().parents[2]


def test_the_reference_is_current() -> None:
    made = subprocess.run([sys.executable, TOP / "tools" / "cli-reference"], capture_output=True, text=True, check=True)
    assert made.stdout == (TOP / "docs" / "cli.md").read_text(), "run tools/cli-reference > docs/cli.md"


def test_every_command_has_its_section() -> None:
    page = (TOP / "docs" / "cli.md").read_text()
    assert not [path for path in tree.COMMANDS if f"\n## wharfie {path}\n" not in page]
