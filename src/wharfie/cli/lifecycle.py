"""wharfie stop, restart, kill, rm, rename, wait, pause, unpause, container prune: a call for each name."""

from __future__ import annotations

import sys

from wharfie.base import flags, units
from wharfie.client import calls

from . import tables
from .command import Command
from .run import exit_status
from .session import each, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .session import Session

_NAMES = "[OPTIONS] CONTAINER [CONTAINER...]"
_STOP = flags.Table("""
s signal string     Signal to send
t timeout int       Seconds to wait before killing
- time! int         Seconds to wait before killing
""")


def _stop_or_restart(session: Session, parsed: flags.Parsed, *, restart: bool) -> int:
    given = "timeout" if "timeout" in parsed.changed else "time" if "time" in parsed.changed else ""
    timeout = parsed.number(given) if given else None
    return each(session, parsed.args, lambda name: session.finish(
        calls.container_stop(name, timeout=timeout, signal=parsed.text("signal"), restart=restart)))


def _stop(session: Session, parsed: flags.Parsed) -> int:
    return _stop_or_restart(session, parsed, restart=False)


def _restart(session: Session, parsed: flags.Parsed) -> int:
    return _stop_or_restart(session, parsed, restart=True)


def _kill(session: Session, parsed: flags.Parsed) -> int:
    return each(session, parsed.args, lambda n: session.finish(calls.container_kill(n, parsed.text("signal"))))


def _remove(session: Session, parsed: flags.Parsed) -> int:
    return each(session, parsed.args, lambda n: session.finish(calls.container_remove(
        n, force=parsed.on("force"), volumes=parsed.on("volumes"), link=parsed.on("link"))))


def _rename(session: Session, parsed: flags.Parsed) -> int:
    session.finish(calls.container_rename(parsed.args[0], parsed.args[1]))
    return 0


def _wait(session: Session, parsed: flags.Parsed) -> int:
    def one(name: str) -> str:
        return str(exit_status(session.json(calls.container_wait(name))))

    return each(session, parsed.args, one)


def _pause(session: Session, parsed: flags.Parsed) -> int:
    return each(session, parsed.args, lambda n: session.finish(calls.container_simple(n, "pause")))


def _unpause(session: Session, parsed: flags.Parsed) -> int:
    return each(session, parsed.args, lambda n: session.finish(calls.container_simple(n, "unpause")))


def _prune(session: Session, parsed: flags.Parsed) -> int:
    if not parsed.on("force") and not confirm("WARNING! This will remove all stopped containers."):
        return 1
    done = session.json(calls.container_prune(tables.filters(parsed.all("filter"))))
    removed = done.get("ContainersDeleted") or []
    if removed:
        say("Deleted Containers:\n" + "\n".join(removed) + "\n")
    say(f"Total reclaimed space: {units.human_size(done.get('SpaceReclaimed') or 0)}")
    return 0


def confirm(warning: str) -> bool:
    """Ask on the terminal; no is the default."""
    sys.stdout.write(f"{warning}\nAre you sure you want to continue? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


STOP = Command(_NAMES, "Stop one or more running containers", _STOP, _stop, 1)
RESTART = Command(_NAMES, "Restart one or more containers", _STOP, _restart, 1)
KILL = Command(_NAMES, "Kill one or more running containers", flags.Table("s signal string   Signal to send"), _kill, 1)
REMOVE = Command(_NAMES, "Remove one or more containers", flags.Table("""
f force bool     Kill a running container first
l link bool      Remove the link of that name
v volumes bool   Remove its anonymous volumes too
"""), _remove, 1)
RENAME = Command("CONTAINER NEW_NAME", "Rename a container", flags.Table(""), _rename, 2, 2)
WAIT = Command("CONTAINER [CONTAINER...]", "Block until containers stop, then print their exit codes",
               flags.Table(""), _wait, 1)
PAUSE = Command("CONTAINER [CONTAINER...]", "Pause all processes of containers", flags.Table(""), _pause, 1)
UNPAUSE = Command("CONTAINER [CONTAINER...]", "Unpause all processes of containers", flags.Table(""), _unpause, 1)
PRUNE = Command("[OPTIONS]", "Remove all stopped containers", flags.Table("""
- filter filter  Which containers (until=24h, label=x)
f force bool     Do not ask
"""), _prune, 0, 0)
