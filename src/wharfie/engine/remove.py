"""Remove: everything a container has on this host, in an order that a crash in between can be finished from."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from wharfie.base import errors

from . import rundir, states, told
from .ending import Ending
from .live import Live
from .services import Services

_ROUNDS = 5


class Removal:
    """Removes containers. `forget` drops one from the engine's memory; `users_of` names the containers that have a
    volume."""

    def __init__(
        self, services: Services, ending: Ending, *, forget: Callable[[Live], None],
        users_of: Callable[[str], list[str]],
    ) -> None:
        self._services = services
        self._ending = ending
        self._forget = forget
        self._users_of = users_of

    async def remove(self, live: Live, *, force: bool, volumes: bool) -> None:
        """See Containers.remove."""
        for _ in range(_ROUNDS):
            if not (force and live.record.state.running):  # else a verb may have the lock whose shim does not answer
                async with live.lock:
                    if not live.record.state.running:
                        return await self._remove(live, volumes=volumes)
            if not force:
                word = "paused" if live.record.state.paused else live.record.state.status
                raise errors.Conflict(
                    f'cannot remove container "/{live.record.name}": container is {word}: stop the container before '
                    "removing or force remove", name=live.id,
                )
            try:
                await self._ending.kill(live, "SIGKILL")
            except errors.Conflict:
                continue  # it ended by itself
        raise errors.Unavailable(f"container {live.id} does not end: its process may be stuck in the kernel (state D)",
                                 name=live.id)

    async def auto_remove(self, live: Live) -> None:
        """After the end of a container with --rm. Somebody may have been faster."""
        try:
            await self.remove(live, force=False, volumes=True)
        except (errors.Conflict, errors.NotFound):
            pass

    async def _remove(self, live: Live, *, volumes: bool) -> None:
        """With live.lock held and no process left."""
        record = live.record
        if not self._services.records.has(record.id):
            raise errors.NotFound(f"No such container: {record.id}", name=record.id)
        if record.state.status == states.REMOVING:
            raise errors.Conflict(f"removal of container {record.id} is already in progress", name=record.id)
        states.move(record, states.REMOVING)
        try:
            self._services.records.save_soon(record)
            if live.teardown is not None:
                await live.shim_left.wait()
            if not self._services.storage.snapshots.remove_bare(record.id):
                await asyncio.to_thread(self._services.storage.snapshots.remove, record.id)
            if volumes and record.anonymous:
                for name in await asyncio.to_thread(self._remove_volumes, record.id, record.anonymous):
                    told.volume(self._services.events, name, "destroy")
            await self._services.records.delete(record)
        except Exception as error:
            states.move(record, states.DEAD)
            record.state.error = str(error)
            await self._services.records.note(record)
            live.tell_ended()
            raise
        directory = self._services.run.container(record.id)
        if live.teardown is not None and live.teardown.done() and os.path.exists(directory.root):
            rundir.remove(directory)  # kept by a teardown that could not record the end
        live.drop_parked()
        self._forget(live)
        told.container(self._services.events, record, "destroy")
        live.tell_removed()

    def _remove_volumes(self, identifier: str, names: list[str]) -> list[str]:
        """The names of those that nobody else has, and that are gone now."""
        gone = []
        for name in names:
            users = [u for u in self._users_of(name) if u != identifier]
            try:
                self._services.volumes.remove(name, users, force=True)
                gone.append(name)
            except errors.Conflict:
                continue  # another container took it by --volumes-from
        return gone
