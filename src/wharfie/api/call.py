"""One API call on its way through a resource's handler, and what every resource may reach."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from wharfie.web import request as web
from wharfie.web import response

if TYPE_CHECKING:
    from wharfie.engine import containers, events, execs
    from wharfie.images import images
    from wharfie.network import controller
    from wharfie.storage import store, volumes


class Services:
    """What the API speaks to. `facts` gives what the engine knows about itself and its host in the names of
    Docker's /info (ID, Name, DockerRootDir, CgroupDriver, Warnings, ...); counts and constants are added here."""

    def __init__(
        self, *, containers: containers.Containers, execs: execs.Execs, images: images.Images,
        volumes: volumes.Volumes, networks: controller.Controller, events: events.Events, store: store.Store,
        facts: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self.containers = containers
        self.execs = execs
        self.images = images
        self.volumes = volumes
        self.networks = networks
        self.events = events
        self.store = store
        self.facts = facts


class Call:
    """A request, the API version it speaks (the minor number), and the thing its path names."""

    __slots__ = ("name", "request", "services", "version")

    def __init__(self, services: Services, request: web.Request, version: int, name: str) -> None:
        self.services = services
        self.request = request
        self.version = version
        self.name = name


Handler = Callable[[Call], Awaitable[response.Response]]
