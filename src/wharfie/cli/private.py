"""The engine that `wharfie run` starts when none answers: one for the machine, under a lock so that a second caller
joins the first one's. It lives while containers live and a little longer; `wharfie daemon` takes over from it."""

from __future__ import annotations

import fcntl
import os
import sys

from wharfie.base import errors
from wharfie.client import endpoint, wire

from .command import Exit
from .session import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .session import Session

_READY_FD = 3


def start(session: Session) -> bool:
    """Make an engine answer at the default socket; True when one does. Raises Exit (without root; when it fails)."""
    where = endpoint.parse(endpoint.DEFAULT)
    if os.geteuid() != 0:
        raise Exit(125, "no engine answers at " + where.url + ": start one with 'sudo wharfie daemon', or point "
                        "DOCKER_HOST at a running one (running without root comes later)", helped=False)
    folder = os.path.dirname(where.address)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    lock = os.open(f"{folder}/private.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _answers(where):
            _launch(folder)
            complain(f"wharfie: started a private engine at {where.url}")
    finally:
        os.close(lock)
    session.use(where)
    return True


def _answers(where: endpoint.Endpoint) -> bool:
    try:
        wire.connect(where).close()
    except errors.WharfieError:
        return False
    return True


def _launch(folder: str) -> None:
    """Spawn the engine and wait until it says READY on a pipe. Raises Exit with the end of its log."""
    log = f"{folder}/engine.log"
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    begin = os.lseek(out, 0, os.SEEK_END)
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        os.posix_spawn(
            sys.executable, [sys.executable, "-m", "wharfie.daemon", "--private"],
            {**os.environ, "WHARFIE_READY_FD": str(_READY_FD)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, out, 1),
                (os.POSIX_SPAWN_DUP2, out, 2), *_as_ready_fd(write),
            ],
            setsid=True,
        )
        os.close(write)
        write = -1
        said = b""
        while b"\n" not in said and (piece := os.read(read, 4096)):
            said += piece
    finally:
        for fd in (out, read, write):
            if fd >= 0:
                os.close(fd)
    if not said.startswith(b"READY"):
        raise Exit(125, f"the private engine did not start; its log ({log}) ends with:\n{_tail(log, begin)}")


def _as_ready_fd(write: int) -> list[tuple[int, int, int]]:
    """dup2 onto itself would keep close-on-exec: go by way of another number."""
    if write != _READY_FD:
        return [(os.POSIX_SPAWN_DUP2, write, _READY_FD)]
    return [(os.POSIX_SPAWN_DUP2, write, 100), (os.POSIX_SPAWN_DUP2, 100, _READY_FD)]


def _tail(path: str, begin: int) -> str:
    with open(path, "rb") as file:
        file.seek(max(begin, file.seek(0, os.SEEK_END) - 2000))
        return file.read().decode("utf-8", "replace").strip()
