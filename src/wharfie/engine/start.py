"""Start: fork a shim, let it make the sandbox, give that a network, write the spec, let the process go.

Every step pushes its way back; a failure unwinds them all, so that nothing half-made remains, and is told in Docker's
words. The order is the order of base.points.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from wharfie.base import errors, paths, points, when
from wharfie.oci import digest
from wharfie.shim import wire

from . import rundir, states, told
from .attach import Attaching
from .forks import ZygoteLost, ended
from .link import Link, ShimGone
from .live import Live
from .model import Container
from .provision import Provision
from .sandbox import Networking
from .services import Services

_HELLO_PATIENCE = 15.0
_LEAVE_PATIENCE = 10.0
UNDERTAKER_PATIENCE = 20.0


class Starting:
    """Starts containers. `on_event` and `on_gone` are what a link calls with news of a running container."""

    def __init__(
        self, services: Services, provision: Provision, networking: Networking, attaching: Attaching, *,
        on_event: Callable[[Live, Link, dict[str, Any]], None], on_gone: Callable[[Live, Link], None],
    ) -> None:
        self._services = services
        self._provision = provision
        self._networking = networking
        self._attaching = attaching
        self._on_event = on_event
        self._on_gone = on_gone

    async def start(self, live: Live) -> None:
        """With live.lock held, and no shim of an earlier start left. On failure the record says why."""
        states.check(live.record, states.RUNNING)
        try:
            try:
                await self._attempt(live)
            except (ZygoteLost, ShimGone):
                await self._attempt(live)  # all was undone; a new zygote is launched by the next fork
        except Exception as error:
            told_error = explain(error, live.record)
            await self._failed(live, told_error)
            raise told_error from error

    async def _attempt(self, live: Live) -> None:
        services, record = self._services, live.record
        directory = services.run.container(record.id)
        async with AsyncExitStack() as undo:
            rundir.make(directory)  # a tmpfs: no thread
            undo.callback(rundir.remove, directory)
            points.reach("engine.start.directory")
            launch = self._launch(record)
            self._networking.reserve(live, undo)
            listeners, listener_fds = self._networking.listen(live, undo)
            rundir.write_launch(directory, launch, network_of(record))  # before there can be a cgroup to bury
            link = await self._fork(live, directory, undo)
            points.reach("engine.start.forked")
            _, fds = await link.request(wire.PREPARE, launch=launch.asdict())
            undo.callback(wire.close_all, fds.values())
            points.reach("engine.start.prepared")
            if _sets_up_interfaces(record):  # they have to be there
                await self._networking.connect(live, fds)
                await self._create(live, link, fds["rootfs"], directory)
            else:
                await _both(self._networking.connect(live, fds), self._create(live, link, fds["rootfs"], directory))
            points.reach("engine.start.networked")
            await self._attaching.unpark(live, link)
            said, started = await link.request(
                wire.START, listener_fds, names=[f"listener{i}" for i in range(len(listener_fds))], listeners=listeners,
            )
            wire.close_all(started.values())  # signals go through the shim
            points.reach("engine.start.started")
            self._started(live, link, said)
            undo.pop_all()
            wire.close_all([*fds.values(), *listener_fds])
        points.reach("engine.start.recorded")

    async def _create(self, live: Live, link: Link, rootfs: int, directory: paths.RunDirectory) -> None:
        """Write the spec, and let the shim make the process. Here, while the network's worker works: three small files
        of the data root are read. But a bind's source may lie on a file system that hangs."""
        if live.record.planned:
            spec = await asyncio.to_thread(self._provision.spec, live, rootfs)
        else:
            spec = self._provision.spec(live, rootfs)
        rundir.write_spec(directory, spec)
        points.reach("engine.start.spec")
        await link.request(wire.CREATE, spec=os.path.basename(directory.config))

    def _launch(self, record: Container) -> wire.Launch:
        services, config, host = self._services, record.config, record.host_config
        diff_ids = [digest.Digest.parse(d) for d in record.layers]
        rootfs = services.storage.snapshots.rootfs(record.id, diff_ids)
        height, width = host.console_size or (0, 0)
        cgroup = record.cgroup if services.settings.cgroup_base else ""  # made when this host had control groups
        return wire.Launch(
            id=record.id, name=record.name, hostname=self._provision.hostname(record), cgroup=cgroup,
            tty=config.tty, open_stdin=config.open_stdin, stdin_once=config.stdin_once, console_size=(height, width),
            log=wire.Log(driver=host.log_config.type, path=record.log_path, config=dict(host.log_config.config or {})),
            rootfs=rootfs.asdict(), namespaces=self._provision.namespaces(record),
            seccomp_dir=services.run.seccomp, stop_signal=config.stop_signal or "SIGTERM",
        )

    async def _fork(self, live: Live, directory: paths.RunDirectory, undo: AsyncExitStack) -> Link:
        """A shim of this container, and its way back: it is asked to leave, else buried."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        link = Link(mine, on_event=lambda link, m: self._on_event(live, link, m),
                    on_gone=lambda link: self._on_gone(live, link))
        undo.push_async_callback(self._abandon, link, directory)
        try:
            _, pidfd = await self._services.forks.fork(wire.KIND_SHIM, directory.root, [theirs.fileno()])
        finally:
            theirs.close()
        link.watch_process(pidfd)
        try:
            async with asyncio.timeout(_HELLO_PATIENCE):
                await link.hello
        except TimeoutError:
            raise errors.Unavailable(f"the shim of container {live.id} does not answer")
        return link

    async def _abandon(self, link: Link, directory: paths.RunDirectory) -> None:
        """Undo of a fork: no process, mount, cgroup of this start remains."""
        in_order = False
        try:
            if link.hello.done() and not link.gone.is_set():
                await asyncio.wait_for(_send_away(link), _LEAVE_PATIENCE)
                await asyncio.wait_for(link.gone.wait(), _LEAVE_PATIENCE)
                in_order = True
        except (errors.WharfieError, TimeoutError):
            in_order = link.exit_seen and link.gone.is_set()
        link.close()
        if not in_order:
            await bury(self._services, directory)

    def _started(self, live: Live, link: Link, said: dict[str, Any]) -> None:
        record = live.record
        states.move(record, states.RUNNING)
        state = record.state
        state.pid, state.start_time = int(said.get("pid", 0)), int(said.get("start_time", 0))
        state.started_at = int(said.get("started_at") or when.now())
        state.error, state.exit_code, state.oom_killed = "", 0, False
        record.stopped_by_user = False
        live.link, live.oom = link, False
        self._services.records.save_soon(record)
        told.mounted(self._services.events, record)
        self._networking.tell_connected(live)
        told.container(self._services.events, record, "start")

    async def _failed(self, live: Live, error: errors.WharfieError) -> None:
        """Record why, with Docker's exit codes; a container that never ran stays "created"."""
        record, state = live.record, live.record.state
        code = {errors.NoCommand.kind: 127, errors.NotExecutable.kind: 126}.get(error.kind, 128)
        state.error, state.exit_code, state.pid = str(error), code, 0
        if state.status != states.CREATED:
            state.status, state.finished_at = states.EXITED, when.now()
        live.drop_parked()
        live.tell_ended()
        await self._services.records.note(record)


