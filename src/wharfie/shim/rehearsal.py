"""What the zygote does before its first fork: play a shim's ordinary life a dozen times, without a container.

A page of the interpreter that a shim writes to is its own for good, and an interpreter writes where it only reads: code
that runs for the first times specialises itself, and lookups fill caches. Done here, once, these pages stay shared by
all shims (0.5 MB less in each). Then the free places of the allocator's half-used pools are filled, so that what a shim
allocates lies close together on fresh pages instead of one object here and there on fifty old ones.

Nothing outside a directory of its own is touched; every descriptor is closed again.
"""

from __future__ import annotations

import _socket
import os
import shutil

from wharfie.base import paths

from . import connections, record, wire
from .execs import Execs
from .life import Life
from .loop import Loop
from .making import Family
from .ports import Ports
from .verbs import Verbs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

ROUNDS = 12  # the interpreter specialises after eight
_FILLERS = 300
_POOL_CLASSES = range(48, 513, 16)


class _Understudy:
    """Stands in for the maker."""

    def ask(self, op: str, _fds: Sequence[int] = (), **_fields: Any) -> tuple[dict[str, Any], dict[str, int]]:
        if op == wire.PREPARE:
            return {}, {name: os.open("/dev/null", os.O_RDONLY) for name in ("net", "netlink", "rootfs")}
        names = ("pidfd", "mount", "pid")
        given = {name: os.pidfd_open(os.getpid()) for name in names}
        return {"pid": os.getpid(), "start_time": 0, "filter": "", "cgroup": True}, given

    def close(self) -> None:
        """Nothing to end."""


class _Stage:
    """The parts of a shim as shim.main puts them together."""

    def __init__(self, directory: str) -> None:
        self.home = paths.RunDirectory(directory)
        self.lock = record.lock(self.home)
        self.loop = Loop()
        family = Family()
        self.life = Life(self.loop, self.home, family, lambda _: None, make=_Understudy)
        execs = Execs(self.loop, self.life, self.home, family, lambda _: None)
        verbs = Verbs(self.life, execs, Ports(self.loop, family), lambda _: None, lambda: None)
        self.connections = connections.Connections(self.loop, verbs.handle, lambda: {"hello": 1}, lambda: None)
        self.connections.listen(self.home.socket)
        self.ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self.connections.adopt(theirs)

    def ask(self, op: str, **fields: Any) -> None:
        """A request, served."""
        wire.send(self.ours, wire.request(1, op, **fields))
        self.loop.after(0, self.loop.stop)
        self.loop.run()

    def clear(self) -> None:
        """Close everything."""
        self.ours.setblocking(False)
        try:
            while (got := wire.recv(self.ours)) is not None:
                wire.close_all(got[1])
        except BlockingIOError:
            pass
        self.ours.close()
        self.life.strike()
        self.connections.close()
        self.loop.close()
        os.close(self.lock)


def play(run_root: str) -> list[object]:
    """Rehearse below `run_root`. Returns what fills the allocator's pools: to be kept for the life of the process.
    Raises OSError."""
    directory = f"{run_root}/.rehearsal-{os.getpid()}"
    os.mkdir(directory, 0o700)
    try:
        for _ in range(ROUNDS):
            _play_once(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return [bytes(size - 33) for size in _POOL_CLASSES for _ in range(_FILLERS)]


def _play_once(directory: str) -> None:
    stage = _Stage(directory)
    launch = wire.Launch(id="0" * 64, name="rehearsal", cgroup="/rehearsal", open_stdin=True,
                         log=wire.Log("json-file", f"{directory}/log", {"max-size": "1m"}))
    stage.ask(wire.PREPARE, launch=launch.asdict())
    stage.ask(wire.START, spec="config.json", listeners=[])
    stage.ask(wire.SIGNAL, signal=0)
    stage.ask(wire.RESIZE, height=1, width=1)
    stage.clear()
