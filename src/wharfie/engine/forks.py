"""The engine's end of the zygote: "fork me a shim here". When the zygote dies another is launched; shims live on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Any

from wharfie.base import errors
from wharfie.shim import wire

_LEAVE_PATIENCE = 2.0
_ANSWER_PATIENCE = 30.0
Launcher = Callable[[], wire.ZygoteLink]


class ZygoteLost(errors.Unavailable):
    """The zygote died with this request under way: it may or may not have forked."""


class Forks:
    """Asks the zygote. `launch` starts one (blocking; called in a thread)."""

    def __init__(self, launch: Launcher) -> None:
        self._launch = launch
        self._link: wire.ZygoteLink | None = None
        self._launching: asyncio.Task[wire.ZygoteLink] | None = None
        self._n = 0
        self._pending: dict[int, asyncio.Future[tuple[int, int]]] = {}

    async def start(self) -> wire.ZygoteLink:
        """The zygote, launched if there is none. Callers at the same time share one launch."""
        if self._link is not None:
            return self._link
        if self._launching is None:
            self._launching = asyncio.get_running_loop().create_task(self._launch_one())
        return await asyncio.shield(self._launching)

    async def _launch_one(self) -> wire.ZygoteLink:
        try:
            link = await asyncio.to_thread(self._launch)
            link.sock.setblocking(False)
            asyncio.get_running_loop().add_reader(link.fileno(), self._readable)
            self._link = link
            return link
        finally:
            self._launching = None

    async def fork(self, kind: str, directory: str, fds: Iterable[int] = (), **more: Any) -> tuple[int, int]:
        """A child of `kind` (wire.KIND_*) for a run directory: its pid and pidfd (the caller's to close). Raises
        ZygoteLost; what the zygote's error means; Unavailable when it says nothing at all."""
        link = await self.start()
        self._n += 1
        n = self._n
        future: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        self._pending[n] = future
        try:
            wire.send_bytes(link.sock, link.encode_fork(kind, n, directory, **more), fds)
        except BlockingIOError:
            del self._pending[n]
            raise errors.Unavailable("the zygote does not take requests", action="try again")
        except OSError:
            self._lost()
        try:
            async with asyncio.timeout(_ANSWER_PATIENCE):
                return await future
        except TimeoutError:
            raise errors.Unavailable(f"the zygote has not answered for {_ANSWER_PATIENCE:.0f} s") from None
        finally:
            self._pending.pop(n, None)

    async def close(self) -> None:
        """Let the zygote go, and wait until it has left (it leaves when its socket closes)."""
        link = self._link
        watched = os.dup(link.pidfd) if link is not None and link.pidfd >= 0 else -1
        self._lost()
        if watched >= 0:
            await ended(watched, _LEAVE_PATIENCE)

    def _readable(self) -> None:
        while self._link is not None:
            try:
                received = wire.recv(self._link.sock)
            except BlockingIOError:
                return
            except wire.Cut as cut:
                future = self._pending.pop(cut.n, None)
                if future is not None and not future.done():
                    future.set_exception(cut)
                continue
            except (OSError, errors.Invalid):
                received = None
            if received is None:
                self._lost()
                return
            self._take(*received)

    def _take(self, message: dict[str, object], fds: list[int]) -> None:
        n = message.get("n")
        future = self._pending.pop(n, None) if isinstance(n, int) else None
        if future is None or future.done():
            wire.close_all(fds)
            return
        pid = message.get("pid")
        if isinstance(pid, int) and fds:
            wire.close_all(fds[1:])
            future.set_result((pid, fds[0]))
            return
        wire.close_all(fds)
        try:
            wire.raise_for(message)
            raise errors.WharfieError("the zygote answered without a pid")
        except errors.WharfieError as error:
            future.set_exception(error)

    def _lost(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            asyncio.get_running_loop().remove_reader(link.fileno())
            link.close()
        pending, self._pending = self._pending, {}
        for future in pending.values():
            if not future.done():
                future.set_exception(ZygoteLost("the zygote died", action="try again"))


async def ended(pidfd: int, timeout: float) -> bool:
    """Wait until the process behind `pidfd` has ended; closes the fd. False after `timeout` seconds."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(pidfd, over.set)
    try:
        await asyncio.wait_for(over.wait(), timeout)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
    return True
