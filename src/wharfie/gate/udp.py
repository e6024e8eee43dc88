"""UDP: each client address gets a socket of its own towards the container, so that answers find their way back; a flow
that is silent for TIMEOUT seconds is forgotten. Answers leave from the address the client wrote to, also where the
listener is bound to all of them (IP_PKTINFO, ip(7)).
"""

from __future__ import annotations

import socket
import struct
import time

from .events import IN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .events import Events

TIMEOUT = 90.0
MAX_FLOWS = 4096
_DATAGRAM = 65535
_A_TURN = 128
_IP_PKTINFO = 8
_IPV6_RECVPKTINFO = 49
_IPV6_PKTINFO = 50
_SWEEP_SECONDS = 10.0


class UdpRelay:
    """One listener and its flows."""

    def __init__(self, events: Events, listener: socket.socket, target: tuple[str, int]) -> None:
        listener.setblocking(False)
        self._events = events
        self._listener = listener
        self._target = target
        self._family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._flows: dict[Any, _Flow] = {}
        self._sweeping = False
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        else:
            listener.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        events.set(listener.fileno(), IN, self._incoming)

    def _incoming(self, _events: int) -> None:
        for _ in range(_A_TURN):
            try:
                data, ancillary, _, peer = self._listener.recvmsg(_DATAGRAM, 128)
            except BlockingIOError:
                return
            except OSError:
                continue  # an earlier answer was refused (ICMP); it is not this datagram's fault
            flow = self._flows.get(peer) or self._open(peer, _local(ancillary))
            if flow is not None:
                flow.send(data)

    def _open(self, peer: Any, local: list[tuple[int, int, bytes]]) -> _Flow | None:
        if len(self._flows) >= MAX_FLOWS:
            self._forget(min(self._flows, key=lambda p: self._flows[p].last))
        try:
            sock = socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        except OSError:
            return None  # no descriptor left: this datagram is lost, and no TCP connection with it
        try:
            sock.connect(self._target)
        except OSError:
            sock.close()
            return None
        flow = _Flow(self._listener, sock, peer, local)
        self._flows[peer] = flow
        self._events.set(sock.fileno(), IN, flow.answer)
        if not self._sweeping:
            self._sweeping = True
            self._events.after(_SWEEP_SECONDS, self._sweep)
        return flow

    def _sweep(self) -> None:
        old = time.monotonic() - TIMEOUT
        for peer in [p for p, f in self._flows.items() if f.last < old]:
            self._forget(peer)
        self._sweeping = bool(self._flows)
        if self._sweeping:
            self._events.after(_SWEEP_SECONDS, self._sweep)

    def _forget(self, peer: Any) -> None:
        flow = self._flows.pop(peer)
        self._events.drop(flow.sock.fileno())
        flow.sock.close()


class _Flow:
    def __init__(self, listener: socket.socket, sock: socket.socket, peer: Any,
                 local: list[tuple[int, int, bytes]]) -> None:
        self._listener = listener
        self.sock = sock
        self._peer = peer
        self._local = local
        self.last = time.monotonic()

    def send(self, data: bytes) -> None:
        self.last = time.monotonic()
        try:
            self.sock.send(data)
        except OSError:
            pass  # datagrams may be lost

    def answer(self, _events: int) -> None:
        self.last = time.monotonic()
        for _ in range(_A_TURN):
            try:
                data = self.sock.recv(_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                return  # refused by the container: nobody listens there
            try:
                self._listener.sendmsg([data], self._local, 0, self._peer)
            except OSError:
                pass


def _local(ancillary: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """What to send beside an answer so that it leaves from the address that was asked."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO and len(data) >= 12:
            # struct in_pktinfo {int ifindex; in_addr spec_dst; in_addr addr}: spec_dst is the answer's source
            return [(level, kind, struct.pack("=i4s4s", 0, data[8:12], bytes(4)))]
        if level == socket.IPPROTO_IPV6 and kind == _IPV6_PKTINFO and len(data) >= 20:
            link_local = data[0] == 0xFE and data[1] & 0xC0 == 0x80
            return [(level, kind, data[:16] + (data[16:20] if link_local else bytes(4)))]
    return []
