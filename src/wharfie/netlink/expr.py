"""The expressions inside an nf_tables rule (linux/netfilter/nf_tables.h), each one nested attribute. Pure.

Registers: 1 is the first of four registers of 16 bytes; 8, 9, 10, 11 are its four words. A concatenation is loaded word
by word and looked up from register 1.
"""

from __future__ import annotations

import struct

from .wire import attr, nest

REGISTER = 1
WORDS = (8, 9, 10, 11)

DROP, ACCEPT, JUMP, GOTO, RETURN = 0, 1, -3, -4, -5
EQ, NEQ = 0, 1
META_IIFNAME, META_OIFNAME, META_L4PROTO = 6, 7, 16
CT_STATE, CT_STATUS = 0, 2
ESTABLISHED_OR_RELATED = 0x2 | 0x4
DNATTED = 0x20  # IPS_DST_NAT
_NETWORK, _TRANSPORT = 1, 2
_LOCAL = 2  # RTN_LOCAL


def be32(kind: int, value: int) -> bytes:
    """nf_tables numbers are big endian."""
    return attr(kind, struct.pack(">I", value))


def value(kind: int, raw: bytes) -> bytes:
    """Data holding a plain value."""
    return nest(kind, attr(1, raw))


def verdict(kind: int, code: int, chain: str = "") -> bytes:
    """Data holding a verdict; JUMP and GOTO name a chain."""
    inner = [attr(1, struct.pack(">i", code))]
    if chain:
        inner.append(attr(2, chain))
    return nest(kind, nest(2, *inner))


def interface(name: str) -> bytes:
    """An interface name as sets and comparisons hold it: 16 bytes."""
    return name.encode().ljust(16, b"\0")


def _expr(name: str, *parts: bytes) -> bytes:
    return nest(1, attr(1, name), nest(2, *parts))


def payload_network(register: int, offset: int, size: int) -> bytes:
    """Load bytes of the IP header."""
    return _expr("payload", be32(1, register), be32(2, _NETWORK), be32(3, offset), be32(4, size))


def payload_transport(register: int, offset: int, size: int) -> bytes:
    """Load bytes of the TCP or UDP header."""
    return _expr("payload", be32(1, register), be32(2, _TRANSPORT), be32(3, offset), be32(4, size))


def source(register: int = REGISTER) -> bytes:
    return payload_network(register, 12, 4)


def destination(register: int = REGISTER) -> bytes:
    return payload_network(register, 16, 4)


def destination_port(register: int = REGISTER) -> bytes:
    return payload_transport(register, 2, 2)


def meta(key: int, register: int = REGISTER) -> bytes:
    return _expr("meta", be32(1, register), be32(2, key))


def compare(op: int, raw: bytes, register: int = REGISTER) -> bytes:
    """Go on only if the register equals (EQ) or differs from (NEQ) `raw`."""
    return _expr("cmp", be32(1, register), be32(2, op), value(3, raw))


def mask(raw: bytes, register: int = REGISTER) -> bytes:
    """AND the register with `raw`."""
    size = len(raw)
    return _expr("bitwise", be32(1, register), be32(2, register), be32(3, size), value(4, raw), value(5, bytes(size)))


def interface_is(key: int, name: str, op: int = EQ) -> bytes:
    """META_IIFNAME or META_OIFNAME compared with a name."""
    return meta(key) + compare(op, interface(name))


def source_in(network: bytes, netmask: bytes) -> bytes:
    """The source address lies in a network (both 4 bytes)."""
    return source() + mask(netmask) + compare(EQ, network)


def destination_is_local() -> bytes:
    """The destination is an address of this host, whatever interface it is on."""
    return _expr("fib", be32(1, REGISTER), be32(2, 3), be32(3, 2)) + compare(EQ, struct.pack("=I", _LOCAL))


def conntrack(key: int, bits: int) -> bytes:
    """Any of `bits` is set in the connection's state or status."""
    load = _expr("ct", be32(1, REGISTER), be32(2, key))
    return load + mask(struct.pack("=I", bits)) + compare(NEQ, bytes(4))


def lookup(name: str, set_id: int, *, into: int | None = None) -> bytes:
    """Look register 1 up in a set, or in a map with the value going to register `into` (0: the verdict). No match ends
    the rule."""
    parts = [attr(1, name), be32(2, REGISTER)]
    if into is not None:
        parts.append(be32(3, into))
    if set_id:
        parts.append(be32(4, set_id))
    return _expr("lookup", *parts)


def dnat(address_register: int, port_register: int) -> bytes:
    """Destination NAT (IPv4) to what the registers hold."""
    return _expr("nat", be32(1, 1), be32(2, 2), be32(3, address_register), be32(5, port_register))


def masquerade() -> bytes:
    return _expr("masq")


def immediate(code: int, chain: str = "") -> bytes:
    """End the rule with a verdict."""
    return _expr("immediate", be32(1, 0), verdict(2, code, chain))


def counter() -> bytes:
    return _expr("counter")
