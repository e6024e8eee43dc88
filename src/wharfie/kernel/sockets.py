"""Descriptors over unix sockets (SCM_RIGHTS), and who is at the other end (SO_PEERCRED)."""

from __future__ import annotations

import _socket
import errno
import os
import struct

from .syscalls import error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FDS = 253  # the kernel's SCM_MAX_FD
_SOL_SOCKET = 1
_SCM_RIGHTS = 1
_SO_PEERCRED = 17
_MSG_CTRUNC = 0x8
_MSG_TRUNC = 0x20
_MSG_NOSIGNAL = 0x4000
_MSG_CMSG_CLOEXEC = 0x40000000


def send_fds(sock: _socket.socket, data: bytes, fds: Sequence[int] = ()) -> int:
    """One sendmsg(2) with descriptors beside the bytes (at least one byte, or they are lost). Returns the bytes taken;
    never raises SIGPIPE. Raises OSError, BlockingIOError among them."""
    ancillary = [(_SOL_SOCKET, _SCM_RIGHTS, struct.pack(f"={len(fds)}i", *fds))] if fds else []
    return sock.sendmsg([data], ancillary, _MSG_NOSIGNAL)


def recv_fds(sock: _socket.socket, size: int, max_fds: int = 16) -> tuple[bytes, list[int]]:
    """One recvmsg(2): (bytes, descriptors, close-on-exec). b"" is the end. A message that was cut, in bytes or in
    descriptors, is an error (EMSGSIZE) and its descriptors are closed. Raises OSError, BlockingIOError among them."""
    data, ancillary, flags, _ = sock.recvmsg(size, _socket.CMSG_SPACE(4 * max_fds), _MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, raw in ancillary:
        if level == _SOL_SOCKET and kind == _SCM_RIGHTS:
            count = len(raw) // 4
            fds += struct.unpack(f"={count}i", raw[: 4 * count])
    if flags & (_MSG_CTRUNC | _MSG_TRUNC):
        for fd in fds:
            os.close(fd)
        raise error(errno.EMSGSIZE)
    return data, fds


def peer_credentials(sock: _socket.socket) -> tuple[int, int, int]:
    """(pid, uid, gid) of who connected (or made the pair); pid 0 when it is in a pid namespace not seen from here."""
    pid, uid, gid = struct.unpack("=iII", sock.getsockopt(_SOL_SOCKET, _SO_PEERCRED, 12))
    return pid, uid, gid
