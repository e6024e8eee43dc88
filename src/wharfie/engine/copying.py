"""Files of containers from outside: copies in and out, the whole tree, what has changed, and an image made of it.

Of a running container the shim gives its root by fd, with everything mounted on it; of a stopped one storage makes a
view. The walking itself is storage's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec

from wharfie.base import errors
from wharfie.images import committing
from wharfie.oci import digest
from wharfie.shim import wire
from wharfie.storage import copying, differences, view

from . import merge, states, told
from .ending import Ending
from .live import Live
from .model import Config
from .provision import Provision
from .services import Services

_NAMED = ("hosts", "hostname", "resolv.conf")
# The part of Docker's Config that an image keeps.
_IMAGE_KEYS = ("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal",
               "Healthcheck", "Shell", "OnBuild", "ArgsEscaped")


class Copying:
    """Works on a Live; who found it is Containers."""

    def __init__(self, services: Services, provision: Provision, ending: Ending) -> None:
        self._services = services
        self._provision = provision
        self._ending = ending

    async def source(self, live: Live, path: str) -> copying.Source:
        """What is at `path`, ready to be read; close it. Raises NotFound in Docker's words, Invalid."""
        seen = await self._view(live, write=False)
        with _Worded(live, path):
            return await asyncio.to_thread(copying.Source, seen, path)

    async def put(self, live: Live, path: str, stream: copying.Readable, *, keep_kinds: bool, chown: bool) -> None:
        """Unpack into a directory; `chown` gives everything to the container's user. Raises NotFound, Invalid,
        Denied (read-only), Damaged, Exhausted."""
        if live.link is not None and live.record.state.running:
            await self._put(live, path, stream, keep_kinds=keep_kinds, chown=chown)
        else:
            async with live.lock:  # it must not be started while its writable layer is mounted here
                await self._put(live, path, stream, keep_kinds=keep_kinds, chown=chown)
        told.container(self._services.events, live.record, "extract-to-dir")

    async def _put(self, live: Live, path: str, stream: copying.Readable, *, keep_kinds: bool, chown: bool) -> None:
        seen = await self._view(live, write=True)

        def work() -> None:
            with seen:
                copying.put(seen, path, stream, owner=self._owner(live, seen) if chown else None,
                            keep_kinds=keep_kinds)

        with _Worded(live, path):
            await asyncio.to_thread(work)

    def _owner(self, live: Live, seen: view.View) -> copying.Owner | None:
        """Everything to the user that the container runs as."""
        user = live.record.config.user
        if not user:
            return None
        found = self._provision.identity(live.record, seen.root, user)
        return lambda _uid, _gid: (found.uid, found.gid)

    async def export(self, live: Live) -> Iterator[bytes]:
        """The tar stream of the root file system, without what is mounted in it."""
        seen = await self._view(live, write=False)
        told.container(self._services.events, live.record, "export")
        return copying.export(seen)

    async def changes(self, live: Live) -> list[differences.Change]:
        """What the container has changed in its image."""
        rootfs = self._services.storage.snapshots.rootfs(live.id)
        return await asyncio.to_thread(differences.changes, rootfs)

    async def commit(self, live: Live, wish: committing.Wish, config: Config | None, changes: list[str], *,
                     pause: bool) -> str:
        """The id of an image of the container as it is. `wish` says names and words; its settings are made here, of
        `config` (None: the container's own), `changes`, and what the container has beyond. Raises Invalid, NotFound,
        Conflict."""
        record, services = live.record, self._services
        if record.state.status in (states.REMOVING, states.DEAD):
            raise errors.Conflict(f"You cannot commit container {record.id} which is {record.state.status}",
                                  name=record.id)
        committing.parse_name(wish.name)
        own = _settings(record.config)
        made = msgspec.convert(services.images.changed(own if config is None else _settings(config), changes), Config)
        merge.with_image(made, own)
        wish = wish.replace(
            settings=_settings(made), created_by=" ".join(record.config.cmd or []), container=record.id,
            container_config=_plain(record.config),
        )
        rootfs = services.storage.snapshots.rootfs(record.id, [digest.Digest.parse(d) for d in record.layers])
        frozen = pause and record.state.status == states.RUNNING
        if frozen:
            frozen = await self._freeze(live)
        try:
            layer = differences.layer(rootfs)
            image = await asyncio.to_thread(services.images.commit, record.image, layer, wish)
        finally:
            if frozen:
                await self._thaw(live)
        told.container(services.events, record, "commit", comment=wish.comment, imageID=str(image.id),
                       imageRef=wish.name)
        return str(image.id)

    async def _freeze(self, live: Live) -> bool:
        try:
            await self._ending.pause(live)
        except (errors.Conflict, errors.Unsupported):
            return False  # it has ended meanwhile, or this host has no cgroups
        return True

    async def _thaw(self, live: Live) -> None:
        try:
            await self._ending.unpause(live)
        except errors.Conflict:
            pass  # somebody was faster, or it was killed

    async def _view(self, live: Live, *, write: bool) -> view.View:
        record, services = live.record, self._services
        if live.link is not None and record.state.running:
            _, fds = await live.link.request(wire.ROOTFS)
            return view.View(fds["rootfs"])
        rootfs = services.storage.snapshots.rootfs(record.id)
        directory = services.data.container(record.id)
        mounts = [view.Mounted(f"/etc/{name}", f"{directory}/{name}") for name in _NAMED]
        mounts += [view.Mounted(m.destination, m.source, not m.rw) for m in record.mounts if m.type != "tmpfs"]
        return await asyncio.to_thread(view.stopped, rootfs, mounts, write=write,
                                       readonly=record.host_config.readonly_rootfs)


class _Worded:
    """Around work on a path of a container: "not there" in Docker's words."""

    def __init__(self, live: Live, path: str) -> None:
        self._live = live
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, errors.NotFound):
            raise errors.NotFound(f"Could not find the file {self._path} in container {self._live.record.name}",
                                  name=self._path) from error


def _plain(config: Config) -> dict[str, Any]:
    found = msgspec.to_builtins(config)
    assert isinstance(found, dict)
    return {key: value for key, value in found.items() if value is not None}


def _settings(config: Config) -> dict[str, Any]:
    """Docker's Config as images keep it: no null, nothing of one host."""
    return {key: value for key, value in _plain(config).items() if key in _IMAGE_KEYS and value not in (None, "")}
