"""Whom the engine works with, handed in by daemon/assemble: the rooms below, and what only the daemon can know."""

from __future__ import annotations

from collections.abc import Callable

from wharfie.base import paths
from wharfie.images import images
from wharfie.network import controller
from wharfie.storage import database, store, volumes

from . import resources
from .events import Events
from .forks import Forks
from .model import Ulimit
from .records import Records


class Settings:
    """What the daemon's flags say about containers."""

    def __init__(
        self, *, log_driver: str = "json-file", log_options: dict[str, str] | None = None,
        ulimits: tuple[Ulimit, ...] = (), init: bool = False, shm_size: int = 64 << 20,
        cgroup_base: str = "/wharfie/containers", stop_timeout: int = 10,
    ) -> None:
        self.log_driver = log_driver
        self.log_options = dict(log_options or {})
        self.ulimits = ulimits
        self.init = init
        self.shm_size = shm_size
        self.cgroup_base = cgroup_base
        self.stop_timeout = stop_timeout


class Services:
    """One engine's collaborators. `read_file(rootfs fd, path, limit)` reads a file of a container by a walk that stays
    inside ("" bytes when there is none); `log` takes one line for the administrator."""

    def __init__(
        self, *, data: paths.DataRoot, run: paths.RunRoot, state: database.Database, storage: store.Store,
        volumes: volumes.Volumes, images: images.Images, networks: controller.Controller, forks: Forks,
        read_file: Callable[[int, str, int], bytes], host: resources.Host, settings: Settings,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.data = data
        self.run = run
        self.state = state
        self.storage = storage
        self.volumes = volumes
        self.images = images
        self.networks = networks
        self.forks = forks
        self.read_file = read_file
        self.host = host
        self.settings = settings
        self.log = log
        self.records = Records(state, log)
        self.events = Events(state)
