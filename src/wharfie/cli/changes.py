"""wharfie diff, export, commit, update: what has become of a container, and what is to become of it."""

from __future__ import annotations

from wharfie.base import flags
from wharfie.client import calls

from . import archives, create_body, limits
from .command import Command
from .session import complain, each, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .session import Session

_KINDS = ("C", "A", "D")


def _diff(session: Session, parsed: flags.Parsed) -> int:
    for change in session.json(calls.container_changes(parsed.args[0])) or []:
        say(f"{_KINDS[change['Kind']]} {change['Path']}")
    return 0


def _export(session: Session, parsed: flags.Parsed) -> int:
    archives.receive(session, calls.container_export(parsed.args[0]), parsed.text("output"))
    return 0


def _commit(session: Session, parsed: flags.Parsed) -> int:
    reference = parsed.args[1] if len(parsed.args) > 1 else ""
    say(session.json(calls.container_commit(
        parsed.args[0], reference, author=parsed.text("author"), message=parsed.text("message"),
        changes=parsed.all("change"), pause=parsed.on("pause")))["Id"])
    return 0


def _update(session: Session, parsed: flags.Parsed) -> int:
    body: dict[str, Any] = limits.plain(parsed)
    if parsed.text("restart"):
        body["RestartPolicy"] = create_body.restart_policy(parsed.text("restart"))
    warnings: list[str] = []

    def one(name: str) -> None:
        warnings.extend(session.json(calls.container_update(name, body)).get("Warnings") or [])

    status = each(session, parsed.args, one)
    for text in warnings:
        complain(text)
    return status


_UPDATE = flags.Table("""
- blkio-weight uint16       Block I/O weight, 10 to 1000, 0 is off
- cpu-period int            Period of the CPU quota in microseconds
- cpu-quota int             CPU time in each period in microseconds
- cpu-rt-period int         Period of real-time CPU in microseconds
- cpu-rt-runtime int        Real-time CPU in each period in microseconds
c cpu-shares int            CPU shares (relative weight)
- cpus decimal              Number of CPUs
- cpuset-cpus string        CPUs it may run on (0-3, 0,1)
- cpuset-mems string        Memory nodes it may use (0-3, 0,1)
- kernel-memory! bytes      Kernel memory limit
m memory bytes              Memory limit
- memory-reservation bytes  Memory soft limit
- memory-swap bytes         Limit of memory plus swap, -1 for unlimited swap
- pids-limit int            Limit the number of processes, -1 for unlimited
- restart string            Restart policy for when the container exits
""")
DIFF = Command("CONTAINER", "Show what a container has changed in its image", flags.Table(""), _diff, 1, 1)
EXPORT = Command("[OPTIONS] CONTAINER", "Export a container's file system as a tar archive",
                 flags.Table("o output string   Write to this file instead of STDOUT"), _export, 1, 1)
COMMIT = Command("[OPTIONS] CONTAINER [REPOSITORY[:TAG]]", "Make an image of a container's changes", flags.Table("""
a author string   Author of the image
c change list     Apply a Dockerfile instruction to the image
m message string  Set the commit message
p pause bool=true Pause the container meanwhile
"""), _commit, 1, 2)
UPDATE = Command("[OPTIONS] CONTAINER [CONTAINER...]", "Change limits of containers", _UPDATE, _update, 1)
