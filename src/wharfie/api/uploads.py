"""A request's body as a blocking file for worker threads, and a worker's blocking iterator as an async one: the two
doors between the loop and the rooms that read and write archives."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from wharfie.web import request as web

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Upload(io.RawIOBase):
    """Reads in a worker thread what the client sends; nothing is buffered beyond the piece in hand, so a slow reader
    slows the client. Raises web's Disconnected out of a read when the client leaves."""

    def __init__(self, request: web.Request) -> None:
        self._pieces = request.stream()
        self._loop = asyncio.get_running_loop()
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        if not self._piece:
            future = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            self._piece = memoryview(future.result())
        into = memoryview(buffer).cast("B")
        count = min(len(into), len(self._piece))
        into[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    async def _next(self) -> bytes:
        return await anext(self._pieces, b"")


def reading(request: web.Request) -> io.BufferedReader:
    """The body as a buffered file."""
    return io.BufferedReader(Upload(request), 1 << 18)


async def pieces(source: Iterator[bytes], size: int = 1 << 18) -> AsyncIterator[bytes]:
    """What a blocking iterator yields, fetched in worker threads, small pieces joined up to `size` bytes."""
    job: asyncio.Future[tuple[bytes, bool]] | None = None
    loop = asyncio.get_running_loop()
    close = getattr(source, "close", lambda: None)
    try:
        more = True
        while more:
            job = loop.run_in_executor(None, _gather, source, size)
            data, more = await asyncio.shield(job)
            if data:
                yield data
    finally:
        if job is None or job.done():
            close()
        else:  # the client left while a thread is inside the iterator
            job.add_done_callback(lambda _: close())


def _gather(source: Iterator[bytes], size: int) -> tuple[bytes, bool]:
    out: list[bytes] = []
    have = 0
    for piece in source:
        out.append(piece)
        have += len(piece)
        if have >= size:
            return b"".join(out), True
    return b"".join(out), False
