"""The engine's connections: the first one, inherited, and those that come later through shim.sock (an engine that has
been restarted). Requests go to one handler, answers back where they came from, events to all.
"""

from __future__ import annotations

import _socket
import os
import sys

from wharfie.base import errors

from . import wire
from .loop import ERR, HUP, IN, OUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .loop import Loop

    # (message, fds) -> (result, names of fds, fds), or later: see verbs. fds taken from the list are the handler's.
    Answer = tuple[dict[str, Any], list[str], list[int]]
    Handler = Callable[[dict[str, Any], list[int]], "Answer | Later"]

_BACKLOG = 4
_MAX_QUEUED = 4096


class Later:
    """An answer that is not there yet: whoever serves the request calls `give` or `refuse`, once, from the loop."""

    def __init__(self) -> None:
        self.reply: Callable[[dict[str, Any]], None] = _nobody

    def give(self, result: dict[str, Any]) -> None:
        self.reply(wire.ok(0, result))

    def refuse(self, error: BaseException) -> None:
        self.reply(wire.refusal(0, error))


def _nobody(_message: dict[str, Any]) -> None:
    """Nobody has asked."""


class Connection:
    """One engine. Sends never block: what the socket does not take waits in order."""

    def __init__(self, owner: Connections, sock: _socket.socket) -> None:
        sock.setblocking(False)
        self._owner = owner
        self._sock = sock
        self._queue: list[tuple[bytes, list[int]]] = []
        self.open = True
        owner.loop.watch(sock.fileno(), IN, self._event)

    def send(self, message: dict[str, Any], fds: list[int]) -> None:
        """Send or queue; `fds` stay the caller's."""
        if not self.open:
            return
        try:
            data = wire.encode(message)
        except errors.Invalid as error:  # larger than the wire takes: its asker has to hear that
            data, fds = wire.encode(wire.refusal(message.get("n", 0), error)), []
        if not self._queue:
            try:
                self._put(data, fds)
                return
            except BlockingIOError:
                pass
            except OSError:
                self.close()
                return
        if len(self._queue) >= _MAX_QUEUED:
            self.close()  # an engine that reads nothing for so long is none
            return
        self._queue.append((data, [os.dup(fd) for fd in fds]))
        self._owner.loop.change(self._sock.fileno(), IN | OUT)

    def _put(self, data: bytes, fds: list[int]) -> None:
        """Raises OSError."""
        try:
            wire.send_bytes(self._sock, data, fds)
        except errors.Exhausted as error:  # it is large, and there is nothing to put it into
            wire.send(self._sock, wire.refusal(wire.decode(data).get("n", 0), error))

    @property
    def idle(self) -> bool:
        return not self._queue

    def close(self) -> None:
        """Idempotent."""
        if not self.open:
            return
        self.open = False
        self._owner.loop.forget(self._sock.fileno())
        self._sock.close()
        for _, fds in self._queue:
            wire.close_all(fds)
        self._queue.clear()
        self._owner.left(self)

    def _event(self, events: int) -> None:
        if events & OUT:
            self._flush()
        if self.open and events & (IN | HUP | ERR):
            self._receive()

    def _flush(self) -> None:
        while self._queue:
            data, fds = self._queue[0]
            try:
                self._put(data, fds)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            wire.close_all(fds)
            self._queue.pop(0)
        self._owner.loop.change(self._sock.fileno(), IN)

    def _receive(self) -> None:
        try:
            got = wire.recv(self._sock)
        except BlockingIOError:
            return
        except wire.Cut as cut:
            self.send(wire.refusal(cut.n, cut), [])
            return
        except errors.Invalid:
            return  # rubbish has no number to answer to
        except OSError:
            got = None
        if got is None:
            self.close()
            return
        self._owner.answer(self, *got)


class Connections:
    """All of them, and the listening socket."""

    def __init__(self, loop: Loop, handler: Handler, hello: Callable[[], dict[str, Any]],
                 on_lonely: Callable[[], None]) -> None:
        """hello: the first message of each connection; on_lonely: called when the last one has closed."""
        self.loop = loop
        self._handler = handler
        self._hello = hello
        self._on_lonely = on_lonely
        self._all: list[Connection] = []
        self._listener: _socket.socket | None = None

    def listen(self, path: str) -> None:
        """Take connections at `path` (0600; a stale socket there is replaced: the caller holds the lock)."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        former = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(former)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        self._listener = listener
        self.loop.watch(listener.fileno(), IN, self._accept)

    def adopt(self, sock: _socket.socket) -> None:
        """A connection that exists: greet and serve it."""
        made = Connection(self, sock)
        self._all.append(made)
        made.send(self._hello(), [])

    def event(self, message: dict[str, Any]) -> None:
        """Tell everybody."""
        for each in list(self._all):
            each.send(message, [])

    def answer(self, connection: Connection, message: dict[str, Any], fds: list[int]) -> None:
        """Serve one request and answer it. Descriptors nobody took are closed."""
        n = message.get("n", 0)
        out: list[int] = []
        try:
            answer = self._handler(message, fds)
            if isinstance(answer, Later):
                answer.reply = lambda made: connection.send({**made, "n": n}, [])
                return
            result, names, out = answer
            reply = wire.ok(n, result, names)
        except (errors.WharfieError, OSError) as error:
            reply = wire.refusal(n, error)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reply = wire.refusal(n, errors.Invalid(f"{message.get('op')}: malformed request: {error!r}"))
        except Exception as error:  # whatever it is, the container must not end by it
            sys.excepthook(*sys.exc_info())
            reply = wire.refusal(n, error)
        finally:
            wire.close_all(fds)
        connection.send(reply, out)

    def left(self, connection: Connection) -> None:
        """A connection has closed (its own call)."""
        self._all.remove(connection)
        if not self._all:
            self._on_lonely()

    @property
    def idle(self) -> bool:
        """Whether everything that was said has been sent."""
        return all(c.idle for c in self._all)

    @property
    def count(self) -> int:
        return len(self._all)

    def close(self) -> None:
        """Close everything; the socket's file stays."""
        for each in list(self._all):
            each.close()
        if self._listener is not None:
            self.loop.forget(self._listener.fileno())
            self._listener.close()
            self._listener = None

    def _accept(self, _events: int) -> None:
        assert self._listener is not None
        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]
        except OSError:
            return
        self.adopt(_socket.socket(fileno=fd))
