"""rtnetlink messages (rtnetlink(7), linux/if_link.h): links, addresses, routes, neighbours. Pure: values in, `Message`
out, reply bodies in, values out.

A veth cannot be set up by the message that makes it (ENOTCONN): its peer does not exist yet. Hence `set_up` apart.
"""

from __future__ import annotations

import socket
import struct
import sys

from wharfie.base.value import Value

from . import wire
from .wire import Message, attr, nest

NEWLINK, DELLINK, GETLINK, SETLINK = 16, 17, 18, 19
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30

AF_BRIDGE = 7
IFF_UP = 0x1
LOOPBACK = 1  # lo is always the first link of a namespace

_LINK = struct.Struct("=BxHiII")
_ADDR = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEIGH = struct.Struct("=BxxxiHBB")

# Link attributes (IFLA_*).
_ADDRESS, _NAME, _MTU, _PEER, _MASTER, _INFO, _ALIAS = 1, 3, 4, 5, 10, 18, 20
_AF_SPEC, _GROUP, _NETNS_FD, _PEER_NETNS = 26, 27, 28, 37
_INFO_KIND, _INFO_DATA, _SLAVE_KIND, _SLAVE_DATA = 1, 2, 4, 5

_RT_TABLE_MAIN, _RTPROT_STATIC, _RTN_UNICAST = 254, 4, 1
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
NEIGH_PERMANENT, NEIGH_NOARP = 0x80, 0x40


class Link(Value):
    """One link as the kernel tells it. `kind` is "" for hardware and lo; `peer` is the other veth's index there."""

    index: int
    name: str
    kind: str
    flags: int
    mtu: int
    mac: str
    master: int
    group: int
    peer: int

    @property
    def is_up(self) -> bool:
        return bool(self.flags & IFF_UP)


class Address(Value):
    """An address of a link."""

    index: int
    ip: str
    prefix_len: int


class Route(Value):
    """A route: destination as text ("0.0.0.0"/0 for the default), outgoing link (0: none), gateway or ""."""

    destination: str
    prefix_len: int
    index: int
    gateway: str
    table: int


def _family(ip: str) -> int:
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


def _packed(ip: str) -> bytes:
    return socket.inet_pton(_family(ip), ip)


def mac_bytes(mac: str) -> bytes:
    """Six bytes of "02:42:ac:11:00:02". Raises ValueError for any other form."""
    parts = mac.split(":")
    if len(parts) != 6 or any(len(p) != 2 for p in parts):
        raise ValueError(f"not a MAC address: {mac!r}")
    return bytes.fromhex("".join(parts))


def mac_text(raw: bytes) -> str:
    return ":".join(f"{b:02x}" for b in raw)


def _link(index: int, *parts: bytes, up: bool | None = None) -> bytes:
    change = 0 if up is None else IFF_UP
    return _LINK.pack(0, 0, index, IFF_UP if up else 0, change) + b"".join(parts)


def add_bridge(name: str, *, mac: str, mtu: int) -> Message:
    """A bridge with a fixed MAC (a bridge without one takes the lowest of its ports', and changes as they come and go).
    EEXIST when the name is taken."""
    body = _link(0, attr(_NAME, name), attr(_ADDRESS, mac_bytes(mac)), attr(_MTU, mtu),
                 nest(_INFO, attr(_INFO_KIND, "bridge")))
    return Message(NEWLINK, body, wire.CREATE | wire.EXCL, f"add bridge {name}")


def add_veth(
    name: str, peer: str, *, peer_netns: int = -1, peer_mac: str = "", master: int = 0, group: int = 0, mtu: int = 1500
) -> Message:
    """A pair: `name` here (from its first moment a port of `master`), `peer` in the namespace of the fd."""
    inner = [attr(_NAME, peer), attr(_MTU, mtu)]
    if peer_netns >= 0:
        inner.append(attr(_NETNS_FD, peer_netns))
    if peer_mac:
        inner.append(attr(_ADDRESS, mac_bytes(peer_mac)))
    parts = [attr(_NAME, name), attr(_MTU, mtu), attr(_GROUP, group)]
    if master:
        parts.append(attr(_MASTER, master))
    parts.append(nest(_INFO, attr(_INFO_KIND, "veth"), nest(_INFO_DATA, nest(1, _link(0, *inner)))))
    return Message(NEWLINK, _link(0, *parts), wire.CREATE | wire.EXCL, f"add veth {name} with peer {peer}")


def set_up(index: int = 0, name: str = "", *, up: bool = True) -> Message:
    """Set a link up or down, by index or by name."""
    body = _link(index, *([attr(_NAME, name)] if name else []), up=up)
    return Message(NEWLINK, body, 0, f"set link {name or index} {'up' if up else 'down'}")


def set_master(index: int, master: int) -> Message:
    """Make a link a port of a bridge; 0 takes it out."""
    return Message(NEWLINK, _link(index, attr(_MASTER, master)), 0, f"set master of link {index} to {master}")


def set_mtu(index: int, mtu: int) -> Message:
    return Message(NEWLINK, _link(index, attr(_MTU, mtu)), 0, f"set mtu of link {index} to {mtu}")


def set_group(index: int, group: int) -> Message:
    return Message(NEWLINK, _link(index, attr(_GROUP, group)), 0, f"set group of link {index}")


def no_ipv6_autoaddress(index: int = 0, name: str = "") -> Message:
    """No link-local address when the link comes up (IFLA_INET6_ADDR_GEN_MODE none). Must precede `set_up`;
    EAFNOSUPPORT on a kernel started with ipv6.disable=1."""
    spec = nest(_AF_SPEC, nest(socket.AF_INET6, attr(8, b"\1")))
    body = _link(index, *([attr(_NAME, name)] if name else []), spec)
    return Message(NEWLINK, body, 0, f"set ipv6 address mode of link {name or index}")


