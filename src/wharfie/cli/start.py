"""wharfie start."""

from __future__ import annotations

from wharfie.base import errors, flags
from wharfie.client import calls

from .attached import Stage, check_terminal
from .command import Command, Exit
from .run import awaited
from .session import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .session import Session

_TABLE = flags.Table("""
a attach bool           Attach STDOUT and STDERR, and forward signals
- checkpoint string    Restore from this checkpoint
- checkpoint-dir string  Use a custom checkpoint directory
- detach-keys string    Keys that detach the terminal
i interactive bool      Attach the container's STDIN
""")


def _start(session: Session, parsed: flags.Parsed) -> int:
    if parsed.text("checkpoint"):
        raise errors.Unsupported("checkpoints are not supported yet")
    if not (parsed.on("attach") or parsed.on("interactive")):
        status = each(session, parsed.args, lambda n: session.finish(calls.container_start(n)))
        if status:
            raise Exit(1, "failed to start containers: " + ", ".join(parsed.args))
        return 0
    if len(parsed.args) > 1:
        raise Exit(1, "you cannot start and attach multiple containers at once")
    return _attached(session, parsed.args[0], parsed)


def _attached(session: Session, name: str, parsed: flags.Parsed) -> int:
    found = session.json(calls.container_inspect(name))
    config = found["Config"]
    stdin = parsed.on("interactive") and bool(config.get("OpenStdin"))
    check_terminal(stdin=stdin, tty=bool(config.get("Tty")))
    keys = parsed.text("detach-keys")
    stage = Stage(session, found["Id"], tty=bool(config.get("Tty")), stdin=stdin, proxy=True, keys=keys)
    stream, waiting = session.connection.fresh(), session.connection.fresh()
    stream.begin_hijack(calls.container_attach(found["Id"], stdin=stdin, stdout=True, stderr=True, detach_keys=keys))
    removes = bool((found.get("HostConfig") or {}).get("AutoRemove"))
    waiting.begin(calls.container_wait(found["Id"], "removed" if removes else "next-exit"))
    sock, residue, _ = stream.hijacked()
    answer = waiting.answer().check()
    session.finish(calls.container_start(found["Id"]))
    stage.nudge()
    return awaited(answer) if stage.converse(sock, residue) else 0


START = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]", "Start one or more stopped containers", _TABLE, _start, 1
)
