"""wharfie load, save, import: whole archives through standard streams or files."""

from __future__ import annotations

import os
import sys

from wharfie.base import flags
from wharfie.client import calls

from . import pull, streams, terminal
from .command import Command, Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .session import Session

_PIECE = 256 << 10


def _pieces(fd: int) -> Iterator[bytes]:
    try:
        while piece := os.read(fd, _PIECE):
            yield piece
    finally:
        if fd > 2:
            os.close(fd)


def _load(session: Session, parsed: flags.Parsed) -> int:
    source = parsed.text("input")
    if not source and terminal.is_terminal(0):
        raise Exit(1, "requested load from stdin, but stdin is empty")
    fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC) if source else 0
    answer = session.connection.upload(calls.image_load(quiet=parsed.on("quiet")), _pieces(fd))
    pull.print_stream(answer.lines(), sys.stdout, quiet=parsed.on("quiet"))
    return 0


def _import(session: Session, parsed: flags.Parsed) -> int:
    source = parsed.args[0]
    reference = parsed.args[1] if len(parsed.args) > 1 else ""
    remote = source.startswith(("http://", "https://"))
    call = calls.image_import(
        source if remote else "-", reference, parsed.text("message"), parsed.all("change"), parsed.text("platform"))
    if remote:
        answer = session.do(call)
    else:
        fd = 0 if source == "-" else os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        answer = session.connection.upload(call, _pieces(fd))
    pull.print_stream(answer.lines(), sys.stdout)
    return 0


def _save(session: Session, parsed: flags.Parsed) -> int:
    target = parsed.text("output")
    receive(session, calls.image_save(parsed.args), target)
    return 0


def receive(session: Session, call: calls.Call, target: str) -> None:
    """An archive into the file `target`, which is there when it is whole; without one, to standard output. Raises Exit
    for a terminal."""
    if not target and terminal.is_terminal(1):
        raise Exit(1, "cowardly refusing to save to a terminal. Use the -o flag or redirect")
    if target:
        _check_output(target)
    answer = session.do(call)
    if not target:
        for piece in answer.pieces():
            streams.write_all(1, piece)
        return
    # with links followed: what is renamed onto is the file itself
    target = os.path.realpath(target)
    temporary = f"{target}.{os.getpid()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for piece in answer.pieces():
            streams.write_all(fd, piece)
        os.rename(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)


def _check_output(target: str) -> None:
    """Only a regular file may be there: a rename would put one in the place of /dev/null. Raises Exit."""
    folder = os.path.dirname(os.path.abspath(target))
    if not os.path.isdir(folder):
        raise Exit(1, f"invalid output path: stat {folder}: no such file or directory")
    if os.path.isdir(target):
        raise Exit(1, f"invalid output path: {target} is a directory")
    if os.path.exists(target) and not os.path.isfile(target):
        raise Exit(1, f"invalid output path: cannot write to {target}: it is no regular file")


LOAD = Command("[OPTIONS]", "Load images from an archive or STDIN", flags.Table("""
i input string      Read from this archive instead of STDIN
- platform string   Load this platform only
q quiet bool        No progress
"""), _load, 0, 0)
SAVE = Command("[OPTIONS] IMAGE [IMAGE...]", "Save images to an archive (to STDOUT by default)", flags.Table("""
o output string     Write to this file instead of STDOUT
- platform string   Save this platform only
"""), _save, 1)
IMPORT = Command("[OPTIONS] file|URL|- [REPOSITORY[:TAG]]", "Make an image of an archived file tree", flags.Table("""
c change list       Apply a Dockerfile instruction to the image
m message string    Set the commit message
- platform string   Platform of the image (os/arch)
"""), _import, 1, 2)
