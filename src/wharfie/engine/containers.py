"""The verbs of containers."""

from __future__ import annotations

import asyncio
from typing import Any

from .model import AttachOptions, Config, Container, HostConfig, NetworkingConfig, WaitResult


class Containers:
    """All containers of this engine. Every `ref` is a full id, a unique id prefix or a name; NotFound otherwise."""

    async def create(
        self, config: Config, host_config: HostConfig, networking: NetworkingConfig, *, name: str = "",
        platform: str = "",
    ) -> tuple[Container, list[str]]:
        """A new container and warnings. Raises Invalid, Unsupported, Conflict (name in use), NotFound (image)."""
        raise NotImplementedError

    def get(self, ref: str) -> Container:
        """Raises NotFound "No such container: x", Invalid for an ambiguous prefix."""
        raise NotImplementedError

    def list(self) -> list[Container]:
        """All, newest first."""
        raise NotImplementedError

    async def start(self, ref: str) -> None:
        """Raises Unchanged when it runs already (HTTP 304), NoCommand, NotExecutable, Conflict."""
        raise NotImplementedError

    async def stop(self, ref: str, *, timeout: int | None = None, signal: str = "") -> None:
        """`timeout` in seconds, -1 waits for ever. Raises Unchanged when it does not run (304)."""
        raise NotImplementedError

    async def kill(self, ref: str, signal: str = "") -> None:
        raise NotImplementedError

    async def restart(self, ref: str, *, timeout: int | None = None, signal: str = "") -> None:
        raise NotImplementedError

    def watch(self, ref: str, condition: str = "not-running") -> asyncio.Future[WaitResult]:
        """Subscribed when this returns, so that headers can go out before the container is started. Conditions
        not-running, next-exit, removed. Cancel the future to stop waiting."""
        raise NotImplementedError

    async def wait(self, ref: str, condition: str = "not-running") -> WaitResult:
        return await self.watch(ref, condition)

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> None:
        raise NotImplementedError

    async def rename(self, ref: str, new: str) -> None:
        raise NotImplementedError

    async def resize(self, ref: str, *, height: int, width: int) -> None:
        raise NotImplementedError

    async def pause(self, ref: str) -> None:
        raise NotImplementedError

    async def unpause(self, ref: str) -> None:
        raise NotImplementedError

    async def top(self, ref: str, args: str = "-ef") -> dict[str, Any]:
        """{"Titles": [...], "Processes": [[...]]}"""
        raise NotImplementedError

    async def stats(self, ref: str) -> dict[str, Any]:
        """Raw cgroup numbers of one instant, as the shim gives them."""
        raise NotImplementedError

    async def attach(self, ref: str, options: AttachOptions, fd: int, residue: bytes) -> None:
        """Hand the client's connected socket `fd` (past the HTTP head) and the bytes already read from it to the
        container. Parked when it has not been started. On success the fd belongs to the engine (closed here); when
        this raises it still belongs to the caller. Returns at once, not when the stream ends."""
        raise NotImplementedError

    def check_attach(self, ref: str) -> Container:
        """What may be said before the upgrade: NotFound; Conflict when it is paused or restarting."""
        raise NotImplementedError
