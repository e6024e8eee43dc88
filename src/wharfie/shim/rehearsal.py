"""What the zygote does before its first fork: play a shim's ordinary life a dozen times, without a container.

A page of the interpreter that a shim writes to is its own for good, and an interpreter writes where it only reads: code
that runs for the first times specialises itself, and lookups fill caches. Done here, once, these pages stay shared by
all shims (0.4 MB less in each).

Nothing outside a directory of its own is touched; every descriptor is closed again.
"""

from __future__ import annotations

import _socket
import os

from wharfie.base import paths
from wharfie.runtime import birth, channel

from . import drill, packing, record, wire
from .main import Shim
from .making import Making

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from wharfie.kernel import cgroups

    from .title import Title

ROUNDS = 12  # the interpreter specialises after eight
_PREFIX = ".rehearsal-"


class _Stillbirth(birth.Birth):
    """What the understudy turns into: nothing. The process it names is this one."""

    def give_up(self) -> None:
        self.channel.close()


class _Understudy:
    """Stands in for the maker. One is forked all the same, into the cgroup, and does nothing."""

    def __init__(self, _flags: int, _here: tuple[str, ...], cgroup: cgroups.Cgroup | None) -> None:
        self._grouped = cgroup is not None
        self._real = Making(cgroup=cgroup)

    def ask(self, op: str, fds: Sequence[int] = (), **fields: Any) -> tuple[dict[str, Any], dict[str, int]]:
        if op == wire.PREPARE:
            return {}, {name: os.open("/dev/null", os.O_RDONLY) for name in ("net", "netlink", "rootfs")}
        return {"filter": "", "cgroup": self._grouped, "start_time": 0}, {}

    def turn(self) -> birth.Birth:
        mine, theirs = channel.pair()
        kinds = ("mount", "pid", "network", "ipc", "uts", "cgroup")
        spaces = [os.open("/dev/null", os.O_RDONLY) for _ in kinds]
        theirs.send({"opened": kinds, "console": False}, spaces)
        wire.close_all(spaces)
        theirs.send({"ready": 1})
        theirs.send({"exec": 1})
        theirs.close()
        return _Stillbirth(os.getpid(), os.pidfd_open(os.getpid()), mine)

    def close(self) -> None:
        self._real.close()


def _ask(shim: Shim, ours: _socket.socket, op: str, **fields: Any) -> None:
    """A request, served."""
    wire.send(ours, wire.request(1, op, **fields))
    shim.loop.after(0, shim.loop.stop)
    shim.loop.run()


def _clear(shim: Shim, ours: _socket.socket) -> None:
    """Close everything."""
    ours.setblocking(False)
    try:
        while (got := wire.recv(ours)) is not None:
            wire.close_all(got[1])
    except BlockingIOError:
        pass
    ours.close()
    shim.life.strike()
    shim.connections.close()
    shim.loop.close()


def play(run_root: str, title: Title) -> None:
    """Rehearse below `run_root`. Raises OSError."""
    sweep(run_root)
    directory = f"{run_root}/{_PREFIX}{os.getpid()}"
    os.mkdir(directory, 0o700)
    try:
        group = drill.stage()
        packing.gather(lambda: _play_once(directory, title, group), lambda: drill.try_play(directory))
        drill.try_play(directory)
        for _ in range(ROUNDS):
            _play_once(directory, title, group)
    finally:
        _remove(directory)


def sweep(run_root: str) -> None:
    """Remove the stages of zygotes that were killed while they rehearsed: a run root has one zygote at a time."""
    for name in os.listdir(run_root):
        if name.startswith(_PREFIX):
            try:
                _remove(f"{run_root}/{name}")
            except OSError:
                pass  # its zygote is only just ending, and removes it itself or is found dead the next time


def _remove(directory: str) -> None:
    for name in os.listdir(directory):
        os.unlink(f"{directory}/{name}")
    os.rmdir(directory)


def _play_once(directory: str, title: Title, group: str) -> None:
    shim = Shim(title, make=_Understudy)
    shim.life.directory = paths.RunDirectory(directory)
    lock = record.lock(shim.life.directory)
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    title.set("wharfie-zygote")
    shim.open(theirs)
    launch = wire.Launch(id="0" * 64, name="rehearsal", cgroup=group, open_stdin=True,
                         log=wire.Log("json-file", f"{directory}/log", {"max-size": "1m"}))
    _ask(shim, ours, wire.PREPARE, launch=launch.asdict())
    _ask(shim, ours, wire.CREATE, spec="config.json")
    _ask(shim, ours, wire.START, listeners=[])
    _ask(shim, ours, wire.SIGNAL, signal=0)
    _ask(shim, ours, wire.RESIZE, height=1, width=1)
    _clear(shim, ours)
    os.close(lock)
