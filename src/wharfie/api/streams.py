"""Containers: output and input. `attach` gives the connection away; `logs` reads the log file in worker threads, one
bounded chunk at a time, so that a slow client costs a paused generator and no memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator

from wharfie.base import errors, frames
from wharfie.engine import model
from wharfie.logs import reader
from wharfie.web import reply, response

from . import faults, query
from .call import Call
from .log_lines import Rendering

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
_CHUNK = 1 << 20
_SOON, _LATE = 0.01, 0.16


def stream_type(*, tty: bool, version: int) -> str:
    """The Content-Type of a container's stream: frames are only called so since 1.42."""
    return MULTIPLEXED if not tty and version >= 42 else RAW


async def attach(call: Call) -> response.Response:
    request, containers = call.request, call.services.containers
    record = containers.check_attach(call.name)
    tty = record.config.tty
    options = model.AttachOptions(
        stdin=request.flag("stdin") and record.config.open_stdin, stdout=request.flag("stdout"),
        stderr=request.flag("stderr"), logs=request.flag("logs"), stream=request.flag("stream"),
        detach_keys=request.value("detachKeys"), mux=not tty,
    )

    async def take(fd: int, residue: bytes) -> None:
        if record.state.running:  # else nothing is written before the client's next call, the start
            await reply.until_read(fd)
        with last_words(fd, tty=tty):
            await containers.attach(record.id, options, fd, residue)

    return response.Hijack(take, stream_type(tty=tty, version=call.version))


@contextlib.contextmanager
def last_words(fd: int, *, tty: bool) -> Iterator[None]:
    """Around a call that takes `fd` over: its error is told to the client, whose connection has left HTTP already."""
    mine = os.dup(fd)
    try:
        yield
    except errors.WharfieError as error:
        words = faults.text(error).encode() + b"\r\n"
        with contextlib.suppress(OSError):
            os.write(mine, words if tty else frames.frame(frames.STDERR, words))
    finally:
        os.close(mine)


async def logs(call: Call) -> response.Response:
    request, containers = call.request, call.services.containers
    record = containers.get(call.name)
    stdout, stderr = request.flag("stdout"), request.flag("stderr")
    if not (stdout or stderr):
        raise errors.Invalid("Bad parameters: you must choose at least one stream")
    if record.host_config.log_config.type == "none":
        raise errors.Unsupported("configured logging driver does not support reading")
    tty = record.config.tty
    rendering = Rendering(
        stdout=stdout, stderr=stderr, since=query.instant(request, "since"), until=query.instant(request, "until"),
        timestamps=request.flag("timestamps"), mux=not tty,
    )
    follow = request.flag("follow") and record.state.running
    ended = containers.watch(record.id, "not-running") if follow else None
    source = reader.Reader(record.log_path, tail=_tail(request.value("tail")))

    def unread() -> None:
        source.close()
        if ended is not None:
            ended.cancel()

    pieces = _pieces(source, rendering, ended)
    return response.Stream(pieces, stream_type(tty=tty, version=call.version), unread=unread)


def _tail(said: str) -> int | None:
    """A number of lines; None for all of them, which every other word means too."""
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 10 else None


async def _pieces(
    source: reader.Reader, rendering: Rendering, ended: asyncio.Future[model.WaitResult] | None
) -> AsyncIterator[bytes]:
    """The log from where `source` stands; with `ended`, on until the container has ended and its last line was read."""
    pause = _SOON
    loop = asyncio.get_running_loop()
    job: asyncio.Future[tuple[bytes, bool]] | None = None
    try:
        while True:
            last = ended is None or ended.done()
            job = loop.run_in_executor(None, _chunk, source, rendering)
            chunk, more = await asyncio.shield(job)
            if chunk:
                pause = _SOON
                yield chunk
            if rendering.over or (last and not more):
                return
            if not more and ended is not None:
                await asyncio.wait((ended,), timeout=pause)
                pause = min(pause * 2, _LATE)
    finally:
        if job is None or job.done():
            source.close()
        else:  # the client left while a thread reads: the thread finishes with the file first
            job.add_done_callback(lambda _: source.close())
        if ended is not None:
            ended.cancel()


def _chunk(source: reader.Reader, rendering: Rendering) -> tuple[bytes, bool]:
    """About _CHUNK bytes of output, and whether there may be more at once. In a worker thread."""
    out: list[bytes] = []
    size = 0
    while size < _CHUNK and not rendering.over:
        block = source.block()
        if block is None:
            return b"".join(out), False
        size += rendering.render(block, out)
    return b"".join(out), True
