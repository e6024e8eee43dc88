"""Further processes in the container: docker exec. Each has streams of its own and an exit record."""

from __future__ import annotations

import os
import sys

from wharfie.base import errors, when
from wharfie.drivers import contract
from wharfie.kernel import process
from wharfie.runtime import birth

from . import detach, record, wire
from .connections import Later
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
    from .loop import Loop, Timer
    from .making import Family

_PATIENCE_SECONDS = birth.PATIENCE_SECONDS


class Exec:
    """One of them, while it runs or its output is still being sent."""

    def __init__(self, identifier: str, streams: Streams, process: contract.Process) -> None:
        self.id = identifier
        self.streams = streams
        self.process = process


class _Beginning:
    """One on its way: the container may hold it up, by stopping the process before it becomes the program, and so
    nobody waits for it but its own client."""

    def __init__(self, identifier: str, streams: Streams, begun: birth.Birth) -> None:
        self.id = identifier
        self.streams = streams
        self.birth = begun
        self.process: contract.Process | None = None
        self.client = -1
        self.attach: dict[str, Any] = {}
        self.answer = Later()
        self.deadline: Timer | None = None


class Execs:
    """All of them. `tell` sends an event."""

    def __init__(self, loop: Loop, life: Life, family: Family, tell: Callable[[dict[str, Any]], None]) -> None:
        self._loop = loop
        self._family = family
        self._life = life
        self._tell = tell
        self._beginning: dict[str, _Beginning] = {}
        self._running: dict[str, Exec] = {}
        self._ending: list[Exec] = []

    def start(self, request: dict[str, Any], fds: list[int]) -> Later:
        """Run a process; the client's socket, if any, is taken from `fds`. Raises Conflict, Invalid, OSError;
        NoCommand, NotExecutable, StepFailed come later: the client's socket is closed then (the engine has its own)."""
        container = self._life.running()
        identifier = request["id"]
        if self._life.paused:
            raise errors.Conflict(f"Container {container.id} is paused, unpause the container before exec")
        if identifier in self._running or identifier in self._beginning:
            raise errors.Conflict(f"exec {identifier} is running", name=identifier)
        attach = request.get("attach")
        detach.parse((attach or {}).get("detach_keys") or "")
        streams = Streams(self._loop, tty=bool(request.get("tty")), stdin=bool(request.get("stdin")), log=None,
                          spool_dir=self._spool_dir())
        streams.outlet.pause()  # nothing may be read before the client is there
        try:
            one = _Beginning(identifier, streams, self._make(container, request, streams))
        except BaseException:
            streams.close()
            raise
        if attach and fds:
            one.client, one.attach = fds.pop(0), attach
        self._beginning[identifier] = one
        self._loop.watch(one.birth.channel.fileno(), IN, lambda _: self._heard(one))
        one.deadline = self._loop.after(_PATIENCE_SECONDS, lambda: self._failed(one, errors.Unavailable(
            f"exec did not begin within {_PATIENCE_SECONDS:.0f} s", name=identifier)))
        return one.answer

    def _make(self, container: contract.Container, request: dict[str, Any], streams: Streams) -> birth.Birth:
        """A maker of its own, on its way to be the process."""
        kinds, spaces = [k for k, _ in container.namespaces], [fd for _, fd in container.namespaces]
        making = Making(cgroup=container.cgroup, beside=container.process.pidfd)
        try:
            making.tell(
                wire.EXEC, [*(fd for fd in streams.stdio if fd >= 0), container.process.pidfd, *spaces],
                stdio=[n for n, fd in enumerate(streams.stdio) if fd >= 0], namespaces=kinds, id=container.id,
                process={**request["process"], "terminal": streams.tty}, size=request.get("console_size") or [0, 0],
                cgroup=container.cgroup.path if container.cgroup is not None else "",
                filter="" if request.get("privileged") else self._life.filter,
            )
        except BaseException:
            making.close()
            raise
        self._family.makers += 1
        return making.turn()

    def _heard(self, one: _Beginning) -> None:
        """A report of its birth. Once it is visible to the container its descriptors are known."""
        try:
            kind = one.birth.step()
        except (errors.WharfieError, OSError) as error:
            self._failed(one, error)
            return
        if kind == "pid":
            one.birth.visible()
            one.process = one.birth.process()
        elif kind == birth.END:
            self._made(one)

    def _made(self, one: _Beginning) -> None:
        """The program runs."""
        made = one.process
        try:
            if made is None:
                raise errors.WharfieError(f"exec {one.id} began without a word of its process")
            one.streams.started(made.console)
            one.birth.console = -1
            one.streams.outlet.held = True
            if one.client >= 0:
                client, one.client = one.client, -1
                one.streams.attach(client, one.attach, ends_stdin=True, on_detach=lambda: self._detached(one.id))
            one.streams.outlet.resume()
            running = Exec(one.id, one.streams, made)
            self._loop.watch(made.pidfd, IN, lambda _: self._ended(running))
        except (errors.WharfieError, OSError) as error:
            self._failed(one, error)
            return
        self._running[one.id] = running
        self._family.known.add(made.pid)
        self._begun(one)
        self._loop.forget(one.birth.channel.fileno())
        one.birth.channel.close()
        one.answer.give({"pid": made.pid})

    def _failed(self, one: _Beginning, error: BaseException) -> None:
        """It did not come to be."""
        if one.client >= 0:
            os.close(one.client)
        one.streams.close()
        self._loop.forget(one.birth.channel.fileno())
        one.birth.give_up()
        self._begun(one)
        one.answer.refuse(error)

    def _begun(self, one: _Beginning) -> None:
        """It is no longer on its way."""
        del self._beginning[one.id]
        if one.deadline is not None:
            one.deadline.cancel()
        self._family.makers -= 1
        self._family.sweep()

    def resize(self, identifier: str, rows: int, columns: int) -> None:
        """Raises NotFound, Conflict."""
        one = self._running.get(identifier)
        if one is None:
            raise errors.NotFound(f"No such exec instance: {identifier}", name=identifier)
        one.streams.resize(rows, columns)

    def settle(self) -> None:
        """The container has ended: so has every exec; record those whose end has not been seen."""
        for begun in list(self._beginning.values()):
            self._failed(begun, errors.Conflict("the container has ended"))
        for one in list(self._running.values()):
            self._ended(one)

    def served(self) -> bool:
        """Whether no client is still being sent the output of an exec."""
        return not self._beginning and all(not one.streams.outlet.attachers for one in self._ending)

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
        try:
            record.write_exec(self._life.directory, one.id, exit)
        except OSError as error:
            print(f"the record of exec {one.id} could not be written: {error}", file=sys.stderr)
        del self._running[one.id]
        self._family.sweep()  # it may have stood before others
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
        """Beside the log, which is on a disk. The run directory is in memory, and everybody's: without a log a slow
        client holds its exec back."""
        launch = self._life.launch
        return os.path.dirname(launch.log.path) if launch is not None and launch.log.path else ""

