"""The firewall of one engine: networks and published ports in, one nf_tables batch out. Pure.

One table per engine, family ip, rebuilt whole in one atomic batch. Ports come and go as elements of two maps:

    prerouting (nat)    not from lo, to an address of this host ─▶ publish
    publish             (address, protocol, port) or (protocol, port) ─▶ DNAT to the container
    postrouting (nat)   out of the bridge again and DNATted ─▶ masquerade       a container calls its host's port
                        from a subnet, leaving its bridge   ─▶ masquerade       outbound
    forward (filter)    to a bridge: known connections, its own containers, DNATted; all else is dropped
                        from a bridge: accepted (towards other bridges their own rules above decide)

A drop in any table is final, an accept is not: `foreign` looks for tables that drop what this one accepts.
Traffic of the host itself and of loopback is not translated: the gate listens on the port itself.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network

from wharfie.netlink import expr, nft
from wharfie.netlink.wire import Message

from .model import Network, Published

FAMILY = nft.IPV4
PUBLISH_ANY, PUBLISH_AT = "publish_any", "publish_at"
_TO, _FROM = "to_bridge", "from_bridge"
_IDS = {PUBLISH_ANY: 1, PUBLISH_AT: 2, _TO: 3, _FROM: 4}
_PROTO_PORT = (nft.concat(nft.TYPE_PROTOCOL, nft.TYPE_PORT), 8)
_ADDR_PROTO_PORT = (nft.concat(nft.TYPE_ADDRESS, nft.TYPE_PROTOCOL, nft.TYPE_PORT), 12)
_ADDR_PORT = (nft.concat(nft.TYPE_ADDRESS, nft.TYPE_PORT), 8)
_PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
_DSTNAT, _SRCNAT, _FILTER = -100, 100, 0
# What of nf_tables may be modules, and is loaded by the kernel on demand unless there is no modprobe.
MODULES = ("nf_tables", "nft_chain_nat", "nft_ct", "nft_fib_ipv4", "nft_masq", "nft_nat")


def table_name(instance: str) -> str:
    return f"wharfie-{instance}"


def rebuild(instance: str, networks: Sequence[Network], published: Iterable[Published]) -> list[Message]:
    """The batch that makes the engine's table exactly this, whatever was there before."""
    table = table_name(instance)
    batch = [
        nft.table(FAMILY, table), nft.delete_table(FAMILY, table),
        nft.table(FAMILY, table, f"wharfie engine {instance}"),
        nft.set_(FAMILY, table, PUBLISH_ANY, _IDS[PUBLISH_ANY], _PROTO_PORT, _ADDR_PORT),
        nft.set_(FAMILY, table, PUBLISH_AT, _IDS[PUBLISH_AT], _ADDR_PROTO_PORT, _ADDR_PORT),
        nft.set_(FAMILY, table, _TO, _IDS[_TO], (nft.TYPE_INTERFACE, 16), (nft.TYPE_VERDICT, 0)),
        nft.set_(FAMILY, table, _FROM, _IDS[_FROM], (nft.TYPE_INTERFACE, 16), (nft.TYPE_VERDICT, 0)),
        *_translation(table), *_filter(table),
    ]
    for network in networks:
        batch += _network(table, network)
    batch += add(instance, published)
    return batch


def remove(instance: str) -> list[Message]:
    """The batch that leaves nothing, idempotent."""
    table = table_name(instance)
    return [nft.table(FAMILY, table), nft.delete_table(FAMILY, table)]


def add(instance: str, published: Iterable[Published]) -> list[Message]:
    """Start translating these ports."""
    return [
        message for name, found in _by_map(published).items()
        for message in nft.add_elements(FAMILY, table_name(instance), name, (nft.element(k, v) for k, v in found))
    ]


def delete(instance: str, published: Iterable[Published]) -> list[Message]:
    """Stop translating these ports. Connections already translated go on."""
    return [
        message for name, found in _by_map(published).items()
        for message in nft.delete_elements(FAMILY, table_name(instance), name, (nft.element(k) for k, _ in found))
    ]


def _by_map(published: Iterable[Published]) -> dict[str, list[tuple[bytes, bytes]]]:
    found: dict[str, list[tuple[bytes, bytes]]] = {}
    for port in published:
        made = element(port)
        if made:
            found.setdefault(made[0], []).append(made[1:])
    return found


