"""A whole engine without its HTTP, in a child process with a network namespace of its own: for tests of the life of
containers. `inside(scenario)` runs an async function there and hands its failure back."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import signal
import socket
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable

from tests.hosts import IMAGE, busybox_files, tar_of
from wharfie.daemon import assemble, config, host
from wharfie.engine import model
from wharfie.kernel import cgroups, namespaces

Scenario = Callable[["Place"], Awaitable[None]]
_SECONDS = 150


class Place:
    """Throw-away roots; `open` starts an engine on them, `close` leaves as the daemon does."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.told: list[str] = []
        self.config, _ = config.load(["--data-root", f"{root}/data", "--exec-root", f"{root}/run"])
        self.house: assemble.House | None = None
        self.groups: host.Groups | None = None

    async def open(self) -> assemble.House:
        assemble.directories(self.config)
        if self.groups is None:  # an engine that is opened again stays where it is
            self.groups = host.groups(self.config, _instance(self.root))
        self.groups.make()
        self.house = assemble.House(self.config, self.groups, self.told.append)
        await self.house.start()
        return self.house

    async def close(self) -> None:
        if self.house is not None:
            await self.house.stop()
        self.house = None

    async def create(
        self, *argv: str, name: str = "", config: dict[str, object] | None = None, **fields: object
    ) -> str:
        """A container of the busybox image: its id. `fields` are those of HostConfig."""
        assert self.house is not None
        record, _ = await self.house.containers.create(
            model.Config(image=IMAGE, cmd=list(argv), **(config or {})),  # type: ignore[arg-type]
            model.HostConfig(**fields),
            model.NetworkingConfig(),
            name=name,
        )  # type: ignore[arg-type]
        return record.id

    async def run(self, *argv: str, **more: object) -> tuple[str, model.WaitResult]:
        """Create, start, wait."""
        assert self.house is not None
        identifier = await self.create(*argv, **more)  # type: ignore[arg-type]
        await self.house.containers.start(identifier)
        return identifier, await self.house.containers.wait(identifier)

    async def load(self) -> None:
        """The image, by the images room."""
        assert self.house is not None
        images = self.house.images
        await asyncio.to_thread(images.import_, io.BytesIO(tar_of(busybox_files())), IMAGE, [], "")

    async def nothing_in_run(self) -> None:
        """Wait until the last run directory has gone: the engine removes them behind its answers."""
        await eventually(lambda: not os.listdir(f"{self.root}/run/c"))


async def eventually(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait until it holds."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it never came true"
        await asyncio.sleep(0.01)


def inside(scenario: Scenario) -> None:
    """Run `scenario` in a child; raises AssertionError with its traceback when it failed."""
    root = tempfile.mkdtemp(prefix="we-", dir="/tmp")
    mine, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        mine.close()
        status = 1
        try:
            signal.alarm(_SECONDS)
            namespaces.unshare(namespaces.CLONE_NEWNET)
            asyncio.run(_play(scenario, root))
            status = 0
        except BaseException:
            theirs.sendall(traceback.format_exc().encode())
        finally:
            os._exit(status)
    theirs.close()
    said = b""
    while piece := mine.recv(65536):
        said += piece
    _, status = os.waitpid(pid, 0)
    mine.close()
    _clear(root)
    shutil.rmtree(root, ignore_errors=True)
    assert status == 0, f"status {status}:\n{said.decode(errors='replace')}"


def _instance(root: str) -> str:
    return "test" + os.path.basename(root)[-4:]


def _clear(root: str) -> None:
    """What an engine that could not leave (killed by its alarm, say) has left; nothing after a good end."""
    config_of, _ = config.load(["--data-root", f"{root}/data", "--exec-root", f"{root}/run"])
    groups = host.groups(config_of, _instance(root))
    whole = cgroups.Cgroup(groups.base, groups.layout)
    if whole.exists():
        whole.kill()
        whole.delete(patience=5.0)


async def _play(scenario: Scenario, root: str) -> None:
    place = Place(root)
    house = await place.open()
    await place.load()
    try:
        await scenario(place)
    finally:
        if place.house is None:
            house = await place.open()
        else:
            house = place.house
        for record in house.containers.list():
            await house.containers.remove(record.id, force=True, volumes=True)
        await place.close()
        if place.groups is not None:
            place.groups.leave()
