"""wharfie run and wharfie create."""

from __future__ import annotations

import os
import sys

from wharfie.base import errors, flags
from wharfie.client import calls, faults

from . import create_flags, terminal
from .command import Command, Exit
from .create_body import Creation, build
from .session import complain, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wharfie.client import wire

    from .session import Session


def status_of(error: Exception) -> int:
    """Docker's exit status for a container that could not be started, read from the text as docker does."""
    text = str(error)
    if any(t in text for t in ("executable file not found", "no such file or directory")):
        return 127
    if any(t in text for t in ("permission denied", "is a directory")):
        return 126
    return 125


def _run(session: Session, parsed: flags.Parsed) -> int:
    if parsed.on("detach") and parsed.all("attach"):
        raise Exit(1, "conflicting options: cannot specify both --attach and --detach")
    creation = _build(parsed, create_flags.RUN, detach=parsed.on("detach"))
    if creation.tty and not parsed.on("detach"):
        from .attached import check_terminal

        check_terminal(stdin="stdin" in creation.streams, tty=creation.tty)
    if creation.tty and terminal.is_terminal(1):
        creation.body.setdefault("HostConfig", {})["ConsoleSize"] = list(terminal.size(1))
    keys = parsed.text("detach-keys")
    try:
        if creation.streams and not parsed.on("detach"):
            session.connection.meanwhile = _bring_stage
        identifier = _create(session, creation, parsed, _private(session))
        if parsed.on("detach") or not creation.streams:
            session.finish(calls.container_start(identifier, keys))
            say(identifier)
            return 0
        return _attached_run(session, creation, identifier, parsed)
    except faults.EngineFault as error:
        raise Exit(status_of(error), f"Error response from daemon: {error.message}", helped=True) from error
    except (faults.Unreachable, errors.Denied) as error:
        raise Exit(125, error.message, helped=True) from error


def _bring_stage() -> None:
    """What is needed only afterwards is loaded while the engine creates the container."""
    from . import attached  # noqa: F401


def _attached_run(session: Session, creation: Creation, identifier: str, parsed: flags.Parsed) -> int:
    """Attach and wait are asked for before start, so that neither the first byte nor a quick exit is missed."""
    stdin = "stdin" in creation.streams
    keys = parsed.text("detach-keys")
    stream, waiting = session.connection.fresh(), session.connection.fresh()
    stream.begin_hijack(calls.container_attach(
        identifier, stdin=stdin, stdout="stdout" in creation.streams, stderr="stderr" in creation.streams,
        detach_keys=keys))
    waiting.begin(calls.container_wait(identifier, "removed" if parsed.on("rm") else "next-exit"))
    from .attached import Stage

    stage = Stage(session, identifier, tty=creation.tty, stdin=stdin, proxy=parsed.on("sig-proxy"), keys=keys)
    sock, residue, _ = stream.hijacked()
    answer = waiting.answer().check()
    try:
        session.finish(calls.container_start(identifier))
    except errors.WharfieError:
        sock.close()
        raise
    return awaited(answer) if stage.converse(sock, residue) else 0


def awaited(answer: wire.Answer) -> int:
    """The exit status a wait answer brings; 125 when the engine went away before it came."""
    try:
        return exit_status(answer.check().json())
    except errors.WharfieError as error:
        complain(f"Error waiting for container: {error}")
        return 125


def exit_status(said: dict[str, object]) -> int:
    """The status of a wait answer."""
    failure = said.get("Error")
    if isinstance(failure, dict) and failure.get("Message"):
        complain(f"Error waiting for container: {failure['Message']}")
        return 125
    code = said.get("StatusCode", 125)
    return code if isinstance(code, int) else 125


def _build(parsed: flags.Parsed, table: flags.Table, *, detach: bool = False) -> Creation:
    try:
        return build(parsed, table, detach=detach)
    except flags.Bad:
        raise
    except OSError as error:
        raise Exit(125, f"open {error.filename}: {(error.strerror or '').lower()}", helped=True) from error
    except errors.WharfieError as error:
        raise Exit(125, str(error), helped=True) from error


def _private(session: Session) -> Callable[[], bool] | None:
    """What to do when nobody answers: None where the user chose an engine."""
    if session.place.chosen:
        return None

    def start() -> bool:
        from . import private

        return private.start(session)

    return start


def _create(
    session: Session, creation: Creation, parsed: flags.Parsed, rescue: Callable[[], bool] | None = None,
) -> str:
    """The new container's id. Raises Exit, EngineFault."""
    cidfile = parsed.text("cidfile")
    if cidfile and os.path.exists(cidfile):
        raise Exit(125, f"container ID file found, make sure the other container isn't running or delete {cidfile}",
                   helped=True)
    call = calls.container_create(creation.body, creation.name, creation.platform)
    if parsed.text("pull") == "always":
        _pull(session, creation, parsed)
    try:
        try:
            made = session.json(call)
        except faults.Unreachable:
            if rescue is None or not rescue():
                raise
            made = session.json(call)
    except errors.NotFound as error:
        if "No such image" not in error.message or parsed.text("pull") != "missing":
            raise
        complain(f"Unable to find image '{_familiar(creation.image)}' locally")
        _pull(session, creation, parsed, instead_of=error)
        made = session.json(call)
    for warning in made.get("Warnings") or ():
        complain(f"WARNING: {warning}")
    if cidfile:
        with open(cidfile, "x", encoding="ascii") as file:
            file.write(made["Id"])
    return str(made["Id"])


def _familiar(image: str) -> str:
    _, mark, _ = calls.split_tag(image)
    return image if mark else f"{image}:latest"


def _pull(
    session: Session, creation: Creation, parsed: flags.Parsed, instead_of: errors.WharfieError | None = None,
) -> None:
    """An engine that cannot pull has already said in its "No such image" what to do instead."""
    from . import pull

    try:
        pull.pull(session, creation.image, creation.platform, quiet=parsed.on("quiet"), out=sys.stderr)
    except errors.Unsupported:
        if instead_of is None:
            raise
        raise instead_of from None


def _create_only(session: Session, parsed: flags.Parsed) -> int:
    creation = _build(parsed, create_flags.CREATE)
    try:
        say(_create(session, creation, parsed, _private(session)))
    except faults.EngineFault as error:
        raise Exit(1, f"Error response from daemon: {error.message}") from error
    return 0


RUN = Command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]", "Create and run a new container from an image", create_flags.RUN, _run, 1,
)
CREATE = Command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]", "Create a new container", create_flags.CREATE, _create_only, 1,
)