def element(port: Published) -> tuple[str, bytes, bytes] | None:
    """(map, key, data) of a published port. None where nothing is to be translated: IPv6 and loopback addresses are
    served by the gate alone."""
    if ":" in port.host_ip or port.host_ip.startswith("127."):
        return None
    where = struct.pack(">BxxxHxx", _PROTOCOLS[port.proto], port.host_port)
    target = socket.inet_aton(port.container_ip) + struct.pack(">Hxx", port.container_port)
    if port.host_ip == "0.0.0.0":
        return PUBLISH_ANY, where, target
    return PUBLISH_AT, socket.inet_aton(port.host_ip) + where, target


def _translation(table: str) -> Iterator[Message]:
    yield nft.base_chain(FAMILY, table, "prerouting", "nat", nft.PREROUTING, _DSTNAT)
    yield nft.base_chain(FAMILY, table, "postrouting", "nat", nft.POSTROUTING, _SRCNAT)
    yield nft.chain(FAMILY, table, "publish")
    yield nft.rule(
        FAMILY, table, "prerouting", expr.interface_is(expr.META_IIFNAME, "lo", expr.NEQ), expr.destination_is_local(),
        expr.immediate(expr.JUMP, "publish"),
    )
    first, second, third = expr.WORDS[0], expr.WORDS[1], expr.WORDS[2]
    go = expr.dnat(expr.REGISTER, second)
    yield nft.rule(
        FAMILY, table, "publish", expr.destination(first), expr.meta(expr.META_L4PROTO, second),
        expr.destination_port(third), expr.lookup(PUBLISH_AT, _IDS[PUBLISH_AT], into=expr.REGISTER), go,
    )
    yield nft.rule(
        FAMILY, table, "publish", expr.meta(expr.META_L4PROTO, first), expr.destination_port(second),
        expr.lookup(PUBLISH_ANY, _IDS[PUBLISH_ANY], into=expr.REGISTER), go,
    )


def _filter(table: str) -> Iterator[Message]:
    yield nft.base_chain(FAMILY, table, "forward", "filter", nft.FORWARD, _FILTER)
    for name, key in ((_TO, expr.META_OIFNAME), (_FROM, expr.META_IIFNAME)):
        yield nft.rule(FAMILY, table, "forward", expr.meta(key), expr.lookup(name, _IDS[name], into=0))


def _network(table: str, network: Network) -> Iterator[Message]:
    """The rules of one bridge."""
    bridge, subnet = network.link, IPv4Network(network.subnet)
    inbound, outbound = f"to-{bridge}", f"from-{bridge}"
    from_subnet = expr.source_in(subnet.network_address.packed, subnet.netmask.packed)
    yield nft.chain(FAMILY, table, inbound)
    yield nft.chain(FAMILY, table, outbound)
    yield nft.rule(
        FAMILY, table, inbound, expr.conntrack(expr.CT_STATE, expr.ESTABLISHED_OR_RELATED), expr.immediate(expr.ACCEPT))
    # Bridged frames come by here too where bridge-nf-call-iptables is on.
    yield nft.rule(FAMILY, table, inbound, expr.interface_is(expr.META_IIFNAME, bridge), expr.immediate(expr.ACCEPT))
    if not network.internal:
        yield nft.rule(
            FAMILY, table, inbound, expr.conntrack(expr.CT_STATUS, expr.DNATTED), expr.immediate(expr.ACCEPT))
    yield nft.rule(FAMILY, table, inbound, expr.counter(), expr.immediate(expr.DROP))
    yield nft.rule(
        FAMILY, table, outbound, expr.counter(), expr.immediate(expr.DROP if network.internal else expr.ACCEPT))
    # Hairpin. Only what was DNATted: with bridge-nf plain bridged frames pass here, and must keep their source.
    yield nft.rule(
        FAMILY, table, "postrouting", from_subnet, expr.interface_is(expr.META_OIFNAME, bridge),
        expr.conntrack(expr.CT_STATUS, expr.DNATTED), expr.masquerade(),
    )
    if not network.internal:
        yield nft.rule(
            FAMILY, table, "postrouting", from_subnet, expr.interface_is(expr.META_OIFNAME, bridge, expr.NEQ),
            expr.masquerade(),
        )
    for name, chain in ((_TO, inbound), (_FROM, outbound)):
        made = nft.verdict_element(expr.interface(bridge), expr.JUMP, chain)
        yield from nft.add_elements(FAMILY, table, name, [made])
