"""Writing answers: heads with the right framing, streams, files, and the switch out of HTTP."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import termios
import time
from typing import IO, TYPE_CHECKING

from . import heads
from .response import Bytes, File, Hijack, Response, Stream

if TYPE_CHECKING:
    from typing import Protocol

    class Line(Protocol):
        """The connection as far as answering needs it."""

        transport: asyncio.Transport

        async def write(self, data: bytes) -> None:
            """Write, waiting while the client is behind."""

        def streaming(self) -> bool:
            """From here on the client's leaving cancels; False when it has left already."""

_NO_BODY = frozenset((204, 304))
_date = (0, "")


def _today() -> str:
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, heads.date(now))
    return _date[1]


def head(answer: Response, length: int | None, *, keep_alive: bool, chunked: bool = False) -> bytes:
    """The response head; `length` None and not chunked means "until close"."""
    out = list(answer.headers.items())
    if answer.content_type:
        out.append(("Content-Type", answer.content_type))
    out.append(("Date", _today()))
    if chunked:
        out.append(("Transfer-Encoding", "chunked"))
    elif length is not None and answer.status not in _NO_BODY:
        out.append(("Content-Length", str(length)))
    if not keep_alive:
        out.append(("Connection", "close"))
    return heads.encode(answer.status, out)


async def send(connection: Line, answer: Response, request: heads.Head, keep: bool) -> bool:
    """Send `answer`; True when the connection can serve another request. Raises ConnectionError, OSError."""
    silent = request.method == "HEAD" or answer.status in _NO_BODY
    if isinstance(answer, Bytes):
        data = answer.data
        start = head(answer, len(data), keep_alive=keep)
        await connection.write(start if silent else start + data)
    elif isinstance(answer, Stream):
        return await _stream(connection, answer, request, keep, silent)
    elif isinstance(answer, File):
        await _file(connection, answer, keep, silent)
    else:
        await connection.write(head(answer, 0, keep_alive=keep))
    return keep


async def _stream(connection: Line, answer: Stream, request: heads.Head, keep: bool, silent: bool) -> bool:
    chunked = request.version == "1.1"
    keep = keep and chunked
    unread = answer.unread
    try:
        await connection.write(head(answer, None, keep_alive=keep, chunked=chunked))
        if silent or not connection.streaming():
            return keep and silent
        unread = None
        async for piece in answer.pieces:
            if piece:
                await connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            await connection.write(b"0\r\n\r\n")
        return keep
    finally:
        close = getattr(answer.pieces, "aclose", None)
        if close is not None:
            await close()
        if unread is not None:
            unread()


async def _file(connection: Line, answer: File, keep: bool, silent: bool) -> None:
    with os.fdopen(answer.fd, "rb", buffering=0) as file:
        await connection.write(head(answer, answer.length, keep_alive=keep))
        if silent or not answer.length:
            return
        transport = connection.transport
        if transport.get_extra_info("sslcontext") is None:
            await _sendfile(transport, file, answer)
            return
        file.seek(answer.offset)
        left = answer.length
        while left:
            # loop.sendfile over TLS costs nine times a plain read and write
            piece = file.read(min(left, 256 << 10))
            if not piece:
                raise ConnectionAbortedError("the file became shorter while it was sent")
            left -= len(piece)
            await connection.write(piece)


async def _sendfile(transport: asyncio.Transport, file: IO[bytes], answer: File) -> None:
    loop = asyncio.get_running_loop()
    try:
        sent = await loop.sendfile(transport, file, answer.offset, answer.length, fallback=False)
    except RuntimeError as error:
        # asyncio says it so when the client has left in between
        if transport.is_closing():
            raise ConnectionResetError("the client has gone") from error
        raise
    if sent != answer.length:
        raise ConnectionAbortedError("the file became shorter while it was sent")


def upgrade_head(answer: Hijack, upgrade: str) -> bytes:
    """Docker's own words, which older clients compare."""
    out = [("Content-Type", answer.content_type), *answer.headers.items()]
    if not upgrade:
        return heads.encode(200, out)
    return heads.encode(101, [*out, ("Connection", "Upgrade"), ("Upgrade", upgrade)], "UPGRADED")


async def write_raw(loop: asyncio.AbstractEventLoop, fd: int, data: bytes) -> None:
    """Write all of `data` to a non-blocking socket. A client that is gone is noticed by whoever takes the fd."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            ready: asyncio.Future[None] = loop.create_future()
            loop.add_writer(fd, _settle, ready)
            try:
                await ready
            finally:
                loop.remove_writer(fd)
        except (BrokenPipeError, ConnectionResetError):
            return


async def until_read(fd: int, seconds: float = 0.25) -> None:
    """Wait until the client has read all that was written to it, `seconds` at most. For what follows the head of a
    hijacked connection: docker-py reads the head through a buffer and goes on with the bare socket, so that output
    which arrives together with the head is lost to it. Other daemons are slow enough; we ask the kernel (SIOCOUTQ,
    unix(7) and tcp(7))."""
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + seconds, 0.0002
    while _unread(fd) and loop.time() < deadline:
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.01)


def _unread(fd: int) -> int:
    try:
        return int.from_bytes(fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
