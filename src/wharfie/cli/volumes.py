"""wharfie volume ls, create, rm."""

from __future__ import annotations

from wharfie.base import errors, flags
from wharfie.client import calls

from . import envspec, tables
from .command import Command
from .session import complain, each, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .session import Session

_LISTING = tables.Listing(
    {"Driver": "DRIVER", "Name": "VOLUME NAME"},
    {"Scope": "SCOPE", "Mountpoint": "MOUNTPOINT", "Labels": "LABELS", "Links": "LINKS", "Size": "SIZE",
     "Availability": "AVAILABILITY", "Group": "GROUP", "Status": "STATUS"}, "*formatter.volumeContext",
)


def _list(session: Session, parsed: flags.Parsed) -> int:
    found = session.json(calls.volume_list(tables.filters(parsed.all("filter")))).get("Volumes") or []
    found.sort(key=lambda v: v["Name"])
    if parsed.on("quiet") and not parsed.text("format"):
        for volume in found:
            say(volume["Name"])
        return 0
    _LISTING.show([_row(v) for v in found], parsed.text("format"))
    return 0


def _row(v: dict[str, Any]) -> dict[str, Any]:
    labels = v.get("Labels") or {}
    return {
        "Driver": v["Driver"], "Name": v["Name"], "Scope": v.get("Scope") or "local",
        "Mountpoint": v.get("Mountpoint") or "", "Labels": ",".join(f"{k}={x}" for k, x in sorted(labels.items())),
        "Links": "N/A", "Size": "N/A", "Availability": "N/A", "Group": "N/A", "Status": "N/A",
        "Label": lambda name: labels.get(name, ""),
    }


def _create(session: Session, parsed: flags.Parsed) -> int:
    body: dict[str, Any] = {"Driver": parsed.text("driver")}
    name = parsed.args[0] if parsed.args else ""
    if name:
        body["Name"] = name
    if parsed.all("opt"):
        body["DriverOpts"] = envspec.pairs(parsed.all("opt"))
    if parsed.all("label"):
        body["Labels"] = envspec.pairs(parsed.all("label"))
    say(session.json(calls.volume_create(body))["Name"])
    return 0


def _remove(session: Session, parsed: flags.Parsed) -> int:
    def one(name: str) -> None:
        try:
            session.finish(calls.volume_remove(name, force=parsed.on("force")))
        except errors.NotFound as error:
            if not parsed.on("force"):
                raise
            complain(f"Error response from daemon: {error.message}")

    return each(session, parsed.args, one)


LIST = Command("[OPTIONS]", "List volumes", flags.Table("""
f filter filter   Show what matches (name=value)
- format string   "table", "table TEMPLATE", "json" or a Go template a row
q quiet bool      Show names only
- cluster bool    Show cluster volumes only
"""), _list, 0, 0, later=frozenset(("cluster",)))
_CLUSTER = """
- availability string=active   Of a cluster volume
- group string                 Of a cluster volume
- limit-bytes bytes            Of a cluster volume
- required-bytes bytes         Of a cluster volume
- scope string=single          Of a cluster volume
- secret map                   Of a cluster volume
- sharing string=none          Of a cluster volume
- topology-preferred list      Of a cluster volume
- topology-required list       Of a cluster volume
- type string=block            Of a cluster volume
"""
CREATE = Command("[OPTIONS] [VOLUME]", "Create a volume", flags.Table("""
d driver string=local   Volume driver
- label list            Set a label (key=value)
o opt map               Driver option (key=value)
""") + _CLUSTER, _create, 0, 1, later=frozenset(line.split()[1] for line in _CLUSTER.strip().split("\n")))
REMOVE = Command("[OPTIONS] VOLUME [VOLUME...]", "Remove one or more volumes",
                 flags.Table("f force bool   No error for volumes that do not exist"), _remove, 1)
