"""wharfie exec."""

from __future__ import annotations

from wharfie.base import errors, flags
from wharfie.client import calls

from . import envspec, terminal
from .attached import Stage, check_terminal, detach_keys
from .command import Command, Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .session import Session

TABLE = flags.Table("""
d detach bool            Run the command in the background
- detach-keys string     Keys that detach the terminal
e env list               Set environment variables
- env-file list          Read environment variables from a file
i interactive bool       Keep STDIN open even if not attached
- privileged bool        Give extended privileges to the command
t tty bool               Allocate a pseudo terminal
u user string            User name or id (<name|uid>[:<group|gid>])
w workdir string         Working directory inside the container
""", interspersed=False)


def _exec(session: Session, parsed: flags.Parsed) -> int:
    detach, tty = parsed.on("detach"), parsed.on("tty")
    stdin = parsed.on("interactive") and not detach
    keys = parsed.text("detach-keys")
    if keys:
        detach_keys(session, keys)
    body = _body(parsed, detach=detach)
    if not detach:
        check_terminal(stdin=stdin, tty=tty)
    size = terminal.size(1) if tty and terminal.is_terminal(1) else None
    if size and not detach:
        body["ConsoleSize"] = list(size)
    identifier = str(session.json(calls.exec_create(parsed.args[0], body))["Id"])
    if detach:
        session.finish(calls.exec_start(identifier, detach=True, tty=tty))
        return 0
    stage = Stage(session, identifier, tty=tty, stdin=stdin, proxy=False, keys=keys, exec=True)
    sock, residue, _ = session.connection.fresh().hijack(
        calls.exec_start(identifier, detach=False, tty=tty, size=size))
    if not stage.converse(sock, residue):
        return 0
    return int(session.json(calls.exec_inspect(identifier)).get("ExitCode") or 0)


def _body(parsed: flags.Parsed, *, detach: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"Cmd": parsed.args[1:]}
    if not detach:
        body["AttachStdout"] = body["AttachStderr"] = True
        if parsed.on("interactive"):
            body["AttachStdin"] = True
    for name, field in (("tty", "Tty"), ("privileged", "Privileged")):
        if parsed.on(name):
            body[field] = True
    for name, field in (("user", "User"), ("workdir", "WorkingDir"), ("detach-keys", "DetachKeys")):
        if parsed.text(name):
            body[field] = parsed.text(name)
    try:
        environment = envspec.environment(parsed.all("env-file"), parsed.all("env"))
    except (errors.WharfieError, OSError) as error:
        if isinstance(error, flags.Bad):
            raise
        raise Exit(1, str(error)) from error
    if environment:
        body["Env"] = environment
    return body


EXEC = Command("[OPTIONS] CONTAINER COMMAND [ARG...]", "Execute a command in a running container", TABLE, _exec, 2)
