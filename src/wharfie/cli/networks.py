"""wharfie network ls."""

from __future__ import annotations

from wharfie.base import flags
from wharfie.client import calls

from . import tables
from .command import Command
from .session import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .session import Session

_LISTING = tables.Listing(
    {"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE"},
    {"IPv4": "IPV4", "IPv6": "IPV6", "Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT"},
    "*formatter.networkContext",
)


def _list(session: Session, parsed: flags.Parsed) -> int:
    found = session.json(calls.network_list(tables.filters(parsed.all("filter"))))
    found.sort(key=lambda n: n["Name"])
    trim = not parsed.on("no-trunc")
    if parsed.on("quiet") and not parsed.text("format"):
        for network in found:
            say(network["Id"][:12] if trim else network["Id"])
        return 0
    _LISTING.show([_row(n, trim=trim) for n in found], parsed.text("format"))
    return 0


def _row(n: dict[str, Any], *, trim: bool) -> dict[str, Any]:
    labels = n.get("Labels") or {}
    return {
        "ID": n["Id"][:12] if trim else n["Id"], "Name": n["Name"], "Driver": n["Driver"], "Scope": n["Scope"],
        "IPv4": "true" if n.get("EnableIPv4", True) else "false", "IPv6": "true" if n.get("EnableIPv6") else "false",
        "Internal": "true" if n.get("Internal") else "false", "CreatedAt": n.get("Created") or "",
        "Labels": ",".join(f"{k}={v}" for k, v in sorted(labels.items())), "Label": lambda name: labels.get(name, ""),
    }


LIST = Command("[OPTIONS]", "List networks", flags.Table("""
f filter filter   Show what matches (name=value)
- format string   "table", "table TEMPLATE", "json" or a Go template a row
- no-trunc bool   Do not shorten output
q quiet bool      Show ids only
"""), _list, 0, 0)
