"""wharfie attach."""

from __future__ import annotations

from wharfie.base import flags
from wharfie.client import calls

from .attached import Stage, check_terminal
from .command import Command, Exit
from .run import awaited

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .session import Session

_TABLE = flags.Table("""
- detach-keys string     Keys that detach the terminal
- no-stdin bool          Do not attach STDIN
- sig-proxy bool=true    Pass received signals on to the process
""")


def _attach(session: Session, parsed: flags.Parsed) -> int:
    found = session.json(calls.container_inspect(parsed.args[0]))
    state, config = found["State"], found["Config"]
    if not state.get("Running"):
        raise Exit(1, "cannot attach to a stopped container, start it first")
    if state.get("Paused"):
        raise Exit(1, "cannot attach to a paused container, unpause it first")
    if state.get("Restarting"):
        raise Exit(1, "cannot attach to a restarting container, wait until it is running")
    tty = bool(config.get("Tty"))
    stdin = bool(config.get("OpenStdin")) and not parsed.on("no-stdin")
    check_terminal(stdin=stdin, tty=tty)
    keys = parsed.text("detach-keys")
    stage = Stage(session, found["Id"], tty=tty, stdin=stdin, proxy=parsed.on("sig-proxy"), keys=keys)
    stream, waiting = session.connection.fresh(), session.connection.fresh()
    waiting.begin(calls.container_wait(found["Id"]))
    stream.begin_hijack(calls.container_attach(found["Id"], stdin=stdin, stdout=True, stderr=True, detach_keys=keys))
    sock, residue, _ = stream.hijacked()
    stage.nudge()
    return awaited(waiting.answer()) if stage.converse(sock, residue) else 0


ATTACH = Command("[OPTIONS] CONTAINER", "Attach local standard streams to a running container", _TABLE, _attach, 1, 1)
