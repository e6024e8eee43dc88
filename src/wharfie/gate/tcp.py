"""TCP: a connection to the host's port becomes one to the container's, both ways by splice(2) through a pipe, so that
the bytes never come into this process. Half-closes are passed on.
"""

from __future__ import annotations

import errno
import os
import socket

from .events import ERR, HUP, IN, OUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .events import Events

_CHUNK = 1 << 18
_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_ACCEPTS_A_TURN = 64
_PAUSE_SECONDS = 0.1


class TcpRelay:
    """One listener and where its connections go."""

    def __init__(self, events: Events, listener: socket.socket, target: tuple[str, int]) -> None:
        listener.setblocking(False)
        self._events = events
        self._listener = listener
        self._target = target
        self._family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._resume()

    def _resume(self) -> None:
        self._events.set(self._listener.fileno(), IN, self._accept)

    def _accept(self, _events: int) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._events.drop(self._listener.fileno())  # level-triggered: it would spin
                    self._events.after(_PAUSE_SECONDS, self._resume)
                    return
                continue  # the client was gone before we came
            try:
                Connection(self._events, client, self._family, self._target)
            except OSError:
                client.close()


class Connection:
    """A client, the container's end, and the two pipes between them."""

    def __init__(self, events: Events, client: socket.socket, family: int, target: tuple[str, int]) -> None:
        self._events = events
        self._client = client
        self._server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._halves: list[_Half] = []
        for each in (client, self._server):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            number = self._server.connect_ex(target)
            if number not in (0, errno.EINPROGRESS):
                raise OSError(number, os.strerror(number))
            events.set(self._server.fileno(), OUT, self._connected)
        except OSError:
            self._server.close()
            raise

    def _connected(self, _events: int) -> None:
        if self._server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._close()
            return
        try:
            there = _Half(self._client, self._server)
            self._halves.append(there)
            self._halves.append(_Half(self._server, self._client))
        except OSError:
            self._close()
            return
        self._step(0)

    def _step(self, events: int) -> None:
        if events & ERR:
            self._close()
            return
        try:
            for half in self._halves:
                half.move()
        except OSError:
            self._close()
            return
        there, back = self._halves
        if there.done and back.done:
            self._close()
            return
        self._watch(self._client, there, back, events)
        self._watch(self._server, back, there, events)

    def _watch(self, sock: socket.socket, reading: _Half, writing: _Half, events: int) -> None:
        interest = (IN if reading.wants_input else 0) | (OUT if writing.wants_output else 0)
        if not interest and events & HUP and reading.ended:
            return self._events.drop(sock.fileno())  # HUP comes unasked and would spin
        return self._events.set(sock.fileno(), interest or (0 if reading.ended else ERR), self._step)

    def _close(self) -> None:
        for half in self._halves:
            half.close()
        self._halves.clear()
        for sock in (self._client, self._server):
            if sock.fileno() >= 0:
                self._events.drop(sock.fileno())
                sock.close()


class _Half:
    """One direction: from → pipe → to. `held` bytes are in the pipe."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self._source = source
        self._sink = sink
        self._out, self._in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._held = 0
        self.ended = False
        self.done = False

    @property
    def wants_input(self) -> bool:
        return not self.ended and not self._held

    @property
    def wants_output(self) -> bool:
        return self._held > 0

    def move(self) -> None:
        """As far as both sides go now. Raises OSError when either is broken."""
        while not self.done:
            if not self._held and not self.ended:
                try:
                    self._held = os.splice(self._source.fileno(), self._in, _CHUNK, flags=_FLAGS)
                except BlockingIOError:
                    return
                self.ended = not self._held
            try:
                while self._held:
                    self._held -= os.splice(self._out, self._sink.fileno(), self._held, flags=_FLAGS)
            except BlockingIOError:
                return
            if self.ended:
                self.done = True
                self._sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        os.close(self._out)
        os.close(self._in)
