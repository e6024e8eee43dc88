"""wharfie daemon: the engine, as a program of its own."""

from __future__ import annotations

import os
import sys

from wharfie.base import flags

from .command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .session import Session


def _daemon(session: Session, parsed: flags.Parsed) -> int:
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "wharfie.daemon", *parsed.args])


DAEMON = Command("[OPTIONS]", "Run the engine", flags.Table(""), _daemon, raw=True)
