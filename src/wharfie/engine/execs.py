"""Programs started in running containers."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable
from typing import Any

from wharfie.base import errors, ids
from wharfie.shim import wire

from . import buildspec, merge, rundir, states, told
from .attach import MAX_RESIDUE
from .live import Live
from .lives import Lives
from .model import Exec, ExecConfig
from .provision import Provision, working_directory
from .services import Services

_KEPT_SECONDS = 300.0


class Execs:
    """All execs of this engine; in memory only, like Docker's. Ended ones are kept for five minutes."""

    def __init__(self, services: Services, lives: Lives, provision: Provision) -> None:
        self._services = services
        self._lives = lives
        self._provision = provision
        self._all: dict[str, Exec] = {}

    async def create(self, ref: str, config: ExecConfig) -> str:
        """The id of a new exec. Raises NotFound; Invalid without a command; Conflict when the container does not run
        or is paused."""
        live = self._lives.find(ref)
        _check_running(live)
        if not config.cmd:
            raise errors.Invalid("No exec command specified")
        merge.check_env(config.env or [])
        if config.working_dir and not config.working_dir.startswith("/"):
            raise errors.Invalid(f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute "
                                 "path")
        made = Exec(id=ids.new(), container_id=live.id, config=config)
        self._all[made.id] = made
        live.execs.add(made.id)
        self._tell(live, f"exec_create: {' '.join(config.cmd)}", made)
        return made.id

    def get(self, identifier: str) -> Exec:
        """Raises NotFound "No such exec instance: x"."""
        found = self._all.get(identifier)
        if found is None and len(identifier) < 64 and ids.is_hex(identifier):
            fitting = [e for i, e in self._all.items() if i.startswith(identifier)]
            found = fitting[0] if len(fitting) == 1 else None
        if found is None:
            raise errors.NotFound(f"No such exec instance: {identifier}", name=identifier)
        if found.running:
            self._look(found)
        return found

    def _look(self, made: Exec) -> None:
        """A client that has seen the end of its stream asks for the exit code: the record is on disk then, the event
        may still be on its way."""
        record = rundir.read(self._services.run.container(made.container_id).exec_record(made.id))
        if record is not None and record.get("id") == made.id:
            self.ended(self._lives.find(made.container_id), made.id, int(record.get("code", 255)))

    def of(self, container_id: str) -> list[str]:
        """The ids of a container's execs that have not ended."""
        return [e.id for e in self._all.values() if e.container_id == container_id and e.exit_code is None]

    def check_start(self, identifier: str) -> Exec:
        """What may be said before the upgrade: NotFound, Conflict (already ran, container stopped or paused)."""
        found = self.get(identifier)
        if found.started:
            raise errors.Conflict(f"exec {found.id} has already run", name=found.id)
        _check_running(self._lives.find(found.container_id))
        return found

    async def start(
        self, identifier: str, *, detach: bool, fd: int = -1, residue: bytes = b"",
        console_size: tuple[int, int] | None = None, mux: bool | None = None,
        ready: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Start it; with `fd` the streams asked for at create go there, in frames if `mux` (None: unless the exec has a
        terminal); `ready` is awaited before anything is written there. Owns the fd. Returns when the program has been
        executed. Raises NoCommand, NotExecutable...; the exec's exit code is then 127 or 126."""
        try:
            made = self.check_start(identifier)
            if len(residue) > MAX_RESIDUE:
                raise errors.Invalid(f"{len(residue)} bytes were sent ahead of the exec, {MAX_RESIDUE} are taken")
            live = self._lives.find(made.container_id)
            made.started = True
            try:
                attach = None
                if not detach and fd >= 0:
                    attach = _attach(made.config, residue, not made.config.tty if mux is None else mux)
                await self._start(live, made, fd, attach, console_size, ready if attach else None)
            except errors.WharfieError as error:
                made.exit_code = {errors.NoCommand.kind: 127}.get(error.kind, 126)
                self._over(live, made)
                raise explain(error) from error
        finally:
            if fd >= 0:
                os.close(fd)

    async def _start(
        self, live: Live, made: Exec, fd: int, attach: dict[str, Any] | None,
        console_size: tuple[int, int] | None, ready: Callable[[], Awaitable[None]] | None,
    ) -> None:
        config, link = made.config, live.need_link()
        process = await self._process(live, config)
        process["terminal"] = config.tty
        size = console_size or (tuple(config.console_size) if config.console_size else None)
        if ready is not None:
            await ready()
        made.running = True
        self._tell(live, f"exec_start: {' '.join(config.cmd or [])}", made)
        try:
            said, _ = await link.request(
                wire.EXEC, [fd] if attach else [], names=["client"] if attach else None, id=made.id, process=process,
                tty=config.tty, console_size=list(size) if size else None, stdin=config.attach_stdin,
                privileged=config.privileged, attach=attach,
            )
        except errors.WharfieError:
            made.running = False
            raise
        made.pid = int(said.get("pid", 0))

    async def _process(self, live: Live, config: ExecConfig) -> dict[str, Any]:
        record = live.record
        _, fds = await live.need_link().request(wire.ROOTFS)
        try:
            user = config.user or record.config.user
            identity = await asyncio.to_thread(self._provision.identity, record, fds["rootfs"], user)
        finally:
            wire.close_all(fds.values())
        env = merge.exec_environment(record.config, config.env or [], hostname=self._provision.hostname(record),
                                     home=identity.home, tty=config.tty)
        return buildspec.process(
            record, identity, list(config.cmd or []), env, working_directory(record, config.working_dir),
            ulimits=self._services.settings.ulimits, privileged=config.privileged,
            devices=self._services.host.devices,
        )

    async def resize(self, identifier: str, *, height: int, width: int) -> None:
        """Raises NotFound, Conflict when it does not run."""
        made = self.get(identifier)
        if not made.running:
            raise errors.Conflict(f"exec {made.id} is not running", name=made.id)
        live = self._lives.find(made.container_id)
        await live.need_link().request(wire.RESIZE, height=height, width=width, exec=made.id)

    def adopt(self, live: Live, identifiers: list[str]) -> None:
        """Execs that run on from an earlier engine's time: known well enough to hear of their end."""
        for identifier in identifiers:
            self._all[identifier] = Exec(id=identifier, container_id=live.id, config=ExecConfig(), running=True,
                                         started=True)
            live.execs.add(identifier)

    def ended(self, live: Live, identifier: str, code: int) -> None:
        """An exec has ended, or its container has."""
        made = self._all.get(identifier)
        if made is None or made.exit_code is not None:
            return
        was_started = made.started
        made.exit_code, made.pid = code, 0
        if was_started:
            self._tell(live, "exec_die", made, exitCode=str(code))
        self._over(live, made)

    def _over(self, live: Live, made: Exec) -> None:
        made.running = False
        live.execs.discard(made.id)
        asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._all.pop, made.id, None)

    def _tell(self, live: Live, action: str, made: Exec, **more: str) -> None:
        told.container(self._services.events, live.record, action, execID=made.id, **more)


def _attach(config: ExecConfig, residue: bytes, mux: bool) -> dict[str, Any]:
    """What the shim has to know about the client of an exec."""
    streams = {"stdin": config.attach_stdin, "stdout": config.attach_stdout, "stderr": config.attach_stderr}
    return {"streams": streams, "detach_keys": config.detach_keys, "mux": mux,
            "residue": base64.b64encode(residue).decode()}


def explain(error: errors.WharfieError) -> errors.WharfieError:
    """A program that cannot be started, in Docker's words."""
    if isinstance(error, (errors.NoCommand, errors.NotExecutable)):
        text = f"OCI runtime exec failed: exec failed: unable to start container process: {error.message}"
        return type(error)(text, name=error.name)
    return error


def _check_running(live: Live) -> None:
    status = live.record.state.status
    if status == states.PAUSED:
        raise errors.Conflict(f"container {live.id} is paused, unpause the container before exec", name=live.id)
    if status == states.RESTARTING:
        raise errors.Conflict(f"container {live.id} is restarting, wait until the container is running", name=live.id)
    live.need_link()
