"""The conversation with a container over a hijacked connection: one poll loop for the socket, standard input and
signals. It never blocks on sending, so that a container which answers while it is fed (cat) cannot come to a
stand-still."""

from __future__ import annotations

import os
import select

from wharfie.base import errors, frames

from .terminal import Escape, Signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_PIECE = 128 << 10
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Detached(Exception):
    """The detach keys were typed."""


class Conversation:
    """`mux`: output comes in frames (no terminal). `stdin`: feed standard input. `keys`: the detach sequence."""

    def __init__(
        self, sock: Any, residue: bytes, *, mux: bool, stdin: bool, keys: bytes = b"", signals: Signals | None = None,
        on_signal: Callable[[int], None] | None = None,
    ) -> None:
        self._sock = sock
        self._splitter = frames.Splitter() if mux else None
        self._escape = Escape(keys)
        self._pending = memoryview(b"")
        self._feeding = stdin
        # docker half-closes at once when there is nothing to feed: so do we
        self._closing = not stdin
        self._signals = signals
        self._on_signal = on_signal
        self._poll = select.poll()
        self._residue = residue

    def run(self) -> None:
        """Until the container's side ends. Raises Detached, BrokenPipeError (our own reader has gone)."""
        self._output(self._residue)
        sock = self._sock
        sock.setblocking(False)
        fd = sock.fileno()
        self._poll.register(fd, select.POLLIN)
        if self._feeding:
            self._poll.register(0, select.POLLIN)
        if self._signals is not None:
            self._poll.register(self._signals.fd, select.POLLIN)
        if self._closing:
            self._send()
        while True:
            for ready, events in self._poll.poll():
                if ready == fd:
                    if events & select.POLLOUT:
                        self._send()
                    if events & (select.POLLIN | _GONE) and not self._receive():
                        return
                elif ready == 0:
                    self._typed()
                else:
                    self._signalled()

    def _receive(self) -> bool:
        try:
            data = self._sock.recv(_PIECE)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self._output(data)
        return bool(data)

    def _output(self, data: bytes) -> None:
        if not data:
            return
        if self._splitter is None:
            write_all(1, data)
            return
        try:
            pieces = self._splitter.feed(data)
        except ValueError as error:
            raise errors.Damaged(f"the engine's stream is broken: {error}") from error
        for stream, payload in pieces:
            if stream == 3:
                raise errors.Unavailable(f"error from daemon in stream: {payload.decode('utf-8', 'replace')}")
            write_all(2 if stream == frames.STDERR else 1, payload)

    def _typed(self) -> None:
        try:
            data = os.read(0, _PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        wanted, detach = self._escape.feed(data)
        if not data:
            self._feeding = False
            self._poll.unregister(0)
            self._closing = True
        if wanted:
            self._pending = memoryview(bytes(self._pending) + wanted)
        self._send()
        if detach:
            raise Detached

    def _send(self) -> None:
        """Send what is pending; while something stays, no more is read from standard input."""
        try:
            while self._pending:
                self._pending = self._pending[self._sock.send(self._pending) :]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self._pending = memoryview(b"")
            self._stop_feeding()
            return
        waiting = bool(self._pending)
        self._poll.modify(self._sock.fileno(), select.POLLIN | (select.POLLOUT if waiting else 0))
        if self._feeding:
            self._poll.register(0, 0 if waiting else select.POLLIN)
        if self._closing and not waiting:
            self._closing = False
            try:
                self._sock.shutdown(1)
            except OSError:
                pass

    def _stop_feeding(self) -> None:
        if self._feeding:
            self._feeding = False
            self._poll.unregister(0)
        self._poll.modify(self._sock.fileno(), select.POLLIN)

    def _signalled(self) -> None:
        assert self._signals is not None
        for number in self._signals.taken():
            if self._on_signal is not None:
                self._on_signal(number)


def write_all(fd: int, data: bytes) -> None:
    """Write everything, waiting where the descriptor is non-blocking. Raises BrokenPipeError."""
    while data:
        try:
            done = os.write(fd, data)
        except BlockingIOError:
            waiter = select.poll()
            waiter.register(fd, select.POLLOUT)
            waiter.poll()
            continue
        if done == len(data):
            return
        data = data[done:]
