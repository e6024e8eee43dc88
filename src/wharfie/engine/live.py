"""What the engine holds of a container beside its record: its lock, its shim, who waits for it, who is attached early.

No lock is shared by two containers: one whose storage hangs keeps nobody else waiting.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Coroutine
from typing import Any

from wharfie.base import errors
from wharfie.network import model as network_model

from .link import Link
from .model import AttachOptions, Container, WaitResult

NOT_RUNNING, NEXT_EXIT, REMOVED = "not-running", "next-exit", "removed"


class Parked:
    """A client that attached before the start: its socket and what was already read from it."""

    def __init__(self, options: AttachOptions, fd: int, residue: bytes) -> None:
        self.options = options
        self.fd = fd
        self.residue = residue

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def has_left(self) -> bool:
        """Whether both directions are closed (a client that only ended its stdin has not left)."""
        poll = select.poll()
        poll.register(self.fd, 0)
        return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))


class Live:
    """One container of this engine. All of it is touched from the event loop only."""

    def __init__(self, record: Container) -> None:
        self.record = record
        self.lock = asyncio.Lock()
        self.link: Link | None = None
        self.teardown: asyncio.Task[None] | None = None  # after an end: the next start awaits it
        self.shim_left = asyncio.Event()  # set within the teardown: nothing holds the root file system any more
        self.endpoint: network_model.Endpoint | None = None
        self.parked: list[Parked] = []
        self.execs: set[str] = set()
        self.backoff = 0.0
        self.restart_timer: asyncio.TimerHandle | None = None
        self.oom = False
        self.keep = False  # a restart by the user is under way: AutoRemove has to wait
        self._watchers: list[tuple[str, asyncio.Future[WaitResult]]] = []

    @property
    def id(self) -> str:
        return self.record.id

    def watch(self, condition: str) -> asyncio.Future[WaitResult]:
        """A future for the end named by `condition`; done already when "not-running" holds."""
        if condition not in (NOT_RUNNING, NEXT_EXIT, REMOVED):
            raise errors.Invalid(f"invalid condition: {condition!r}", name=condition)
        future: asyncio.Future[WaitResult] = asyncio.get_running_loop().create_future()
        if condition == NOT_RUNNING and not self.record.state.running:
            future.set_result(self.result())
        else:
            self._watchers = [w for w in self._watchers if not w[1].done()]
            self._watchers.append((condition, future))
        return future

    def result(self) -> WaitResult:
        state = self.record.state
        return WaitResult(code=state.exit_code, error="")

    def tell_ended(self) -> None:
        """Wake those who wait for an end of the process."""
        self._tell((NOT_RUNNING, NEXT_EXIT))

    def tell_removed(self) -> None:
        """Wake everybody: there is nothing left to wait for."""
        self._tell((NOT_RUNNING, NEXT_EXIT, REMOVED))

    def _tell(self, conditions: tuple[str, ...]) -> None:
        kept = []
        for condition, future in self._watchers:
            if condition not in conditions:
                kept.append((condition, future))
            elif not future.done():
                future.set_result(self.result())
        self._watchers = kept

    def park(self, one: Parked) -> None:
        """Hold a client until the start; those who have left meanwhile are let go."""
        for gone in [p for p in self.parked if p.has_left()]:
            gone.close()
            self.parked.remove(gone)
        self.parked.append(one)

    def drop_parked(self) -> None:
        """End the streams of everybody who waits for a start that will not come."""
        for one in self.parked:
            one.close()
        self.parked.clear()

    def cancel_restart(self) -> bool:
        """Whether a restart was waiting for its time, and is not any more."""
        if self.restart_timer is None:
            return False
        self.restart_timer.cancel()
        self.restart_timer = None
        return True

    def need_link(self) -> Link:
        """The shim of a running container. Raises Conflict with Docker's words."""
        if self.link is None or not self.record.state.running or self.record.state.restarting:
            raise errors.Conflict(f"container {self.id} is not running", name=self.id)
        return self.link


class Background:
    """Tasks nobody awaits: kept from the garbage collector, their failures told to the log."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any], what: str) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work, name=what)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def drain(self, timeout: float) -> None:
        """Wait for what is under way."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            error = task.exception()
            self._log(f"{task.get_name()}: {type(error).__name__}: {error}")