def set_hairpin(index: int) -> Message:
    """Let a bridge send a frame back through the port it came from."""
    body = _link(index, nest(_INFO, attr(_SLAVE_KIND, "bridge"), nest(_SLAVE_DATA, attr(4, b"\1"))))
    return Message(NEWLINK, body, 0, f"set hairpin mode of link {index}")


def delete_link(index: int) -> Message:
    """Takes the kernel 16-24 ms for a veth: not from an event loop."""
    return Message(DELLINK, _link(index), 0, f"delete link {index}")


def delete_group(group: int) -> Message:
    """Delete every link of a group at once (twenty veths cost little more than one). Raises ValueError for group 0,
    where every ordinary link of the host is."""
    if group == 0:
        raise ValueError("group 0 holds every ordinary link of the host")
    return Message(DELLINK, _link(0, attr(_GROUP, group)), 0, f"delete links of group {group:#x}")


def get_link(name: str) -> Message:
    return Message(GETLINK, _link(0, attr(_NAME, name)), 0, f"get link {name}")


def dump_links() -> Message:
    return Message(GETLINK, _link(0), 0, "list links")


def add_address(index: int, ip: str, prefix_len: int, *, broadcast: str = "") -> Message:
    """EEXIST when the link has it already."""
    packed = _packed(ip)
    body = _ADDR.pack(_family(ip), prefix_len, 0, _SCOPE_UNIVERSE, index) + attr(2, packed) + attr(1, packed)
    if broadcast:
        body += attr(4, _packed(broadcast))
    return Message(NEWADDR, body, wire.CREATE | wire.EXCL, f"add address {ip}/{prefix_len}")


def delete_address(index: int, ip: str, prefix_len: int) -> Message:
    packed = _packed(ip)
    body = _ADDR.pack(_family(ip), prefix_len, 0, 0, index) + attr(2, packed) + attr(1, packed)
    return Message(DELADDR, body, 0, f"delete address {ip}/{prefix_len}")


def dump_addresses(family: int = socket.AF_INET) -> Message:
    return Message(GETADDR, _ADDR.pack(family, 0, 0, 0, 0), 0, "list addresses")


def add_route(gateway: str = "", *, destination: str = "", prefix_len: int = 0, index: int = 0) -> Message:
    """A route in the main table; without destination the default one, without gateway a route on the link."""
    family = _family(gateway or destination)
    scope = _SCOPE_UNIVERSE if gateway else _SCOPE_LINK
    body = _ROUTE.pack(family, prefix_len, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, scope, _RTN_UNICAST, 0)
    if destination:
        body += attr(1, _packed(destination))
    if gateway:
        body += attr(5, _packed(gateway))
    if index:
        body += attr(4, index)
    where = f"{destination}/{prefix_len}" if destination else "default"
    return Message(NEWROUTE, body, wire.CREATE | wire.EXCL, f"add route {where} via {gateway or f'link {index}'}")


def delete_route(destination: str, prefix_len: int) -> Message:
    body = _ROUTE.pack(_family(destination), prefix_len, 0, 0, _RT_TABLE_MAIN, 0, 255, 0, 0)
    if prefix_len:
        body += attr(1, _packed(destination))
    return Message(DELROUTE, body, 0, f"delete route {destination}/{prefix_len}")


def dump_routes(family: int = socket.AF_INET) -> Message:
    return Message(GETROUTE, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), 0, "list routes")


def set_neighbour(index: int, ip: str, mac: str, *, state: int = NEIGH_PERMANENT) -> Message:
    """Which MAC has which address on a link, made or replaced."""
    body = _NEIGH.pack(_family(ip), index, state, 0, 0) + attr(1, _packed(ip)) + attr(2, mac_bytes(mac))
    return Message(NEWNEIGH, body, wire.CREATE | wire.REPLACE, f"set neighbour {ip}")


def delete_neighbour(index: int, ip: str) -> Message:
    body = _NEIGH.pack(_family(ip), index, 0, 0, 0) + attr(1, _packed(ip))
    return Message(DELNEIGH, body, 0, f"delete neighbour {ip}")


def _number(found: dict[int, bytes], kind: int) -> int:
    raw = found.get(kind)
    return int.from_bytes(raw, sys.byteorder) if raw else 0


def parse_link(body: bytes) -> Link:
    _fam, _type, index, flags, _change = _LINK.unpack_from(body)
    found = wire.attrs(body, _LINK.size)
    info = wire.attrs(found.get(_INFO, b""))
    return Link(
        index=index, name=wire.text(found.get(_NAME, b"")), kind=wire.text(info.get(_INFO_KIND, b"")), flags=flags,
        mtu=_number(found, _MTU), mac=mac_text(found.get(_ADDRESS, b"")), master=_number(found, _MASTER),
        group=_number(found, _GROUP), peer=_number(found, _PEER),
    )


def parse_address(body: bytes) -> Address:
    family, prefix_len, _flags, _scope, index = _ADDR.unpack_from(body)
    found = wire.attrs(body, _ADDR.size)
    return Address(index, socket.inet_ntop(family, found.get(2) or found[1]), prefix_len)


def parse_route(body: bytes) -> Route:
    family, prefix_len, _src, _tos, table, *_rest = _ROUTE.unpack_from(body)
    found = wire.attrs(body, _ROUTE.size)
    empty = bytes(16 if family == socket.AF_INET6 else 4)
    gateway = socket.inet_ntop(family, found[5]) if 5 in found else ""
    return Route(socket.inet_ntop(family, found.get(1, empty)), prefix_len, _number(found, 4), gateway,
                 _number(found, 15) or table)