def _sets_up_interfaces(record: Container) -> bool:
    """Whether the user sets kernel parameters that the container's interfaces have (net.ipv4.conf.eth0.*), or that
    change what they may be given."""
    return any(name.startswith(("net.", "net/")) for name in record.host_config.sysctls or {})


async def _both(*work: Awaitable[object]) -> None:
    """Do several things at once, each to its end (they hold descriptors); then raise the first error."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def _send_away(link: Link) -> None:
    """End what a shim holds, and the shim."""
    try:
        await link.request(wire.SIGNAL, signal=9)  # there is a process only when all went well but the last step
    except errors.Conflict:
        pass
    await link.request(wire.BYE)


async def bury(services: Services, directory: paths.RunDirectory, **more: Any) -> None:
    """Let an undertaker end what a dead shim left: it kills the tree, writes an exit record when there is none, removes
    the cgroup; `more` is for shim.undertaker.run. Returns when it is done. Raises what the zygote says."""
    for last in (False, True):
        try:
            _, pidfd = await services.forks.fork(wire.KIND_UNDERTAKER, directory.root, **more)
            break
        except ZygoteLost:
            if last:
                raise
    if not await ended(pidfd, UNDERTAKER_PATIENCE):
        services.log(f"the undertaker of {directory.root} takes longer than {UNDERTAKER_PATIENCE:.0f} s")


def network_of(record: Container) -> dict[str, Any]:
    """What an engine that is killed before it has recorded the start needs to adopt the container's network."""
    return {"endpoint": record.endpoint, "published": record.published,
            "endpoints": msgspec.to_builtins(record.endpoints), "ports": msgspec.to_builtins(record.ports)}


def explain(error: Exception, record: Container) -> errors.WharfieError:
    """An error of a start in Docker's words, its meaning kept."""
    if isinstance(error, (errors.NoCommand, errors.NotExecutable)):
        text = f"failed to create task for container: unable to start container process: {error.message}"
        return type(error)(text, name=record.id)
    if isinstance(error, errors.WharfieError):
        return error
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return errors.WharfieError(f"failed to start container {record.id}:{where} {error.strerror}", name=record.id)
    return errors.WharfieError(f"failed to start container {record.id}: {type(error).__name__}: {error}")
