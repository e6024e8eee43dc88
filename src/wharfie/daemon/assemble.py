"""The one place that knows every room: makes the engine out of its parts, from the floor up."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

from wharfie.api import app, call
from wharfie.base import paths
from wharfie.engine import containers, forks, services
from wharfie.images import images
from wharfie.network import controller
from wharfie.shim import zygote
from wharfie.storage import database, store, volumes

from . import host
from .config import Config

Log = Callable[[str], None]


class House:
    """The assembled engine. `handler` is what the web server is given."""

    def __init__(self, config: Config, groups: host.Groups, log: Log) -> None:
        self._log = log
        data, run = paths.DataRoot(config.data_root), paths.RunRoot(config.exec_root)
        here = host.facts(groups)
        self._groups = groups
        self._state = database.Database(data.database)
        storage = store.Store(data)
        self._forks = forks.Forks(lambda: zygote.launch(run.root, cgroup_procs=groups.shim_files()))
        self._networks = controller.Controller(data.instance, config.network, self._state)
        local = volumes.Volumes(storage, self._state)
        self.images = images.Images(storage, self._state)
        self._parts = services.Services(
            data=data, run=run, state=self._state, storage=storage, volumes=local, images=self.images,
            networks=self._networks, forks=self._forks, read_file=host.read_file, host=here,
            settings=services.Settings(
                log_driver=config.log_driver, log_options=dict(config.log_options),
                ulimits=(*host.raise_open_files(), *config.ulimits),
                init=config.init, shm_size=config.shm_size, cgroup_base=groups.containers,
            ),
            log=log,
        )
        self.containers = containers.Containers(self._parts, config.network)
        own_warnings = host.shortcomings(here)
        for line in own_warnings:
            log(f"warning: {line}")
        if groups.why:
            own_warnings.insert(0, groups.why)
        self.handler = app.build(
            call.Services(
                containers=self.containers, execs=self.containers.execs, images=self.images, volumes=local,
                store=storage, networks=self._networks, events=self._parts.events,
                facts=lambda: host.info(config, here, data.instance, own_warnings + self._networks.warnings),
            ), log,
        )

    async def start(self) -> None:
        """Zygote, restore, networks, sweep. When this returns the API may listen."""
        link = await self._forks.start()
        if not link.sealed.startswith(("memfd", "tree")):
            self._log(f"warning: the interpreter of the shims is not sealed: {link.sealed}")
        await self.containers.restore()
        records = self._parts.records
        self._groups.sweep(records.has, self._log)
        tune()

    async def stop(self) -> None:
        """Leave everything that lives to itself; also after a start that has failed. A step that fails does not keep
        the next from being done."""
        self._groups.inhabited = self.containers.alive() > 0
        async with AsyncExitStack() as held:
            held.callback(self._state.close)
            held.push_async_callback(self._networks.close)
            held.push_async_callback(self._forks.close)
            held.push_async_callback(self.containers.close)


def directories(config: Config) -> None:
    """The roots. The data root is for nobody else (CVE-2021-41091); the run root lets the group reach the socket."""
    data, run = paths.DataRoot(config.data_root), paths.RunRoot(config.exec_root)
    for path, mode in (
        (data.root, 0o700), (data.containers, 0o700), (data.volumes, 0o700), (run.root, 0o711), (run.containers, 0o700),
        (run.seccomp, 0o700),
    ):
        os.makedirs(path, mode=mode, exist_ok=True)
        os.chmod(path, mode)


def tune() -> None:
    """What was made at start stays: take it out of the collector's sight, and let it run seldom. A full collection of
    the engine's modules costs more than a container's start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    # A worker thread that is done hands its result to the loop; with the usual 5 ms it would wait for its turn.
    sys.setswitchinterval(0.0005)
