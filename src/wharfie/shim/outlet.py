"""What comes out of a process: from its pipes or pty into the log and to everybody who is attached.

    pipe 1, pipe 2 ──┐            ┌──▶ log (always first)
    or pty master  ──┴─▶ deliver ─┼──▶ attacher, live: sent at once
                                  └──▶ spool ──▶ attacher, lagging: served by offset as its socket has room

Nobody waits for an attacher: one whose socket is full goes on from the spool. See `spool` for the one exception.
"""

from __future__ import annotations

import os

from wharfie.base import frames, when

from .loop import IN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from wharfie.logs import writer

    from .loop import Loop
    from .spool import Spool
else:
    Protocol = object

READ_SIZE = 64 * 1024
_PUMPED = 64  # reads; more than a pipe holds, and who still writes then would go on for ever


class Client(Protocol):
    """Who is attached, as an outlet sees it (attacher.Attacher). `position` is where in the spool it reads on while
    `lagging`."""

    lagging: bool
    position: int

    def begin(self) -> None:
        """Start serving."""
        ...

    def offer(self, stream: int, data: bytes, piece: bytes) -> None:
        """A live piece; what is not taken at once makes the client lag."""
        ...

    def finish(self) -> None:
        """There will be no more."""
        ...


class Outlet:
    """The output of one process. `framed`: two streams, told apart by frames in the spool (no pty)."""

    def __init__(self, loop: Loop, spool: Spool, log: writer.Writer | None, *, framed: bool) -> None:
        self.loop = loop
        self.spool = spool
        self.log = log
        self.framed = framed
        self.attachers: list[Client] = []
        self.on_end: Callable[[], None] | None = None
        self._sources: dict[int, int] = {}
        self._paused = False
        self.ended = False
        self.held = False  # the end is not told before the process's own end is on record

    def add(self, fd: int, stream: int) -> None:
        """Read `stream` from a non-blocking descriptor, which becomes the outlet's."""
        self._sources[fd] = stream
        self.loop.watch(fd, 0 if self._paused else IN, lambda _: self._readable(fd))

    def pump(self) -> None:
        """Read what is there now, without waiting."""
        for fd in list(self._sources):
            for _ in range(_PUMPED):
                if not self._read(fd):
                    break
        self._check_end()

    def close(self) -> None:
        """Stop reading; whatever comes later is lost. Attachers are served to their end. Idempotent."""
        for fd in list(self._sources):
            self._drop(fd)
        self._check_end()

    def attach(self, attacher: Client) -> None:
        """From now on it gets everything."""
        self.attachers.append(attacher)
        attacher.begin()
        if self.ended:
            attacher.finish()

    def left(self, attacher: Client) -> None:
        """An attacher is gone (its own call)."""
        if attacher in self.attachers:
            self.attachers.remove(attacher)
        self.advanced()

    def advanced(self) -> None:
        """A lagging attacher has read on: give spool back, go on reading after back-pressure."""
        lagging = [a.position for a in self.attachers if a.lagging]
        self.spool.release(min(lagging, default=self.spool.end))
        if self._paused and self.spool.empty:
            self.resume()

    def resume(self) -> None:
        """Read again after `pause`."""
        self._paused = False
        for fd in self._sources:
            self.loop.change(fd, IN)

    def _readable(self, fd: int) -> None:
        self._read(fd)
        self._check_end()

    def _read(self, fd: int) -> bool:
        """Whether there may be more at once."""
        try:
            data = os.read(fd, READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last slave of the pty is closed
            data = b""
        if not data:
            self._drop(fd)
            return False
        self.deliver(self._sources[fd], data)
        return True

    def deliver(self, stream: int, data: bytes) -> None:
        """One piece of output: log first, then everybody."""
        if self.log is not None:
            self.log.write(stream, data, when.now())
        if not self.attachers:
            return
        piece = frames.frame(stream, data) if self.framed else data
        if any(a.lagging for a in self.attachers) and not self.spool.append(piece):
            self.pause()
        for attacher in list(self.attachers):
            if not attacher.lagging:
                attacher.offer(stream, data, piece)

    def pause(self) -> None:
        """Read nothing until everybody who lags has caught up, or `resume`."""
        self._paused = True
        for fd in self._sources:
            self.loop.change(fd, 0)

    def _drop(self, fd: int) -> None:
        self.loop.forget(fd)
        os.close(fd)
        stream = self._sources.pop(fd)
        if self.log is not None:
            self.log.finish(stream, when.now())

    def _check_end(self) -> None:
        if self._sources or self.ended or self.held:
            return
        self.ended = True
        for attacher in list(self.attachers):
            attacher.finish()
        if self.on_end is not None:
            self.on_end()
