"""The verbs of containers. This file only finds the container and hands it to the part that knows how:

    create.Creation   start.Starting   attach.Attaching   ending.Ending   remove.Removal
    supervise.Supervision (what follows from an end)   restore.Restore (engine start)   execs.Execs
    copying.Copying (files in and out, commit)   update
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

from wharfie.base import errors, ids
from wharfie.images import committing
from wharfie.network import model as network_model
from wharfie.shim import wire
from wharfie.storage import copying, differences

from . import states, told, update
from .attach import Attaching
from .copying import Copying
from .create import Creation
from .ending import Ending
from .execs import Execs
from .live import Background, Live
from .lives import Lives
from .model import AttachOptions, Config, Container, HostConfig, NetworkingConfig, WaitResult
from .provision import Provision
from .remove import Removal
from .restore import Restore
from .sandbox import Networking
from .services import Services
from .start import Starting
from .supervise import Supervision

_Records = list[Container]  # the class below has a method named list
_Names = list[str]
_Changes = list[differences.Change]


class Containers:
    """All containers of this engine. Every `ref` is a full id, a unique id prefix or a name; NotFound otherwise."""

    def __init__(self, services: Services, network_settings: network_model.Settings) -> None:
        self._services = services
        self._lives = Lives(services.records)
        self._background = Background(services.log)
        provision = Provision(services, network_settings, self._lives.record)
        networking = Networking(services)
        self._attaching = Attaching(services)
        supervision = Supervision(services, networking, self._background)
        self._starting = Starting(services, provision, networking, self._attaching, on_event=supervision.on_event,
                                  on_gone=supervision.on_gone)
        self._creation = Creation(services, self._lives.record)
        self._ending = Ending(services)
        self._ending.overrule = supervision.overrule
        self._copying = Copying(services, provision, self._ending)
        self._removal = Removal(services, self._ending, forget=self._lives.forget, users_of=self._lives.users_of)
        self.execs = Execs(services, self._lives, provision)
        self._restore = Restore(services, self._lives, supervision, self._removal, self.execs, self._background)
        supervision.again = self._again
        supervision.remove = self._removal.auto_remove
        supervision.exec_ended = self.execs.ended

    # ---- life of the engine ----

    async def restore(self) -> None:
        """Take over what earlier engines left: see restore. Starts the networks. Once, before anything else."""
        await self._restore.run(self._again)

    async def close(self) -> None:
        """Leave: containers run on, their shims keep everything."""
        await self._background.drain(2.0)
        for live in self._lives.all():
            live.cancel_restart()
            live.drop_parked()
            if live.link is not None:
                live.link.close()
        for flush in (self._services.records.flush, self._services.events.flush):
            try:
                await flush()
            except errors.WharfieError as error:
                self._services.log(f"not everything could be recorded: {error}")

    def alive(self) -> int:
        """How many containers run or will run again by themselves."""
        return sum(live.record.state.running for live in self._lives.all())

    # ---- looking ----

    def get(self, ref: str) -> Container:
        """Raises NotFound "No such container: x", Invalid for an ambiguous prefix."""
        return self._lives.record(ref)

    def list(self) -> _Records:
        """All, newest first."""
        return sorted(self._services.records.all(), key=lambda c: c.created, reverse=True)

    def users_of(self, volume: str) -> _Names:
        """The ids of containers that have a volume."""
        return self._lives.users_of(volume)

    # ---- verbs ----

    async def create(
        self, config: Config, host_config: HostConfig, networking: NetworkingConfig, *, name: str = "",
        platform: str = "",
    ) -> tuple[Container, _Names]:
        """A new container and warnings. Raises Invalid, Unsupported, Conflict (name in use), NotFound (image)."""
        record, warnings = await self._creation.create(config, host_config, networking, name=name, platform=platform)
        self._lives.add(record)
        return record, warnings

    async def start(self, ref: str) -> None:
        """Raises Unchanged when it runs already (HTTP 304), NoCommand, NotExecutable, Conflict."""
        live = self._lives.find(ref)
        async with live.lock:
            self._check_start(live)
            live.record.restart_count, live.backoff = 0, 0.0
            await self._start(live)

    def _check_start(self, live: Live) -> None:
        status = live.record.state.status
        if not self._services.records.has(live.id):
            raise errors.NotFound(f"No such container: {live.id}", name=live.id)
        if status == states.PAUSED:
            raise errors.Conflict("cannot start a paused container, try unpause instead", name=live.id)
        if status in (states.RUNNING, states.RESTARTING):
            raise errors.Unchanged(f"container {live.id} is running already", name=live.id)
        if status in (states.REMOVING, states.DEAD):
            raise errors.Conflict("container is marked for removal and cannot be started", name=live.id)

    async def _start(self, live: Live) -> None:
        """With live.lock held."""
        if live.teardown is not None:
            await asyncio.wait([live.teardown])
        try:
            await self._starting.start(live)
        except errors.WharfieError:
            if live.record.host_config.auto_remove:
                self._background.spawn(self._removal.auto_remove(live), f"auto-remove of {live.id}")
            raise

    async def _again(self, live: Live) -> None:
        """A restart by policy."""
        async with live.lock:
            if live.record.state.status not in (states.RESTARTING, states.EXITED):
                return
            live.record.restart_count += 1
            await self._start(live)

    async def stop(self, ref: str, *, timeout: int | None = None, signal: str = "") -> None:
        """`timeout` in seconds, -1 waits for ever. Raises Unchanged when it does not run (304)."""
        await self._ending.stop(self._lives.find(ref), timeout=timeout, signal=signal)

    async def kill(self, ref: str, signal: str = "") -> None:
        """Send a signal (SIGKILL by default, then waits for the end). Raises Conflict when it does not run."""
        await self._ending.kill(self._lives.find(ref), signal)

    async def restart(self, ref: str, *, timeout: int | None = None, signal: str = "") -> None:
        """Stop if it runs, and start. A container with AutoRemove is not removed in between."""
        live = self._lives.find(ref)
        live.keep = True
        try:
            try:
                await self._ending.stop(live, timeout=timeout, signal=signal)
            except errors.Unchanged:
                pass
            await self.start(live.id)
        finally:
            live.keep = False
        told.container(self._services.events, live.record, "restart")

    def watch(self, ref: str, condition: str = "not-running") -> asyncio.Future[WaitResult]:
        """Subscribed when this returns, so that headers can go out before the container is started. Conditions
        not-running, next-exit, removed. Cancel the future to stop waiting."""
        return self._lives.find(ref).watch(condition)

    async def wait(self, ref: str, condition: str = "not-running") -> WaitResult:
        """`watch`, awaited."""
        return await self.watch(ref, condition)

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> None:
        """`force` kills it first; `volumes` takes its anonymous volumes along. Raises Conflict while it runs."""
        if link:
            raise errors.Unsupported("links between containers are not supported by this engine yet")
        await self._removal.remove(self._lives.find(ref), force=force, volumes=volumes)

    async def rename(self, ref: str, new: str) -> None:
        """Raises Invalid, Conflict with Docker's words."""
        live = self._lives.find(ref)
        new = new.removeprefix("/")
        ids.check_name(new)
        async with live.lock:
            records, record, old = self._services.records, live.record, live.record.name
            if new == old:
                raise errors.Invalid("Renaming a container with the same name as its current name", name=new)
            records.take_name(new, record.id)
            record.name = new
            try:
                await records.save(record, durable=True)
            except BaseException:
                record.name = old
                records.free_name(new, record.id)
                raise
            records.free_name(old, record.id)
        told.container(self._services.events, record, "rename", oldName=f"/{old}")

    async def resize(self, ref: str, *, height: int, width: int) -> None:
        """Raises Conflict when it does not run."""
        live = self._lives.find(ref)
        await live.need_link().request(wire.RESIZE, height=height, width=width)
        told.container(self._services.events, live.record, "resize", height=str(height), width=str(width))

    async def pause(self, ref: str) -> None:
        """Freeze every process. Raises Conflict."""
        await self._ending.pause(self._lives.find(ref))

    async def unpause(self, ref: str) -> None:
        """Raises Conflict when it is not paused."""
        await self._ending.unpause(self._lives.find(ref))

    async def top(self, ref: str, args: str = "-ef") -> dict[str, Any]:
        """{"Titles": [...], "Processes": [[...]]}"""
        live = self._lives.find(ref)
        said, _ = await live.need_link().request(wire.TOP, args=args)
        told.container(self._services.events, live.record, "top")
        return {"Titles": said.get("titles", said.get("Titles", [])),
                "Processes": said.get("processes", said.get("Processes", []))}

    async def stats(self, ref: str) -> dict[str, Any]:
        """Raw cgroup numbers of one instant, as the shim gives them."""
        said, _ = await self._lives.find(ref).need_link().request(wire.STATS)
        return said

    async def update(self, ref: str, wish: HostConfig) -> _Names:
        """Change limits and restart policy; warnings. Raises Invalid, Unsupported, Conflict."""
        return await update.update(self._services, self._lives.find(ref), wish)

    # ---- files ----

    async def source(self, ref: str, path: str) -> copying.Source:
        """What is at a path of a container, to be copied out. Close it. Raises NotFound, Invalid."""
        return await self._copying.source(self._lives.find(ref), path)

    async def put(self, ref: str, path: str, stream: copying.Readable, *, keep_kinds: bool, chown: bool) -> None:
        """Unpack a tar stream into a directory of a container. `keep_kinds`: a directory stays one, and what is none
        becomes none; `chown`: everything to the container's user. Raises NotFound, Invalid, Denied, Damaged."""
        await self._copying.put(self._lives.find(ref), path, stream, keep_kinds=keep_kinds, chown=chown)

    async def export(self, ref: str) -> Iterator[bytes]:
        """The root file system as a tar stream. Raises NotFound."""
        return await self._copying.export(self._lives.find(ref))

    async def changes(self, ref: str) -> _Changes:
        """What a container has changed in its image. Raises NotFound."""
        return await self._copying.changes(self._lives.find(ref))

    async def commit(self, ref: str, wish: committing.Wish, config: Config | None, changes: _Names, *,
                     pause: bool = True) -> str:
        """The id of an image made of a container. Raises Invalid, NotFound, Conflict."""
        return await self._copying.commit(self._lives.find(ref), wish, config, changes, pause=pause)

    async def usage(self, ref: str) -> tuple[int, int]:
        """Bytes of the writable layer, and of everything."""
        record, snapshots = self._lives.record(ref), self._services.storage.snapshots
        mine = await asyncio.to_thread(snapshots.usage, record.id)
        return mine, await asyncio.to_thread(snapshots.size, record.id)

    def check_attach(self, ref: str) -> Container:
        """What may be said before the upgrade: NotFound; Conflict when it is paused or restarting."""
        live = self._lives.find(ref)
        self._attaching.check(live)
        return live.record

    async def attach(self, ref: str, options: AttachOptions, fd: int, residue: bytes) -> None:
        """Hand the client's connected socket `fd` (past the HTTP head) and the bytes already read from it to the
        container. Parked when it has not been started. Owns the fd, also when this raises. Returns at once, not when
        the stream ends."""
        try:
            live = self._lives.find(ref)
        except errors.WharfieError:
            os.close(fd)
            raise
        await self._attaching.attach(live, options, fd, residue)
