"""Create: check everything, then make the writable layer, the volumes and the record; or nothing at all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from wharfie.base import errors, ids, points, when
from wharfie.images import image as image_values
from wharfie.oci import digest
from wharfie.oci import platform as platforms

from . import checks, merge, mounts, names, told
from .model import Config, Container, HostConfig, LogConfig, MountPoint, NetworkingConfig
from .services import Services


class Creation:
    """Makes containers. `find` looks another container up (VolumesFrom, namespaces to join)."""

    def __init__(self, services: Services, find: Callable[[str], Container]) -> None:
        self._services = services
        self._find = find

    async def create(
        self, config: Config, host: HostConfig, networking: NetworkingConfig, *, name: str, platform: str
    ) -> tuple[Container, list[str]]:
        """See Containers.create."""
        services = self._services
        self._complete(config, host)
        warnings = checks.check(config, host, networking, services.host)
        _check_networks(host, networking)
        image = await self._image(config.image, platform)
        config.env = config.env or []
        had_health = config.healthcheck
        merge.with_image(config, _image_config(image))
        if config.healthcheck is not None and had_health is None and config.healthcheck.test not in (None, ["NONE"]):
            warnings.append("the image's HEALTHCHECK is not run by this engine yet")
        self._check_joined(host)
        record = self._record(config, host, networking, image, name, platform)
        planned = mounts.plan(config, host, self._volumes_from(host))
        points.reach("engine.create.checked")
        async with AsyncExitStack() as undo:
            services.records.take_name(record.name, record.id)
            undo.callback(services.records.free_name, record.name, record.id)
            undo.push_async_callback(asyncio.to_thread, services.storage.snapshots.remove, record.id)
            if planned:
                new = await asyncio.to_thread(self._make_storage, record, planned, image.config.diff_ids, undo)
            else:
                new = self._make_storage(record, planned, image.config.diff_ids, undo)  # four names: no thread for that
            await services.records.add(record)
            undo.pop_all()
        points.reach("engine.create.recorded")
        for volume in new:
            told.volume(services.events, volume, "create")
        told.container(services.events, record, "create")
        return record, warnings

    def _complete(self, config: Config, host: HostConfig) -> None:
        """Fill in the engine's own defaults, and the spellings that mean the same."""
        settings = self._services.settings
        if host.network_mode in ("", "default"):
            host.network_mode = "none" if config.network_disabled else "bridge"
        if not host.log_config.type:
            host.log_config = LogConfig(type=settings.log_driver, config={**settings.log_options,
                                                                          **(host.log_config.config or {})})
        host.ipc_mode = host.ipc_mode or "private"
        host.cgroupns_mode = host.cgroupns_mode or "private"
        host.runtime = host.runtime or "wharfie"
        host.restart_policy.name = host.restart_policy.name or "no"
        host.shm_size = host.shm_size or settings.shm_size

    async def _image(self, ref: str, platform: str) -> image_values.Image:
        if not ref:
            raise errors.Invalid("no image specified")
        try:
            image = self._services.images.get(ref, make=False)  # a look into the database: no thread for that
        except errors.NotFound:
            image = await asyncio.to_thread(self._services.images.get, ref)
        wanted = platforms.Platform.parse(platform) if platform else None
        have = image.config.platform
        if wanted is not None and not wanted.accepts(have):
            raise errors.NotFound(f"image with reference {ref} was found but does not match the specified platform: "
                                  f"wanted {wanted}, actual: {have}", name=ref)
        return image

    def _volumes_from(self, host: HostConfig) -> list[tuple[Container, bool]]:
        return [(self._other(ref), readonly) for ref, readonly in mounts.parse_volumes_from(host.volumes_from or [])]

    def _other(self, ref: str) -> Container:
        """Another container that this one refers to. Raises Invalid: a 404 of create means the image to clients."""
        try:
            return self._find(ref)
        except errors.NotFound as error:
            raise errors.Invalid(error.message, name=ref) from error

    def _check_joined(self, host: HostConfig) -> None:
        """Namespaces of other containers: by id from now on, since names change. Raises Invalid, Unsupported."""
        for attribute in ("network_mode", "pid_mode", "ipc_mode"):
            kind, sign, ref = getattr(host, attribute).partition(":")
            if kind == "container" and sign:
                if attribute == "ipc_mode":
                    raise errors.Unsupported("HostConfig.IpcMode: joining another container's IPC namespace is not "
                                             "supported by this engine yet", action="use shareable, private or host")
                setattr(host, attribute, f"container:{self._other(ref).id}")

    def _record(
        self, config: Config, host: HostConfig, networking: NetworkingConfig, image: image_values.Image, name: str,
        platform: str,
    ) -> Container:
        services = self._services
        identifier = ids.new()
        name = name.removeprefix("/")
        if name:
            ids.check_name(name)
        if not config.hostname and host.uts_mode != "host" and not host.network_mode.startswith("container:"):
            config.hostname = os.uname().nodename if host.network_mode == "host" else ids.short(identifier)
        path, args = merge.command(config)
        parent = host.cgroup_parent.strip("/")
        base = f"/{parent}" if parent else services.settings.cgroup_base
        return Container(
            id=identifier, name=name or names.make(services.records.has_name), created=when.now(), path=path, args=args,
            image=str(image.id), image_name=config.image, platform=image.config.platform.os, config=config,
            host_config=host, networking=networking, layers=[str(d) for d in image.config.diff_ids],
            log_path=services.data.log(identifier) if host.log_config.type == "json-file" else "",
            cgroup=f"{base}/{identifier}" if base else "",
        )

    def _make_storage(
        self, record: Container, planned: list[mounts.Planned], diff_ids: Sequence[digest.Digest], undo: AsyncExitStack
    ) -> list[str]:
        """Blocks: the writable layer; volumes made on use and filled from the image; missing bind sources made as
        Docker does. The names of the volumes that are new."""
        new = []
        rootfs = self._services.storage.snapshots.prepare(record.id, diff_ids)
        points.reach("engine.create.snapshot")
        for one in planned:
            if one.kind == mounts.VOLUME:
                is_new = not one.source or not self._services.volumes.has(one.source)
                one = self._make_volume(record, one, rootfs, undo)
                new += [one.source] if is_new else []
            elif one.kind == mounts.BIND:
                _check_source(one)
            record.planned.append(one.asdict())
            record.mounts.append(_mount_point(one, self._services.volumes))
        points.reach("engine.create.volumes")
        return new

    def _make_volume(
        self, record: Container, one: mounts.Planned, rootfs: Any, undo: AsyncExitStack
    ) -> mounts.Planned:
        volumes = self._services.volumes
        try:
            volume = volumes.create(one.source, one.driver, dict(one.labels), dict(one.driver_options))
        except errors.NotFound as error:  # the driver; a 404 of create means the image to clients
            raise errors.Invalid(error.message, name=one.driver, action=error.action) from error
        if not one.source:
            undo.callback(volumes.remove, volume.name, force=True)
        if not one.source or one.anonymous:
            record.anonymous.append(volume.name)
        if one.copy:
            volumes.copy_up(volume, rootfs, one.destination)
        return one.replace(source=volume.name)


