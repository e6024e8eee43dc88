"""What follows from the end of a container's process: record it, give its network back, tell everybody, and decide
whether it is started again, removed, or left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from wharfie.base import errors, when
from wharfie.shim import wire

from . import restart_policy, rundir, states, told
from .link import Link
from .live import Background, Live
from .sandbox import Networking
from .services import Services
from .start import bury

UNKNOWN_CODE = 255
LOST = "the shim of this container was killed; its exit code is not known"
_SHIM_PATIENCE = 3.0
_DEATH_PATIENCE = 5.0


class Supervision:
    """Listens to shims. `again` starts a container once more, `removed` removes one that has AutoRemove, `exec_ended`
    hears of the ends of execs."""

    def __init__(self, services: Services, networking: Networking, background: Background) -> None:
        self._services = services
        self._networking = networking
        self._background = background
        self.again: Callable[[Live], Coroutine[Any, Any, None]] = _nobody
        self.remove: Callable[[Live], Coroutine[Any, Any, None]] = _nobody
        self.exec_ended: Callable[[Live, str, int], None] = lambda live, exec_id, code: None

    def on_event(self, live: Live, link: Link, message: dict[str, Any]) -> None:
        """One event of a shim."""
        kind = message["event"]
        if kind == wire.EVENT_EXIT:
            link.exit_seen = True
            self._background.spawn(self.ended(live, link, wire.Exit.from_dict(message)), f"end of {live.id}")
        elif kind == wire.EVENT_OOM:
            live.oom = True
            told.container(self._services.events, live.record, "oom")
        elif kind == wire.EVENT_EXEC_EXIT:
            self.exec_ended(live, str(message.get("id", "")), int(message.get("code", UNKNOWN_CODE)))
        elif kind == wire.EVENT_DETACH:
            exec_id = message.get("exec")
            more = {"execID": str(exec_id)} if exec_id else {}
            told.container(self._services.events, live.record, "exec_detach" if exec_id else "detach", **more)

    def on_gone(self, live: Live, link: Link) -> None:
        """A shim has died or closed: without an exit before that, its container has to be ended."""
        if not link.exit_seen:
            self._background.spawn(self._lost(live, link), f"lost shim of {live.id}")

    async def overrule(self, live: Live, link: Link, why: str) -> None:
        """Kill a shim that does not answer. Its container is ended as after any death of a shim, and `why` recorded;
        returns when that has begun. One that cannot even die (stuck in the kernel) is given up, and its container ended
        all the same. Raises Unavailable when its process is not known."""
        self._services.log(f"container {live.id}: {why}")
        link.kill(why)
        try:
            async with asyncio.timeout(_DEATH_PATIENCE):
                await link.gone.wait()
        except TimeoutError:
            doomed = link.pid
            link.close()  # whoever waits for an answer of it, with the lock in hand, hears that it is gone
            self._background.spawn(self._lost(live, link, doomed), f"stuck shim of {live.id}")

    async def _lost(self, live: Live, link: Link, doomed: int = 0) -> None:
        directory = self._services.run.container(live.id)
        async with live.lock:
            if live.link is not link:
                return
            # Keeps an exit record that is there, removes what the shim could not.
            await bury(self._services, directory, reason=link.why, doomed=doomed)
            found = await asyncio.to_thread(rundir.read_exit, directory)
            self._finish(live, link, found or wire.Exit(UNKNOWN_CODE, None, False, link.why or LOST, when.now()))
        self._follow(live)

    async def ended(self, live: Live, link: Link, exit: wire.Exit) -> None:
        """The process has ended, the record is on disk. A start that is still being recorded holds the lock; the event
        of a start that failed finds no link here and is dropped."""
        async with live.lock:
            if live.link is not link:
                return
            self._finish(live, link, exit)
        self._follow(live)

    def _finish(self, live: Live, link: Link | None, exit: wire.Exit) -> None:
        """With live.lock held: the bookkeeping of an end."""
        record, state = live.record, live.record.state
        live.link = None
        self._networking.disconnect(live)
        told.unmounted(self._services.events, record)
        state.exit_code, state.error = exit.code, exit.error
        state.oom_killed = exit.oom or live.oom
        state.finished_at, state.pid = exit.at or when.now(), 0
        ran = max(0, state.finished_at - state.started_at) / 1e9
        policy = record.host_config.restart_policy
        verdict = restart_policy.decide(
            policy, code=exit.code, stopped_by_user=record.stopped_by_user or live.keep, restarts=record.restart_count,
            ran=ran, backoff=live.backoff,
        )
        states.move(record, states.RESTARTING if verdict.again else states.EXITED)
        live.backoff = verdict.backoff
        for exec_id in list(live.execs):
            self.exec_ended(live, exec_id, 137)
        live.shim_left.clear()
        live.teardown = self._background.spawn(self._tear_down(live, link), f"teardown of {live.id}")
        self._services.records.save_soon(record)
        told.container(self._services.events, record, "die", exitCode=str(exit.code), execDuration=str(int(ran)))
        if verdict.again:
            live.restart_timer = asyncio.get_running_loop().call_later(verdict.wait, self._restart, live)
        live.tell_ended()

    async def settle(self, live: Live, exit: wire.Exit) -> None:
        """An end found at engine start, with no shim left."""
        async with live.lock:
            self._finish(live, None, exit)
        self._follow(live)

    def _follow(self, live: Live) -> None:
        record = live.record
        if record.state.status == states.EXITED and record.host_config.auto_remove and not live.keep:
            self._background.spawn(self.remove(live), f"auto-remove of {live.id}")

    async def _tear_down(self, live: Live, link: Link | None) -> None:
        """Wait until the shim has left, then remove its run directory. One that still serves a slow client leaves by
        itself later; nothing of the container is in its hands any more."""
        if link is not None:
            try:
                async with asyncio.timeout(_SHIM_PATIENCE):
                    await link.gone.wait()
            except TimeoutError:
                link.close()
        live.shim_left.set()
        try:
            await self._services.records.flush()  # from here on only the record knows how it ended
        except errors.WharfieError as error:
            if self._services.records.has(live.id):  # its directory has to tell, to the next start or the next engine
                self._services.log(f"the end of container {live.id} could not be recorded: {error}")
                return
        await asyncio.to_thread(rundir.remove, self._services.run.container(live.id))

    def _restart(self, live: Live) -> None:
        live.restart_timer = None
        self._background.spawn(self._start_again(live), f"restart of {live.id}")

    async def _start_again(self, live: Live) -> None:
        try:
            await self.again(live)
        except errors.WharfieError as error:
            self._services.log(f"container {live.id} could not be restarted: {error}")
            self._follow(live)


async def _nobody(live: Live) -> None:
    raise AssertionError("supervision is not wired up")
