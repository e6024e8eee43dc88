"""Further processes in the container: docker exec. Each has streams of its own and an exit record."""

from __future__ import annotations

import os

from wharfie.base import errors, when
from wharfie.drivers import contract
from wharfie.kernel import process

from . import record, wire
from .life import DRAIN_SECONDS
from .loop import IN
from .making import Making
from .streams import Streams
from .wire import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .life import Life
    from .loop import Loop
    from .making import Family

# An exec that is stuck (its cgroup frozen from outside) must not stop the shim.
_PATIENCE_SECONDS = 20.0


class Exec:
    """One of them, while it runs or its output is still being sent."""

    def __init__(self, identifier: str, streams: Streams, process: contract.Process) -> None:
        self.id = identifier
        self.streams = streams
        self.process = process


class Execs:
    """All of them. `tell` sends an event."""

    def __init__(self, loop: Loop, life: Life, family: Family, tell: Callable[[dict[str, Any]], None]) -> None:
        self._loop = loop
        self._family = family
        self._life = life
        self._tell = tell
        self._running: dict[str, Exec] = {}
        self._ending: list[Exec] = []

    def start(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Run a process; the client's socket, if any, is taken from `fds`. Raises Conflict, Invalid, NoCommand,
        NotExecutable, StepFailed; then the socket is still the caller's."""
        container = self._life.running()
        identifier = request["id"]
        if self._life.paused:
            raise errors.Conflict(f"Container {container.id} is paused, unpause the container before exec")
        if identifier in self._running:
            raise errors.Conflict(f"exec {identifier} is running", name=identifier)
        attach = request.get("attach")
        streams = Streams(self._loop, tty=bool(request.get("tty")), stdin=bool(request.get("stdin")), log=None,
                          spool_dir=self._spool_dir())
        try:
            made = self._make(container, request, streams)
        except BaseException:
            streams.close()
            raise
        finally:
            self._family.sweep()
        streams.started(made.console)
        one = Exec(identifier, streams, made)
        self._running[identifier] = one
        streams.outlet.held = True
        if attach and fds:
            streams.attach(fds.pop(0), attach, ends_stdin=True, on_detach=lambda: self._detached(identifier))
        self._loop.watch(made.pidfd, IN, lambda _: self._ended(one))
        return {"pid": made.pid}

    def _make(self, container: contract.Container, request: dict[str, Any], streams: Streams) -> contract.Process:
        """The process, by a maker of its own."""
        kinds, spaces = [k for k, _ in container.namespaces], [fd for _, fd in container.namespaces]
        making = Making()
        try:
            result, fds = making.ask(
                wire.EXEC, [*(fd for fd in streams.stdio if fd >= 0), container.process.pidfd, *spaces],
                seconds=_PATIENCE_SECONDS,
                stdio=[n for n, fd in enumerate(streams.stdio) if fd >= 0], namespaces=kinds, id=container.id,
                process={**request["process"], "terminal": streams.tty}, size=request.get("console_size") or [0, 0],
                cgroup=container.cgroup.path if container.cgroup is not None else "",
                filter="" if request.get("privileged") else self._life.filter,
            )
        finally:
            making.close()
        self._family.known.add(result["pid"])
        return contract.Process(result["pid"], fds["pidfd"], result["start_time"], fds.get("console", -1))

    def resize(self, identifier: str, rows: int, columns: int) -> None:
        """Raises NotFound, Conflict."""
        one = self._running.get(identifier)
        if one is None:
            raise errors.NotFound(f"No such exec instance: {identifier}", name=identifier)
        one.streams.resize(rows, columns)

    def settle(self) -> None:
        """The container has ended: so has every exec; record those whose end has not been seen."""
        for one in list(self._running.values()):
            self._ended(one)

    def served(self) -> bool:
        """Whether no client is still being sent the output of an exec."""
        return all(not one.streams.outlet.attachers for one in self._ending)

    def ids(self) -> list[str]:
        """Those that run."""
        return list(self._running)

    def _ended(self, one: Exec) -> None:
        status = process.waitid_pidfd(one.process.pidfd)
        if status is None or one.id not in self._running:
            return
        self._loop.forget(one.process.pidfd)
        self._family.known.discard(one.process.pid)
        os.close(one.process.pidfd)
        kind, number = status
        exit = Exit(number if kind == "exited" else 128 + number, number if kind == "killed" else None, False, "",
                    when.now())
        record.write_exec(self._life.directory, one.id, exit)
        del self._running[one.id]
        self._ending = [e for e in self._ending if e.streams.outlet.attachers or not e.streams.outlet.ended]
        self._ending.append(one)
        # The record is on disk; now the client may see the end of its stream, and then ask for the code.
        self._tell({"event": "exec-exit", "id": one.id, "code": exit.code, "at": exit.at})
        one.streams.outlet.held = False
        one.streams.outlet.pump()
        if one.streams.outlet.ended:
            one.streams.close()
        else:  # a grandchild holds the pipe: Docker waits as long
            self._loop.after(DRAIN_SECONDS, one.streams.close)

    def _detached(self, identifier: str) -> None:
        self._tell({"event": "detach", "exec": identifier})

    def _spool_dir(self) -> str:
        launch = self._life.launch
        return os.path.dirname(launch.log.path) if launch is not None and launch.log.path else self._life.directory.root

