"""wharfie image prune, volume prune."""

from __future__ import annotations

from wharfie.base import flags, units
from wharfie.client import calls

from . import lifecycle, tables
from .command import Command
from .session import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .session import Session

_DANGLING = "WARNING! This will remove all dangling images."
_UNUSED = "WARNING! This will remove all images without at least one container associated to them."
_ANONYMOUS = "WARNING! This will remove anonymous local volumes not used by at least one container."
_VOLUMES = "WARNING! This will remove all local volumes not used by at least one container."


def _images(session: Session, parsed: flags.Parsed) -> int:
    everything = parsed.on("all")
    if not parsed.on("force") and not lifecycle.confirm(_UNUSED if everything else _DANGLING):
        return 1
    wanted = {**tables.filters(parsed.all("filter")), "dangling": ["false" if everything else "true"]}
    done = session.json(calls.image_prune(wanted))
    gone = done.get("ImagesDeleted") or []
    if gone:
        say("Deleted Images:")
        for step in gone:
            say(f"untagged: {step['Untagged']}" if step.get("Untagged") else f"deleted: {step['Deleted']}")
        say("")
    say(f"Total reclaimed space: {units.human_size(done.get('SpaceReclaimed') or 0)}")
    return 0


def _volumes(session: Session, parsed: flags.Parsed) -> int:
    everything = parsed.on("all")
    if not parsed.on("force") and not lifecycle.confirm(_VOLUMES if everything else _ANONYMOUS):
        return 1
    wanted = tables.filters(parsed.all("filter"))
    if everything:
        wanted = {**wanted, "all": ["true"]}
    done = session.json(calls.volume_prune(wanted))
    gone = done.get("VolumesDeleted") or []
    if gone:
        say("Deleted Volumes:\n" + "\n".join(gone) + "\n")
    say(f"Total reclaimed space: {units.human_size(done.get('SpaceReclaimed') or 0)}")
    return 0


IMAGES = Command("[OPTIONS]", "Remove images that nobody uses", flags.Table("""
a all bool      Tagged ones too, not just dangling ones
- filter filter Which images (until=24h, label=x)
f force bool    Do not ask
"""), _images, 0, 0)
VOLUMES = Command("[OPTIONS]", "Remove volumes that nobody uses", flags.Table("""
a all bool      Named ones too, not just anonymous ones
- filter filter Which volumes (label=x)
f force bool    Do not ask
"""), _volumes, 0, 0)
