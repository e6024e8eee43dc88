"""One connection: an asyncio BufferedProtocol that reads heads, runs one handler at a time, and feeds it the body.

    bytes ─▶ _held ─▶ head? ─▶ task: handler(request) ─▶ response ─▶ transport
                 ▲                 │ request.stream()
                 └── body.take ◀───┘

Reading goes on while a handler runs: that is how a client's leaving is noticed. It pauses when more than _HIGH bytes
are held (a slow handler, or a flood of pipelined requests). All connections of a server share one receive buffer: the
loop calls get_buffer and buffer_updated back to back.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import cast

from . import heads, reply
from .request import Disconnected, Peer, Refused, Request
from .response import Hijack, Json, Response

Handler = Callable[[Request], Awaitable[Response]]

_HIGH = 1 << 20
_BUFFER = 256 << 10
_HEAD_SECONDS = 60.0
_LINGER_SECONDS = 0.5
_DRAIN_LIMIT = 256 << 10


class Shared:
    """What all connections of one server share."""

    def __init__(self, handler: Handler, log: Callable[..., None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.handler = handler
        self.log = log
        self.buffer = bytearray(_BUFFER)
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.closing = False


class Connection(asyncio.BufferedProtocol):
    """See the module."""

    def __init__(self, server: Shared) -> None:
        self._server = server
        self._loop = server.loop
        self._held = bytearray()
        self._scanned = 0
        self._head: heads.Head | None = None
        self._request: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._streaming = False
        self._eof = False
        self._lost = False
        self._lingering = False
        self._paused_reading = False
        self._more: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._must_wait = False
        self._timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)

    # asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=256 << 10)
        self._server.connections.add(self)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._server.buffer

    def buffer_updated(self, count: int) -> None:
        if self._lingering:
            return
        with memoryview(self._server.buffer) as view:
            self._held += view[:count]
        if self._task is None:
            self._next()
            return
        if len(self._held) > _HIGH and not self._paused_reading:
            self._paused_reading = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._eof = True
        if self._task is None:
            return False
        self._gone()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        self._eof = True
        self._server.connections.discard(self)
        self._disarm()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._gone()

    def pause_writing(self) -> None:
        self._must_wait = True

    def resume_writing(self) -> None:
        self._must_wait = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # reading

    def _gone(self) -> None:
        if self._request is not None:
            self._request.disconnected.set()
        if self._streaming and self._task is not None:
            # once: a second cancel would cut the iterator's own cleaning up short
            self._streaming = False
            self._task.cancel()
        self._wake()

    def _wake(self) -> None:
        if self._more is not None and not self._more.done():
            self._more.set_result(None)

    def _next(self) -> None:
        """Start the handler of the next request, if its head is whole."""
        held = self._held
        while held[:2] == b"\r\n":
            del held[:2]
        if not held:
            return
        try:
            end = heads.find_end(held, self._scanned)
            if end < 0:
                self._scanned = len(held)
                if self._timer is None:
                    self._timer = self._loop.call_later(_HEAD_SECONDS, self._too_slow)
                return
            head = heads.parse(bytes(held[:end]))
        except Refused as error:
            self._refuse(error)
            return
        del held[:end]
        self._scanned = 0
        self._disarm()
        self._head = head
        request = Request(
            head.method, head.target, head.headers, self, version=head.version, peer=self.peer
        )
        self._request = request
        self._task = self._loop.create_task(self._serve(request, head))
        # the loop itself holds tasks weakly, and a hijacked connection is no longer in `connections`
        self._server.tasks.add(self._task)
        self._task.add_done_callback(self._server.tasks.discard)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._refuse(Refused("request head took too long", 408))

    def _refuse(self, error: Refused) -> None:
        answer = Json({"message": error.message}, error.status)
        self.transport.write(reply.head(answer, len(answer.data), keep_alive=False) + answer.data)
        self.linger()

    async def chunk(self) -> bytes:
        """`request.Feed`."""
        head = self._head
        if head is None:
            return b""
        while not (payload := head.body.take(self._held)):
            if head.body.done:
                return b""
            if self._eof:
                raise Disconnected("the client left in the middle of its request")
            if head.expects_continue:
                head.expects_continue = False
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await self._wait_for_more()
        self._resume()
        return payload

    async def _wait_for_more(self) -> None:
        self._resume()
        self._more = self._loop.create_future()
        try:
            await self._more
        finally:
            self._more = None

    def _resume(self) -> None:
        if self._paused_reading and len(self._held) <= _HIGH and not self._lost:
            self._paused_reading = False
            self.transport.resume_reading()

    def peer(self) -> Peer:
        """Who is at the other end."""
        sock = self.transport.get_extra_info("socket")
        if sock is None:
            return Peer("closed")
        if sock.family == socket.AF_UNIX:
            pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return Peer("unix", "", pid, uid)
        name = self.transport.get_extra_info("peername") or ("", 0)
        return Peer("tcp", f"{name[0]}:{name[1]}")

    # answering

    async def _serve(self, request: Request, head: heads.Head) -> None:
        """One request from handler to the last byte of its answer."""
        keep = False
        try:
            answer = await self._answer(request)
            if isinstance(answer, Hijack):
                await self._drain_body(head)
                await self._hijack(answer, head)
                return
            keep = head.keep_alive and not self._eof and self._can_drain(head) and not self._server.closing
            keep = await reply.send(self, answer, head, keep)
            if keep:
                await self._drain_body(head)
        except asyncio.CancelledError:
            if not self._eof:
                raise
            keep = False
        except (Disconnected, ConnectionError, Refused):
            keep = False
        except Exception:
            self._server.log(f"{request!r}: the answer could not be sent", exc_info=True)
            keep = False
            self.transport.abort()
        finally:
            self._task = self._request = self._head = None
            self._streaming = False
            if not keep and not self._lost:
                self.linger()
        if not self._lost:
            self._resume()
            if self._eof:
                self.transport.close()
            else:
                self._next()

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._server.handler(request)
        except Refused as error:
            return Json({"message": error.message}, error.status)
        except Disconnected:
            raise
        except Exception as error:
            self._server.log(f"{request!r}: the handler failed", exc_info=True)
            return Json({"message": f"internal error: {type(error).__name__}: {error}"}, 500)

    def _can_drain(self, head: heads.Head) -> bool:
        """Whether what is left of the body is worth reading only to keep the connection."""
        body = head.body
        return body.done or (not head.expects_continue and 0 <= body.left <= _DRAIN_LIMIT)

    async def _drain_body(self, head: heads.Head) -> None:
        left = _DRAIN_LIMIT
        while not head.body.done and (piece := await self.chunk()):
            left -= len(piece)
            if left < 0:
                raise Refused("request body is too large", 413)

    async def write(self, data: bytes) -> None:
        """Write and wait while the client is behind. Raises ConnectionResetError when it is gone."""
        if self._lost:
            raise ConnectionResetError("the client has gone")
        self.transport.write(data)
        if self._must_wait:
            await self.drained()

    async def drained(self) -> None:
        """Until the transport takes more."""
        while self._must_wait and not self._lost:
            self._writable = self._loop.create_future()
            await self._writable
        if self._lost:
            raise ConnectionResetError("the client has gone")

    def streaming(self) -> bool:
        """From here on the client's leaving cancels the task. False when it has left already."""
        self._streaming = True
        return not self._eof

    def linger(self) -> None:
        """Close for good, giving the client a moment to read the answer: closing with unread bytes makes a reset
        that may overtake it."""
        if self._lost or self._lingering:
            return
        self._lingering = True
        self._disarm()
        self._held.clear()
        if self._eof or not self.transport.can_write_eof():
            self.transport.close()
            return
        try:
            self.transport.write_eof()
        except OSError:
            self.transport.abort()
            return
        if self._paused_reading:
            self.transport.resume_reading()
        self._loop.call_later(_LINGER_SECONDS, self.transport.close)

    def close_if_idle(self) -> None:
        """For the server's shutdown."""
        if self._task is None:
            self.transport.close()

    @property
    def busy(self) -> bool:
        return self._task is not None

    async def _hijack(self, answer: Hijack, head: heads.Head) -> None:
        """Leave HTTP: flush, duplicate the socket, take the early bytes, let go of the transport, hand over."""
        sock = self.transport.get_extra_info("socket")
        if self.transport.get_extra_info("sslcontext") is not None or sock is None or self._lost:
            await reply.send(self, Json({"message": "this connection cannot be taken over"}, 501), head, False)
            self.linger()
            return
        if not self._eof:
            self.transport.pause_reading()
        await self._flush()
        fd = socket.dup(sock.fileno())
        residue = bytes(self._held)
        self._held.clear()
        self._lingering = True
        self.transport.abort()
        await reply.write_raw(self._loop, fd, reply.upgrade_head(answer, head.upgrade))
        await answer.take(fd, residue)

    async def _flush(self) -> None:
        if self.transport.get_write_buffer_size() == 0:
            return
        self.transport.set_write_buffer_limits(high=0)
        self._must_wait = self.transport.get_write_buffer_size() > 0
        await self.drained()
