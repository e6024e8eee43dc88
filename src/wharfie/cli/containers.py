"""wharfie ps, port, top."""

from __future__ import annotations

import sys

from wharfie.base import flags, units
from wharfie.client import calls

from . import ago, tables
from .command import Command, Exit
from .session import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .session import Session

_LISTING = tables.Listing(
    {"ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "RunningFor": "CREATED", "Status": "STATUS",
     "Ports": "PORTS", "Names": "NAMES"},
    {"CreatedAt": "CREATED AT", "Size": "SIZE", "Labels": "LABELS", "State": "STATE", "Mounts": "MOUNTS",
     "LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS", "Platform": "PLATFORM"},
    "*formatter.ContainerContext",
)
_LISTING.titles["Label"] = lambda name: name.rpartition(".")[2]

_LIST = flags.Table("""
a all bool             Show all containers, not only running ones
f filter filter        Show what matches (name=value)
- format string        "table", "table TEMPLATE", "json" or a Go template a row
n last int=-1          Show the last n created containers
l latest bool          Show the latest created container
- no-trunc bool        Do not shorten output
q quiet bool           Show container ids only
s size bool            Show sizes
""")


def _list(session: Session, parsed: flags.Parsed) -> int:
    last = 1 if parsed.on("latest") and parsed.number("last") == -1 else parsed.number("last")
    form = parsed.text("format") or ("" if parsed.on("quiet") else str(session.config.get("psFormat")))
    size = parsed.on("size") or ".Size" in form or "json .}" in form.replace(" }", "}")  # a whole row has its size
    found = session.json(calls.container_list(
        all=parsed.on("all"), limit=max(last, 0), size=size, filters=tables.filters(parsed.all("filter"))))
    trim = not parsed.on("no-trunc")
    if parsed.on("quiet") and not form:
        for container in found:
            say(container["Id"][:12] if trim else container["Id"])
        return 0
    listing = _LISTING
    if size and form in ("", "table"):
        listing = tables.Listing({**_LISTING.columns, "Size": "SIZE"}, _LISTING.titles, _LISTING.typed)
    listing.show([_row(c, trim=trim) for c in found], form)
    return 0


def _row(c: dict[str, Any], *, trim: bool) -> dict[str, Any]:
    labels = c.get("Labels") or {}
    names = [n.removeprefix("/") for n in c.get("Names") or () if not trim or n.count("/") == 1]
    command = c.get("Command") or ""
    mounts = [m.get("Name") or m.get("Source") or "" for m in c.get("Mounts") or ()]
    return {
        "ID": c["Id"][:12] if trim else c["Id"],
        "Image": _image(c, trim=trim),
        "Command": f'"{tables.shorten(command, 20) if trim else command}"',
        "CreatedAt": ago.local(c.get("Created") or 0),
        "RunningFor": ago.created(c.get("Created") or 0),
        "Status": c.get("Status") or "",
        "State": c.get("State") or "",
        "Ports": ports(c.get("Ports") or []),
        "Names": ",".join(names),
        "Size": _size(c),
        "Labels": ",".join(f"{k}={v}" for k, v in sorted(labels.items())),
        "Mounts": ",".join(tables.shorten(m, 15) if trim else m for m in mounts),
        "LocalVolumes": str(sum(m.get("Driver") == "local" for m in c.get("Mounts") or ())),
        "Networks": ",".join((c.get("NetworkSettings") or {}).get("Networks") or {}),
        "Platform": "",
        "Label": lambda name: labels.get(name, ""),
    }


def _image(c: dict[str, Any], *, trim: bool) -> str:
    image = c.get("Image") or "<no image>"
    if trim and image.startswith("sha256:"):
        return str(image[7:19])
    return str(image.partition("@")[0] if trim else image)


def _size(c: dict[str, Any]) -> str:
    size = units.human_size(c.get("SizeRw") or 0)
    root = c.get("SizeRootFs") or 0
    return f"{size} (virtual {units.human_size(root)})" if root else size


def ports(found: list[dict[str, Any]]) -> str:
    """"53/udp, 0.0.0.0:80-81->80-81/tcp, [::]:8080->80/tcp": ranges of equal ports first, then what is mapped to
    another port, which docker never joins."""
    runs: list[list[Any]] = []
    current: dict[tuple[str, str], list[Any]] = {}
    mapped: list[str] = []
    for port in sorted(found, key=_port_order):
        address, private, public = port.get("IP") or "", port["PrivatePort"], port.get("PublicPort") or 0
        if address and public != private:
            mapped.append(f"{_outside(address)}:{public}->{private}/{port['Type']}")
            continue
        run = current.get((address, port["Type"]))
        if run is not None and run[3] + 1 == private:
            run[3] = private
        elif run is None or run[3] != private:
            current[address, port["Type"]] = run = [address, port["Type"], private, private]
            runs.append(run)
    shown = []
    for address, kind, low, high in runs:
        span = f"{low}" if low == high else f"{low}-{high}"
        shown.append(f"{_outside(address)}:{span}->{span}/{kind}" if address else f"{span}/{kind}")
    return ", ".join(shown + mapped)


def _port_order(port: dict[str, Any]) -> tuple[int, str, int, str]:
    return port["PrivatePort"], port.get("IP") or "", port.get("PublicPort") or 0, port["Type"]


def _outside(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _port(session: Session, parsed: flags.Parsed) -> int:
    container = parsed.args[0]
    found = (session.json(calls.container_inspect(container)).get("NetworkSettings") or {}).get("Ports") or {}
    if len(parsed.args) > 1:
        port, _, kind = parsed.args[1].partition("/")
        wanted = f"{port}/{kind or 'tcp'}"
        if not found.get(wanted):
            raise Exit(1, f"Error: No public port '{parsed.args[1]}' published for {container}")
        for binding in found[wanted]:
            say(_binding(binding))
        return 0
    for port in sorted(found, key=lambda p: (int(p.partition("/")[0]), p)):
        for binding in found[port] or ():
            say(f"{port} -> {_binding(binding)}")
    return 0


def _binding(binding: dict[str, str]) -> str:
    address = binding["HostIp"] or "0.0.0.0"
    return f"{_outside(address)}:{binding['HostPort']}"


def _top(session: Session, parsed: flags.Parsed) -> int:
    found = session.json(calls.container_top(parsed.args[0], " ".join(parsed.args[1:])))
    rows = [list(found["Titles"]), *(list(p) for p in found["Processes"])]
    sys.stdout.write(tables.align(rows, 20))
    return 0


LIST = Command("[OPTIONS]", "List containers", _LIST, _list, 0, 0)
PORT = Command("CONTAINER [PRIVATE_PORT[/PROTO]]", "List port mappings of a container", flags.Table(""), _port, 1, 2)
TOP = Command("CONTAINER [ps OPTIONS]", "Display the processes of a container",
              flags.Table("", interspersed=False), _top, 1)
