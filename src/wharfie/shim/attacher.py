"""One attached client: the socket that docker's HTTP client once connected, now the shim's.

Output: live as long as the socket takes everything; else lagging: the rest of the piece is held and the following is
read from the spool by offset, until the end of the spool is reached.
Input: residue (what the engine had read beyond the HTTP head) first, then the socket, through the detach keys to the
process's stdin. A half-close ends stdin where Docker does (stdin_once, exec, no tty); otherwise it ends the attach.
"""

from __future__ import annotations

import _socket
import os

from wharfie.base import frames

from .loop import ERR, HUP, IN, OUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .detach import Scanner
    from .inlet import Inlet
    from .loop import Loop
    from .outlet import Outlet

_CHUNK = 64 * 1024
_CHUNKS = 64
_BOTH = frozenset((frames.STDOUT, frames.STDERR))


class Attacher:
    """Owns the socket. Ends itself when the client leaves, or after finish() when everything is sent."""

    def __init__(
        self, loop: Loop, fd: int, outlet: Outlet, streams: frozenset[int], *, mux: bool, inlet: Inlet | None = None,
        ends_stdin: bool = False, scanner: Scanner | None = None, residue: bytes = b"",
        replay: Iterator[bytes] | None = None, on_detach: Callable[[], None] | None = None,
    ) -> None:
        """streams: frames.STDOUT, frames.STDERR; mux: with frame headers; inlet: where typed bytes go, None without
        stdin; ends_stdin: a half-close ends the process's stdin; replay: what to send first, already framed."""
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._outlet = outlet
        self._streams = streams
        self._mux = mux
        self._inlet = inlet
        self._ends_stdin = ends_stdin
        self._scanner = scanner
        self._residue = residue
        self._replay = replay
        self._on_detach = on_detach
        self._splitter = frames.Splitter() if outlet.framed and not (mux and streams >= _BOTH) else None
        self._held = b""
        self._finishing = False
        self._reading = True
        self._hung = False
        self.lagging = False
        self.position = 0

    # ---- output ----

    def begin(self) -> None:
        """Start serving. Called by the outlet."""
        self._loop.watch(self._fd, IN, self._event)
        if self._replay is not None:
            self._lag(b"")
            self._serve()
        if self._residue and self._fd >= 0:
            residue, self._residue = self._residue, b""
            self._typed(residue)

    def offer(self, stream: int, data: bytes, piece: bytes) -> None:
        """A live piece: `piece` is `data` as it stands in the spool."""
        if stream not in self._streams:
            return
        if not self._mux:
            piece = data
        elif not self._outlet.framed:
            piece = frames.frame(stream, data)
        sent = self._send(piece)
        if 0 <= sent < len(piece):
            self._lag(piece[sent:])

    def finish(self) -> None:
        """The process's output has ended: end the stream when all is sent."""
        self._finishing = True
        if not self.lagging:
            self.close()

    def close(self) -> None:
        """Let the client go. What it has not taken is lost. Idempotent."""
        if self._fd < 0:
            return
        self._loop.forget(self._fd)
        fd, self._fd = self._fd, -1
        self.lagging = False
        self._replay = None
        sock = _socket.socket(fileno=fd)
        try:
            sock.shutdown(_socket.SHUT_WR)  # close alone ends nothing while somebody holds a copy of the descriptor
        except OSError:
            pass
        sock.close()
        self._outlet.left(self)

    def _lag(self, rest: bytes) -> None:
        self.lagging = True
        self.position = self._outlet.spool.end
        self._held = rest
        self._interest()

    def _serve(self) -> None:
        """Send what was held and what is in the spool, as far as the socket takes it; from a long log only so much at a
        time, since others wait (the socket stays writable, so the loop comes back)."""
        for _ in range(_CHUNKS):
            if self._fd < 0:
                return
            if not self._held and not self._refill():
                self.lagging = False
                self._interest()
                if self._finishing:
                    self.close()
                else:
                    self._outlet.advanced()
                return
            sent = self._send(self._held)
            if sent < 0:
                return
            self._held = self._held[sent:]
            if self._held:
                break
        self._outlet.advanced()

    def _refill(self) -> bool:
        """Get the next bytes to send into `_held`; False at the end of everything."""
        while not self._held:
            if self._replay is not None:
                self._held = next(self._replay, b"")
                if not self._held:
                    self._replay = None
                continue
            chunk = self._outlet.spool.read(self.position, _CHUNK)
            if not chunk:
                return False
            self.position += len(chunk)
            self._held = self._filter(chunk)
        return True

    def _filter(self, chunk: bytes) -> bytes:
        """A chunk of spool as this client wants it."""
        if self._splitter is None:
            return frames.frame(frames.STDOUT, chunk) if self._mux and not self._outlet.framed else chunk
        wanted = [(s, p) for s, p in self._splitter.feed(chunk) if s in self._streams]
        return b"".join(frames.frame(s, p) if self._mux else p for s, p in wanted)

    def _send(self, data: bytes) -> int:
        """Bytes taken; -1 when the client is gone (closed then)."""
        at = 0
        try:
            while at < len(data):
                at += os.write(self._fd, data[at:] if at else data)
        except BlockingIOError:
            return at
        except OSError:
            self._lost()
            return -1
        return at

    # ---- input and events ----

    def _event(self, events: int) -> None:
        if events & (HUP | ERR):
            self._hung = True
            self._read_rest()
            return
        if events & IN:
            self._read()
        if events & OUT and self._fd >= 0 and self.lagging:
            self._serve()

    def _read(self) -> bool:
        """Whether something came."""
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            self._lost()
            return False
        if data:
            self._typed(data)
            return True
        self._reading = False
        self._interest()
        self._end_of_input()
        return False

    def _read_rest(self) -> None:
        """The client has closed: what it typed before still goes to the process, at the process's pace."""
        while self._fd >= 0 and self._inlet is not None and self._reading and self._read():
            pass
        if self._fd < 0:
            return
        if self._inlet is None or self._reading:
            self._lost()
        else:
            self._loop.change(self._fd, 0)  # HUP would be reported again and again; _resume comes back

    def _typed(self, data: bytes) -> None:
        if self._inlet is None:
            return
        detached = False
        if self._scanner is not None:
            data, detached = self._scanner.feed(data)
        room = not data or self._inlet.feed(data, self._resume)
        if detached:
            self._inlet = None
            if self._on_detach is not None:
                self._on_detach()
            self.close()
        elif not room:
            self._reading = False
            self._interest()

    def _resume(self) -> None:
        if self._fd < 0 or self._inlet is None:
            return
        self._reading = True
        if self._hung:
            self._read_rest()
        else:
            self._interest()

    def _end_of_input(self) -> None:
        inlet, self._inlet = self._inlet, None
        if inlet is None:
            return
        if self._ends_stdin:
            inlet.end()
        else:  # Docker ends the whole attach when its stdin has ended and nothing else shall follow from it
            self._finishing = True
            if not self.lagging:
                self.close()

    def _lost(self) -> None:
        """The client is gone altogether."""
        inlet, self._inlet = self._inlet, None
        if inlet is not None and self._ends_stdin:
            inlet.end()
        self.close()

    def _interest(self) -> None:
        # ERR and HUP come unasked; naming ERR keeps the descriptor in epoll, so that a leaving client is noticed.
        self._loop.change(self._fd, ERR | (IN if self._reading else 0) | (OUT if self.lagging else 0))

