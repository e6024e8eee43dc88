"""The engine's end of one shim: requests with answers, events, and the news that the shim is gone. The loop reads the
socket itself: no thread and no task per container."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from wharfie.base import errors
from wharfie.shim import wire

Answer = tuple[dict[str, Any], dict[str, int]]
_BATCH = 32


class ShimGone(errors.Unavailable):
    """The shim has closed its socket or died."""


class Link:
    """One connection to a shim. `on_event` is called with each event message, `on_gone` once. `hello` is the shim's
    first message. The socket belongs to the link."""

    def __init__(
        self, sock: socket.socket, *, on_event: Callable[[Link, dict[str, Any]], None],
        on_gone: Callable[[Link], None], pidfd: int = -1,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._sock = sock
        self._on_event = on_event
        self._on_gone = on_gone
        self._n = 0
        self._pending: dict[int, asyncio.Future[Answer]] = {}
        self._unsent: deque[tuple[int, bytes, list[int]]] = deque()
        self._pidfd = -1
        self.hello: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self.gone = asyncio.Event()
        self.exit_seen = False
        self.why = ""  # it was killed, and for what
        self._loop.add_reader(sock.fileno(), self._readable)
        if pidfd >= 0:
            self.watch_process(pidfd)

    def watch_process(self, pidfd: int) -> None:
        """Take over the shim's pidfd: its end counts as gone even while some child holds the socket open."""
        if self.gone.is_set() or self._pidfd >= 0:
            os.close(pidfd)
            return
        self._pidfd = pidfd
        self._loop.add_reader(pidfd, self._died)

    async def request(
        self, op: str, fds: Iterable[int] = (), *, names: list[str] | None = None, **fields: Any
    ) -> Answer:
        """Ask and wait for the answer: its "ok" and its descriptors by name (the caller's to close). `fds` are
        duplicated by the kernel; the caller keeps its own. Raises what the shim's error means, or ShimGone."""
        if self.gone.is_set():
            raise ShimGone("the shim of this container is gone")
        self._n += 1
        message = wire.request(self._n, op, **fields)
        if names:
            message["fds"] = names
        data = wire.encode(message)
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._pending[self._n] = future
        held = [os.dup(fd) for fd in fds]  # the caller may close its own before a full socket takes the message
        self._unsent.append((self._n, data, held))
        self._flush()
        return await future

    def kill(self, why: str) -> None:
        """End a shim that does not answer, by its pidfd: `gone` follows, unless it is stuck in the kernel. Raises
        Unavailable when its pidfd is not known."""
        if self.gone.is_set():
            return
        if self._pidfd < 0:
            raise errors.Unavailable("the shim of this container does not answer, and its process is not known")
        self.why = self.why or why
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has just ended: the loop will hear of it

    @property
    def pid(self) -> int:
        """The shim's pid, 0 when it is not known or gone (pidfd_open(2): fdinfo)."""
        if self._pidfd < 0:
            return 0
        with open(f"/proc/self/fdinfo/{self._pidfd}", encoding="ascii") as file:
            return max(0, next((int(line.split()[1]) for line in file if line.startswith("Pid:")), 0))

    def close(self) -> None:
        """Drop the connection (the shim lives on). Pending requests end with ShimGone; on_gone is not called."""
        self._shut()

    def _flush(self) -> None:
        while self._unsent:
            n, data, fds = self._unsent[0]
            try:
                wire.send_bytes(self._sock, data, fds)
            except errors.Exhausted as error:
                self._fail(n, error)
            except BlockingIOError:
                self._loop.add_writer(self._sock.fileno(), self._writable)
                return
            except OSError:
                self._lost()
                return
            self._unsent.popleft()
            wire.close_all(fds)

    def _fail(self, n: int, error: errors.WharfieError) -> None:
        """A request that could not be sent, or whose answer could not be taken."""
        future = self._pending.pop(n, None)
        if future is not None and not future.done():
            future.set_exception(error)

    def _writable(self) -> None:
        self._loop.remove_writer(self._sock.fileno())
        self._flush()

    def _readable(self) -> None:
        for _ in range(_BATCH):
            if self.gone.is_set():
                return
            try:
                received = wire.recv(self._sock)
            except BlockingIOError:
                return
            except wire.Cut as cut:
                self._fail(cut.n, cut)
                continue
            except errors.Invalid:
                continue  # one bad message of a newer or broken peer; its request, if any, ends with the link
            except OSError:
                received = None
            if received is None:
                self._lost()
                return
            self._take(*received)

    def _take(self, message: dict[str, Any], fds: list[int]) -> None:
        if "event" in message:
            wire.close_all(fds)
            self._on_event(self, message)
            return
        if "hello" in message:
            wire.close_all(fds)
            if not self.hello.done():
                self.hello.set_result(message)
            return
        future = self._pending.pop(message.get("n", 0), None)
        if future is None or future.done():
            wire.close_all(fds)
            return
        try:
            named = wire.named(message, fds)
            try:
                future.set_result((wire.raise_for(message), named))
            except errors.WharfieError:
                wire.close_all(named.values())
                raise
        except errors.WharfieError as error:
            future.set_exception(error)

    def _died(self) -> None:
        """The process has ended: read what it still said, then it is gone."""
        self._loop.remove_reader(self._pidfd)
        self._readable()
        self._lost()

    def _lost(self) -> None:
        if not self.gone.is_set():
            self._shut()
            self._on_gone(self)

    def _shut(self) -> None:
        if self.gone.is_set():
            return
        self.gone.set()
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        for _, _, fds in self._unsent:
            wire.close_all(fds)
        self._unsent.clear()
        pending, self._pending = self._pending, {}
        for future in pending.values():
            if not future.done():
                future.set_exception(ShimGone("the shim of this container is gone"))
        if not self.hello.done():
            self.hello.set_exception(ShimGone("the shim of this container is gone"))
            self.hello.exception()  # nobody may be waiting for it