def _check_networks(host: HostConfig, networking: NetworkingConfig) -> None:
    """Only the network of NetworkMode can be joined yet."""
    kind = host.network_mode.partition(":")[0]
    if kind not in ("bridge", "host", "none", "container"):
        # Not NotFound: clients take a 404 of create for a missing image, and pull.
        raise errors.Invalid(f"network {host.network_mode} not found", name=host.network_mode,
                             action="user-defined networks come later; bridge, host, none and container:ID exist")
    for name in networking.endpoints_config or {}:
        if name not in (host.network_mode, "default"):
            raise errors.Unsupported(f"NetworkingConfig.EndpointsConfig: network {name} cannot be joined beside "
                                     f"{host.network_mode} by this engine yet", name=name)


def _check_source(one: mounts.Planned) -> None:
    if os.path.lexists(one.source) and os.path.exists(one.source):
        return
    if not one.create:
        raise errors.Invalid(f'invalid mount config for type "bind": bind source path does not exist: {one.source}',
                             name=one.source)
    try:
        os.makedirs(one.source, 0o755, exist_ok=True)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise errors.Invalid(f"error while creating mount source path '{one.source}': mkdir {one.source}: {why}",
                             name=one.source) from error


def _mount_point(one: mounts.Planned, volumes: Any) -> MountPoint:
    if one.kind == mounts.VOLUME:
        return MountPoint(type="volume", name=one.source, source=volumes.path(one.source), destination=one.destination,
                          driver=one.driver, mode=one.mode, rw=not one.readonly, propagation="")
    return MountPoint(type=one.kind, source=one.source, destination=one.destination, mode=one.mode,
                      rw=not one.readonly, propagation=one.propagation if one.kind == mounts.BIND else "")


def _image_config(image: Any) -> dict[str, Any]:
    """The "config" object of the image's document."""
    found = image.config.raw.get("config")
    return found if isinstance(found, dict) else {}
