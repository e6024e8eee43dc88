"""Engine start: what earlier engines of this data root left is found by name and taken over.

    record    run directory             then
    ------    -------------             ----
    any       shim alive, running       adopted: link, network, execs
    any       shim alive, not started   it is leaving already; waited for, then removed
    any       lock free                 undertaker; the exit record says how it ended
    running   none                      ended with the host: exit unknown
    removing  –                         removed to the end
    none      any                       ended and removed: nobody knows it

First everybody is asked (in parallel), then the networks are started with those who live, then the dead are settled.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from wharfie.base import errors, paths, when
from wharfie.network import model as network_model
from wharfie.shim import wire

from . import restart_policy, rundir, states
from .execs import Execs
from .link import Link
from .live import Background, Live
from .lives import Lives
from .model import EndpointSettings, PublishedPort
from .remove import Removal
from .services import Services
from .start import bury
from .supervise import UNKNOWN_CODE, Supervision

_SIDE_BY_SIDE = 16
_HELLO_PATIENCE = 5.0
_LEAVE_PATIENCE = 10.0
_REBOOTED = "the container ended while the engine was away; its exit code is not known"


class Restore:
    """Runs once, before the API listens."""

    def __init__(
        self, services: Services, lives: Lives, supervision: Supervision, removal: Removal, execs: Execs,
        background: Background,
    ) -> None:
        self._services = services
        self._lives = lives
        self._supervision = supervision
        self._removal = removal
        self._execs = execs
        self._background = background
        self._gate = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def run(self, start: Callable[[Live], Coroutine[Any, Any, None]]) -> None:
        """Everything above. A container that makes trouble is told to the log and hinders nobody else."""
        services = self._services
        services.events.load()
        for record in services.records.load():
            self._lives.add(record)
        present = set(rundir.names(services.run))
        lives = [x for x in self._lives.all() if x.id[:16] in present or x.record.state.running
                 or x.record.state.status in (states.REMOVING, states.DEAD)]
        exits = await asyncio.gather(*(self._guarded(self._ask(x, x.id[:16] in present)) for x in lives))
        known = {x.id[:16] for x in self._lives.all()}
        await asyncio.gather(*(self._guarded(self._end_stranger(n)) for n in present - known))
        await services.networks.start(self._endpoints())
        for live, exit in zip(lives, exits, strict=True):
            if isinstance(exit, wire.Exit):
                await self._guarded(self._supervision.settle(live, exit))
        await self._guarded(asyncio.to_thread(self._sweep_data))
        self._follow_policies(start)

    async def _guarded(self, work: Coroutine[Any, Any, Any]) -> Any:
        async with self._gate:
            try:
                return await work
            except (errors.WharfieError, OSError, TimeoutError) as error:
                self._services.log(f"restore: {type(error).__name__}: {error}")
                return None

    async def _ask(self, live: Live, has_directory: bool) -> wire.Exit | None:
        """Adopt a living container (None), or say how it ended (None for one that had not run)."""
        directory = self._services.run.container(live.id)
        running = live.record.state.status in states.ALIVE
        if not has_directory:
            return wire.Exit(UNKNOWN_CODE, None, False, _REBOOTED, when.now()) if running else None
        if not rundir.is_free(directory):
            found = await self._connect(live, directory)
            if found is not None:
                return found if live.link is None else None
        await bury(self._services, directory)
        exit = rundir.read_exit(directory)
        # init.json is written before the process is let go
        if not running and not (os.path.exists(directory.init) and (exit is None or exit.began)):
            await asyncio.to_thread(rundir.remove, directory)
            return None
        self._take_note(live, directory)
        if not running:
            self._began(live, directory)
        if exit is None:
            exit = wire.Exit(UNKNOWN_CODE, None, False, _REBOOTED, when.now())
        return exit

    async def _connect(self, live: Live, directory: paths.RunDirectory) -> wire.Exit | None:
        """Speak to a shim that holds its lock. None when it turns out to be leaving."""
        link = await self._link(
            directory, on_event=lambda link, m: self._supervision.on_event(live, link, m),
            on_gone=lambda link: self._supervision.on_gone(live, link),
        )
        if link is None:
            await self._wait_free(directory)
            return None
        hello = await asyncio.wait_for(asyncio.shield(link.hello), _HELLO_PATIENCE)
        if hello.get("state") == wire.RUNNING and isinstance(hello.get("init"), dict):
            self._adopt(live, link, hello, directory)
            return wire.Exit(0)
        await _dismiss(link)
        await self._wait_free(directory)
        return None

    async def _link(
        self, directory: paths.RunDirectory, *, on_event: Callable[[Link, dict[str, Any]], None],
        on_gone: Callable[[Link], None],
    ) -> Link | None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        sock.setblocking(False)
        try:
            sock.connect(directory.socket)
        except OSError:
            sock.close()
            return None
        return Link(sock, on_event=on_event, on_gone=on_gone)

    async def _wait_free(self, directory: paths.RunDirectory) -> None:
        """Wait until a leaving shim has left. Raises Unavailable."""
        for _ in range(int(_LEAVE_PATIENCE / 0.05)):
            if rundir.is_free(directory):
                return
            await asyncio.sleep(0.05)
        raise errors.Unavailable(f"the shim of {directory.root} neither answers nor leaves")

    def _adopt(self, live: Live, link: Link, hello: dict[str, Any], directory: paths.RunDirectory) -> None:
        record, state, init = live.record, live.record.state, hello["init"]
        if state.status not in states.ALIVE:
            self._began(live, directory)
        state.pid, state.start_time = int(init["pid"]), int(init["start_time"])
        self._take_note(live, directory)
        live.link = link
        pid = hello.get("pid")
        if isinstance(pid, int) and pid > 1:
            try:
                link.watch_process(os.pidfd_open(pid))
            except OSError:
                pass  # it has just ended; the socket says so too
        if record.endpoint is not None:
            live.endpoint = network_model.Endpoint.from_dict(record.endpoint)
        self._execs.adopt(live, [str(e) for e in hello.get("execs") or []])

    def _began(self, live: Live, directory: paths.RunDirectory) -> None:
        """The engine was killed after the process had begun and before it was recorded."""
        state = live.record.state
        try:
            state.started_at = os.stat(directory.init).st_mtime_ns
        except OSError:
            state.started_at = when.now()
        state.status, state.error, state.exit_code = states.RUNNING, "", 0

    def _take_note(self, live: Live, directory: paths.RunDirectory) -> None:
        """The network of a start that was not recorded any more."""
        record = live.record
        note = (rundir.read(directory.launch) or {}).get("network")
        if record.endpoint is not None or not isinstance(note, dict):
            return
        record.endpoint, record.published = note.get("endpoint"), note.get("published") or []
        record.endpoints = msgspec.convert(note.get("endpoints") or {}, dict[str, EndpointSettings])
        record.ports = msgspec.convert(note.get("ports") or [], list[PublishedPort])

    def _endpoints(self) -> list[tuple[network_model.Endpoint, list[network_model.Published]]]:
        return [
            (live.endpoint, [network_model.Published.from_dict(p) for p in live.record.published])
            for live in self._lives.all() if live.endpoint is not None
        ]

    async def _end_stranger(self, name: str) -> None:
        """A run directory whose container is not in the database: end what lives there, remove it."""
        directory = self._services.run.container(name)
        if not rundir.is_free(directory):
            link = await self._link(directory, on_event=lambda link, m: None, on_gone=lambda link: None)
            if link is not None:
                await asyncio.wait_for(asyncio.shield(link.hello), _HELLO_PATIENCE)
                try:
                    await link.request(wire.SIGNAL, signal=9)
                except errors.WharfieError:
                    pass
                await _dismiss(link)
            await self._wait_free(directory)
        if os.path.exists(directory.launch):
            await bury(self._services, directory)
        await asyncio.to_thread(rundir.remove, directory)

    def _sweep_data(self) -> None:
        """Directories of containers that were being created or removed when the engine ended."""
        for name in os.listdir(self._services.data.containers):
            if not self._services.records.has(name):
                self._services.storage.snapshots.remove(name)

    def _follow_policies(self, start: Callable[[Live], Coroutine[Any, Any, None]]) -> None:
        for live in self._lives.all():
            record, state = live.record, live.record.state
            if state.status == states.RESTARTING and live.restart_timer is None:
                state.status = states.EXITED  # the engine ended while a policy was waiting; its word is asked again
            if state.status in (states.REMOVING, states.DEAD):
                state.status = states.DEAD
                self._background.spawn(self._removal.auto_remove(live), f"removal of {live.id}")
            elif state.status in (states.CREATED, states.EXITED) and record.host_config.auto_remove:
                self._background.spawn(self._removal.auto_remove(live), f"auto-remove of {live.id}")
            elif state.status == states.EXITED and state.started_at and restart_policy.at_engine_start(
                record.host_config.restart_policy, code=state.exit_code, stopped_by_user=record.stopped_by_user,
                restarts=record.restart_count,
            ):
                self._background.spawn(start(live), f"restart of {live.id}")


async def _dismiss(link: Link) -> None:
    """Ask a shim that has nothing to keep to leave."""
    try:
        await asyncio.wait_for(link.request(wire.BYE), _LEAVE_PATIENCE)
        await asyncio.wait_for(link.gone.wait(), _LEAVE_PATIENCE)
    except (errors.WharfieError, TimeoutError):
        pass
    link.close()
