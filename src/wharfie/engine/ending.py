"""Stop, kill, restart, pause: signals by way of the shim, and waiting for what they do. The lock is not held while
waiting, since the end itself needs it.

A shim answers in milliseconds. One that says nothing to SIGKILL for _SHIM_PATIENCE is stopped or stuck: it is killed
itself, and the undertaker ends its container. Other signals only fail: the container may be well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from wharfie.base import errors
from wharfie.shim import wire

from . import signals, states, told
from .link import Link, ShimGone
from .live import NEXT_EXIT, Live
from .model import WaitResult
from .services import Services

_KILL_PATIENCE = 30.0
_SHIM_PATIENCE = 5.0
_SIGKILL, _SIGTERM, _SIGCONT = 9, 15, 18


class ShimSilent(errors.Unavailable):
    """A shim that lives and does not answer."""


class Ending:
    """Ends processes of containers. `overrule` (Supervision.overrule) ends one past its shim."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.overrule: Callable[[Live, Link, str], Coroutine[Any, Any, None]] = _nobody

    async def stop(self, live: Live, *, timeout: int | None, signal: str) -> None:
        """Signal, wait, SIGKILL. Raises Unchanged when it does not run."""
        record = live.record
        wanted = signals.parse(signal) if signal else _stop_signal(live)
        if timeout is None:
            timeout = record.config.stop_timeout
        if timeout is None:
            timeout = self._services.settings.stop_timeout
        if await self._stop_restarting(live):
            return
        if not record.state.running:
            raise errors.Unchanged(f"container {live.id} is not running", name=live.id)
        ended = live.watch(NEXT_EXIT)  # before anything is awaited: it may be ending by itself right now
        try:
            await self._by_user(live)
            if not await self._ask_to_end(live, wanted, ended, float(timeout)):
                await self._kill(live)
                if not await _within(ended, _KILL_PATIENCE):
                    raise errors.Unavailable(f"container {live.id} does not end: its process may be stuck in the "
                                             "kernel (state D)", name=live.id)
        finally:
            ended.cancel()
        told.container(self._services.events, record, "stop")

    async def kill(self, live: Live, signal: str) -> None:
        """Raises Conflict with Docker's words when it does not run."""
        number = signals.parse(signal) if signal else _SIGKILL
        if number == _SIGKILL and await self._stop_restarting(live):
            return
        if not live.record.state.running or live.link is None:
            raise errors.Conflict(f"cannot kill container: {live.record.name}: container {live.id} is not running",
                                  name=live.id)
        ended = live.watch(NEXT_EXIT)  # as in stop
        try:
            if number in (_SIGKILL, _stop_signal(live)):
                await self._by_user(live)
            if number != _SIGKILL:
                await self._signal(live, number)
                return
            await self._kill(live)
            await _within(ended, _KILL_PATIENCE)
        finally:
            ended.cancel()

    async def pause(self, live: Live) -> None:
        async with live.lock:
            if live.record.state.paused:
                raise errors.Conflict(f"container {live.id} is already paused", name=live.id)
            link = live.need_link()
            states.check(live.record, states.PAUSED)
            await link.request(wire.PAUSE)
            if live.link is link and live.record.state.status == states.RUNNING:
                states.move(live.record, states.PAUSED)
                await self._services.records.note(live.record)
                told.container(self._services.events, live.record, "pause")

    async def unpause(self, live: Live) -> None:
        async with live.lock:
            if not live.record.state.paused:
                raise errors.Conflict(f"container {live.id} is not paused", name=live.id)
            await self._resume(live)

    async def _resume(self, live: Live) -> None:
        await live.need_link().request(wire.RESUME)
        if live.record.state.paused:
            states.move(live.record, states.RUNNING)
            await self._services.records.note(live.record)
            told.container(self._services.events, live.record, "unpause")

    async def _by_user(self, live: Live) -> None:
        """Remember that a user wanted the end, before it can come: no restart policy acts on it."""
        if not live.record.stopped_by_user:
            live.record.stopped_by_user = True
            await self._services.records.note(live.record)

    async def _stop_restarting(self, live: Live) -> bool:
        """End the wait of a restart policy. False when there was none."""
        if live.record.state.status != states.RESTARTING:
            return False
        async with live.lock:
            if live.record.state.status != states.RESTARTING:  # it has been started again meanwhile
                return False
            live.cancel_restart()
            live.record.stopped_by_user = True
            states.move(live.record, states.EXITED)
            await self._services.records.note(live.record)
            live.tell_ended()
        told.container(self._services.events, live.record, "stop")
        return True

    async def _ask_to_end(self, live: Live, number: int, ended: asyncio.Future[WaitResult], seconds: float) -> bool:
        """Send the stop signal; whether the end comes within `seconds` (negative: the process may take for ever, its
        shim may not)."""
        begin = asyncio.get_running_loop().time()
        try:
            await self._signal(live, number, patience=max(seconds, _SHIM_PATIENCE))
        except ShimSilent:
            return ended.done()
        spent = asyncio.get_running_loop().time() - begin
        return await _within(ended, seconds if seconds < 0 else max(0.0, seconds - spent))

    async def _kill(self, live: Live) -> None:
        """SIGKILL by the shim; past it when it does not answer."""
        link = live.link
        try:
            await self._signal(live, _SIGKILL)
        except ShimSilent:
            if link is not None and live.link is link:
                await self.overrule(live, link, f"its shim did not answer for {_SHIM_PATIENCE:.0f} s and was killed; "
                                    "the container was ended with it and its exit code is unknown")

    async def _signal(self, live: Live, number: int, patience: float = 0) -> None:
        """By the shim, which holds init's pidfd. A process that ended meanwhile is fine. A paused one must be let go,
        or it could not die. Raises ShimSilent."""
        link, patience = live.link, patience or _SHIM_PATIENCE
        if link is None:
            return
        try:
            async with asyncio.timeout(patience):
                await link.request(wire.SIGNAL, signal=number)
                told.container(self._services.events, live.record, "kill", signal=str(number))
                if live.record.state.paused and number in (_SIGKILL, _SIGTERM, _SIGCONT, _stop_signal(live)):
                    await self._resume(live)
        except (errors.Conflict, ShimGone):
            return
        except TimeoutError:
            raise ShimSilent(f"the shim of container {live.id} has not answered for {patience:.0f} s", name=live.id,
                             action="docker kill or docker rm -f ends the container past it") from None


def _stop_signal(live: Live) -> int:
    word = live.record.config.stop_signal
    return signals.parse(word) if word else _SIGTERM


async def _nobody(live: Live, link: Link, why: str) -> None:
    raise AssertionError("ending is not wired up")


async def _within(ended: asyncio.Future[WaitResult], seconds: float) -> bool:
    """Whether the end comes within `seconds` (negative: however long it takes)."""
    done, _ = await asyncio.wait([ended], timeout=None if seconds < 0 else seconds)
    return bool(done)
