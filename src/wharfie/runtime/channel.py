"""The dialogue between the parent (shim) and a process on its way to be the container's. One message a datagram, JSON,
fds beside it.

    parent                                  init or joiner
    ------                                  --------------
    clone  ------------------------------>  enter namespaces, build the root, drop
           <--- {"opened": [kinds], "console": bool} + fds ---   [a joiner: only with a console]
                                            pivot, stdio, drop
           <--- {"pid": n} + pidfd -------  [only a forked one, early or late: the middle process leaves]
                                            close everything, look the program up
           <--- {"ready": 1} -------------  [init only]
    start  ---- {"go": 1} --------------->  [init only]
                                            no_new_privs, filter
           <--- {"exec": 1} --------------
                                            execve closes the channel: the parent reads the end = success
           <--- {"failed": {...}} --------  at any moment: the report; the process leaves at once
"""

from __future__ import annotations

import _socket
import json
import os

from wharfie.kernel import sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_AF_UNIX, _SOCK_SEQPACKET = 1, 5
_LIMIT = 64 * 1024
# Prepared, and without a search for the encoding: a shim that has listened to a birth keeps every page it has touched.
_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode


class Channel:
    """One end. Owns its socket."""

    def __init__(self, sock: _socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        return self._sock.fileno()

    def move(self, fd: int) -> None:
        """The end has become another fd, and the old one is closed already."""
        self._sock.detach()
        self._sock = _socket.socket(fileno=fd)

    def detach(self) -> int:
        """The fd, from now on the caller's."""
        return self._sock.detach()

    def close(self) -> None:
        self._sock.close()

    def send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Raises OSError; BrokenPipeError when the other side is gone."""
        sockets.send_fds(self._sock, _encode(message).encode(), fds)

    def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """The next message, None at the end. Blocks. Raises OSError."""
        while True:
            try:
                data, fds = sockets.recv_fds(self._sock, _LIMIT)
            except ConnectionResetError:
                # Said once, and before what is still to be read, when the other side left something of ours unread.
                continue
            return (_decode(data.decode())[0], fds) if data else None


def pair() -> tuple[Channel, Channel]:
    """Two ends, close-on-exec."""
    mine, theirs = _socket.socketpair(_AF_UNIX, _SOCK_SEQPACKET, 0)
    os.set_inheritable(mine.fileno(), False)
    os.set_inheritable(theirs.fileno(), False)
    return Channel(mine), Channel(theirs)


def adopt(fd: int) -> Channel:
    """The end whose fd was given away by detach()."""
    return Channel(_socket.socket(fileno=fd))
