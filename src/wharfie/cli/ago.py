"""Times as docker's lists print them."""

from __future__ import annotations

import time

from wharfie.base import units


def created(seconds: float) -> str:
    """"2 hours ago"."""
    return f"{units.human_duration(max(time.time() - seconds, 0))} ago"


def local(seconds: float) -> str:
    """Go's default form of a local time: "2026-11-24 14:28:29 +0000 UTC"."""
    t = time.localtime(seconds)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S %z', t)} {t.tm_zone}"
