"""Connection tracking (linux/netfilter/nfnetlink_conntrack.h): list and forget IPv4 flows. Pure.

A flow keeps the translation it was born with. A UDP client that goes on sending therefore never notices that a port was
published, or moved to another container, until its flow is forgotten (TCP starts anew with each connection)."""

from __future__ import annotations

import socket
import struct

from wharfie.base.value import Value

from . import wire
from .wire import Message, attr, nest

_SUBSYSTEM, _GET, _DELETE = 1, 1, 2
_TUPLE_ORIG, _TUPLE_REPLY = 1, 2
_IP, _PROTO = 1, 2


class Flow(Value):
    """A flow in its original direction; `peer` is who really answers (differs from `destination` under DNAT)."""

    proto: int
    source: str
    destination: str
    source_port: int
    destination_port: int
    peer: str


def _message(kind: int, body: bytes, what: str) -> Message:
    return Message(_SUBSYSTEM << 8 | kind, struct.pack(">BBH", socket.AF_INET, 0, 0) + body, 0, what)


def dump() -> Message:
    return _message(_GET, b"", "list flows")


def delete(flow: Flow) -> Message:
    """Forget a flow; ENOENT when it is over already."""
    addresses = nest(_IP, attr(1, socket.inet_aton(flow.source)), attr(2, socket.inet_aton(flow.destination)))
    ports = nest(
        _PROTO, attr(1, bytes((flow.proto,))), attr(2, struct.pack(">H", flow.source_port)),
        attr(3, struct.pack(">H", flow.destination_port)),
    )
    return _message(_DELETE, nest(_TUPLE_ORIG, addresses, ports), f"forget flow to {flow.destination}")


def parse(body: bytes) -> Flow | None:
    """None for what has no ports (ICMP)."""
    found = wire.attrs(body, 4)
    there, back = wire.attrs(found.get(_TUPLE_ORIG, b"")), wire.attrs(found.get(_TUPLE_REPLY, b""))
    ip, proto = wire.attrs(there.get(_IP, b"")), wire.attrs(there.get(_PROTO, b""))
    peer = wire.attrs(back.get(_IP, b"")).get(1)
    if not {1, 2} <= ip.keys() or not {1, 2, 3} <= proto.keys() or peer is None:
        return None
    return Flow(
        proto[1][0], socket.inet_ntoa(ip[1]), socket.inet_ntoa(ip[2]), struct.unpack(">H", proto[2])[0],
        struct.unpack(">H", proto[3])[0], socket.inet_ntoa(peer),
    )
