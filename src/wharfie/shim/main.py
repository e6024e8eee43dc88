"""The shim: one process per started container, forked by the zygote. It outlives the engine.

    Connections ──▶ Verbs ──▶ Life (prepare, start, exit) ──▶ Streams ──▶ log, attached clients
                        ├───▶ Execs
                        └───▶ Ports ──▶ gate

It leaves when the container has exited and everybody is served; the lock on the run directory goes with it.
"""

from __future__ import annotations

import _socket
import os

from wharfie.base import paths, points
from wharfie.kernel import process

from . import record, wire
from .connections import Connections
from .execs import Execs
from .life import Life
from .loop import Loop
from .making import Family, Making
from .pausing import Pausing
from .ports import Ports
from .verbs import Verbs
from .wire import BORN, CREATED, EXITED, PREPARED, RUNNING, Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .making import Maker
    from .title import Title


class Shim:
    """The parts, put together, and the decision to leave. Made in the zygote (what is made there stays shared by all
    shims), run once in a child of it."""

    def __init__(self, title: Title, make: Callable[..., Maker] = Making) -> None:
        self._title = title
        self._patience = 0.01
        self.loop = Loop()
        self.family = Family()
        self.life = Life(self.loop, self.family, self._exited, make)
        self.execs = Execs(self.loop, self.life, self.family, self._tell)
        self.ports = Ports(self.loop, self.family)
        verbs = Verbs(self.life, self.execs, self.ports, self._tell, self._bye,
                      Pausing(self.loop, self.life))
        self.connections = Connections(self.loop, verbs.handle, self._hello, self._lonely)

    def run(self, directory: str, conn: int) -> None:
        """Be the shim of `directory` until the container's end. `conn` is the first connection. Returns when all is
        done; the caller then ends the process."""
        points.reach("shim.born")
        conn = _settle_in(conn)
        self.life.directory = home = paths.RunDirectory(directory)
        first = _socket.socket(fileno=conn)
        try:
            record.lock(home)  # held until the process ends
        except OSError as error:
            wire.send(first, {"hello": 0, "error": wire.describe(error, "lock")})
            return
        points.reach("shim.locked")
        self._title.set(f"wharfie-shim {os.path.basename(directory)}")
        self.open(first)
        self.family.watch(self.loop)
        self.loop.run()

    def open(self, first: _socket.socket) -> None:
        """Listen, and greet the first connection."""
        self.loop.open()
        self.connections.listen(self.life.directory.socket)
        self.connections.adopt(first)

    def _hello(self) -> dict[str, Any]:
        life = self.life
        init = life.container.process if life.container is not None and life.state == RUNNING else None
        return {
            "hello": wire.VERSION, "pid": os.getpid(), "id": life.launch.id if life.launch else "",
            "state": life.state,
            "init": {"pid": init.pid, "start_time": init.start_time} if init else None,
            "exit": life.exit.asdict() if life.exit is not None and life.state == EXITED else None,
            "execs": self.execs.ids(), "gate": self.ports.pid,
        }

    def _tell(self, event: dict[str, Any]) -> None:
        self.connections.event(event)

    def _exited(self, exit: Exit) -> None:
        self.ports.close()
        self.execs.settle()
        if exit.oom:
            self._tell({"event": wire.EVENT_OOM})
        self._tell({"event": wire.EVENT_EXIT, **exit.asdict()})
        self.loop.after(0, self._leave_when_done)

    def _bye(self) -> None:
        if self.life.state in (BORN, PREPARED, CREATED):
            self.life.abandon()
        self.loop.after(0, self._leave_when_done)

    def _lonely(self) -> None:
        """The engine has gone. Before start that is the end; afterwards it will come back."""
        if self.life.state in (BORN, PREPARED, CREATED):
            self.life.abandon()
        self.loop.after(0, self._leave_when_done)

    def _leave_when_done(self) -> None:
        if self.life.dead() and self.execs.served() and self.connections.idle:
            self.loop.stop()
        elif self.life.state == EXITED:
            self._patience = min(self._patience * 2, 1.0)
            self.loop.after(self._patience, self._leave_when_done)


def _settle_in(conn: int) -> int:
    """Keep stdio and the connection, nothing else of the zygote's; be the parent of whatever the container loses."""
    if conn != 3:
        os.dup2(conn, 3, inheritable=False)
    process.close_range(4)
    process.subreaper()
    return 3
